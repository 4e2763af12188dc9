"""What is found by class and distance to the nearest return: bands, counts, and the command."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_nuscenes import START_US, TinyRoot

from models import found
from models.evaluation.found import BANDS, Found, bands_of, table
from models.training.data import PreparedFrame
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.core.preprocessing import Preprocessing

SMALL = GridSpec((0.0, 0.0, 0.0), 1.0, (30, 8, 8))
POINT = np.float32([[2.5, 2.5, 2.5, 0.1]])


def test_bands_are_those_of_the_nearest_return_along_any_axis():
    occupied = np.zeros((30, 8, 8), bool)
    occupied[2, 2, 2] = occupied[29, 0, 0] = True
    seen = bands_of(occupied)
    x, y, z = np.indices(occupied.shape)
    near = [np.maximum.reduce([abs(x - a), abs(y - b), abs(z - c)]) for a, b, c in ((2, 2, 2), (29, 0, 0))]
    assert np.array_equal(seen, np.digitize(np.minimum(*near), (1, 2, 3, 6, 11)))
    assert (bands_of(np.zeros((4, 4, 4), bool)) == len(BANDS) - 1).all()


def answer_of(labels: np.ndarray) -> OccupancyGrid:
    return OccupancyGrid(SMALL, labels, 0, "lidar")


def one_frame() -> Found:
    """A car of which a return and one of two voxels beside it are found; far away leaves, lost, and a ghost."""
    truth, labels = np.zeros(SMALL.size, np.uint8), np.zeros(SMALL.size, np.uint8)
    truth[2, 2, 2:5] = Label.CAR
    truth[20, :2, 0], truth[25] = Label.VEGETATION, IGNORE
    labels[2, 2, 2], labels[2, 2, 3], labels[25], labels[10, 0, 0] = Label.CAR, Label.TRUCK, 3, 3
    result = Found()
    result.add(answer_of(labels), truth, POINT)
    return result


def test_found_is_what_gets_any_class():
    result = one_frame()
    car, leaves = result.share()[[Label.CAR, Label.VEGETATION]]
    assert car[:3].tolist() == [1, 1, 0] and np.isnan(car[3:]).all()
    assert leaves[-1] == 0 and result.counts[Label.VEGETATION, -1].tolist() == [2, 0]
    assert result.counts.sum() == SMALL.num_voxels - 64, "what is not observed does not count"
    assert result.iou() == pytest.approx(2 / (5 + 1))


def test_iou_with_the_shares_of_another_measurement():
    result, share = one_frame(), np.full((17, len(BANDS)), np.nan)
    assert result.iou(share) == result.iou(), "what the other does not have stays as it is"
    share[Label.VEGETATION, -1] = 0.5
    assert result.iou(share) == pytest.approx(3 / (5 + 1))
    share[0] = 0
    assert result.iou(share) == pytest.approx(3 / 5)


def test_the_table_says_what_there_is_and_how_much():
    lines = table(one_frame().as_json()).splitlines()
    assert [line.split()[0] for line in lines] == ["gets", "empty", "car", "vegetation"]
    assert lines[2].split() == ["car", "1.000", "1.000", "0.000", "-", "-", "-", "60.0%"]


FULL = GridSpec()
WALL = (slice(200, 312), 306, slice(0, 4))


def model(grid: GridSpec = FULL) -> Callable[[SensorFrame], OccupancyGrid]:
    """Finds the half of the wall that is on the left; keeps the frames that it was given in `asked`."""

    def answer(frame: SensorFrame) -> OccupancyGrid:
        answer.asked.append(frame)
        labels = np.zeros(FULL.size, np.uint8)
        labels[200:256, 306, :4] = Label.MANMADE
        return OccupancyGrid(FULL, labels, frame.stamp_ns, frame.frame_id)

    answer.contract = SimpleNamespace(grid=grid, model_id="m", preprocessing=Preprocessing())
    answer.asked = []
    return answer


@pytest.fixture
def root(tmp_path) -> Path:
    """A data root with one labeled sample: a wall."""
    folder, truth = TinyRoot(tmp_path / "root").root, np.zeros(FULL.size, np.uint8)
    truth[WALL] = Label.MANMADE
    (folder / "occupancy").mkdir()
    np.savez_compressed(folder / "occupancy" / f"LIDAR_TOP{START_US}.npz", semantics=truth)
    return folder


@pytest.fixture
def frames(tmp_path) -> Path:
    """A prepared frame: of the same wall the found half and a part of the other were observed."""
    truth, observed = np.zeros(FULL.size, np.uint8), np.zeros(FULL.size, bool)
    truth[WALL] = Label.MANMADE
    observed[200:270, 306, :4] = True
    folder = tmp_path / "frames"
    folder.mkdir()
    origin, none = np.array([0, 0, 0.4]), (np.zeros((0, 4, 1, 1), np.float16),)
    points = np.float32([[0, 0, 0, 1], [0.5, 0.5, 0, 1]])  # the vehicle itself
    PreparedFrame(points, np.zeros((0, 4, 4), np.float32), none, truth, observed, FULL, origin).save(folder / "a.npz")
    return folder


def test_the_command_compares_a_drive_with_prepared_frames_by_lidar_alone(root, frames, tmp_path, monkeypatch, capsys):
    finds = model()
    monkeypatch.setattr(found.Pipeline, "load", lambda *_, **__: finds)
    assert found.main(["--data", str(root), "--frames", str(frames), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["data"]["iou"] == pytest.approx(0.5) and figures["frames"]["iou"] == pytest.approx(56 / 70)
    far = figures["frames"]["found"]["manmade"]["farther"]
    assert far == {"voxels": 70 * 4, "found": 56 * 4}, "the vehicle itself is no return"
    assert 0.5 < figures["iou_as_frames"] <= 56 / 70 + 1e-9
    assert [frame.cameras for frame in finds.asked] == [(), ()]
    assert finds.asked[1].ray_origins.tolist() == [[0, 0, 0.4]]
    assert capsys.readouterr().out.count("manmade") == 2


def test_without_frames_the_cameras_take_part(root, monkeypatch):
    finds = model()
    monkeypatch.setattr(found.Pipeline, "load", lambda *_, **__: finds)
    assert found.main(["--data", str(root)]) == 0 and finds.asked[0].cameras


def test_what_cannot_be_measured_is_said_before_anything_is(root, frames, tmp_path, monkeypatch, capsys):
    finds = model()
    monkeypatch.setattr(found.Pipeline, "load", lambda *_, **__: finds)
    (tmp_path / "none").mkdir()
    for more, message in (
        (["--frames", str(tmp_path / "none")], "expected prepared frames"),
        (["--frames", str(frames), "--past-sweeps", "2"], "leave out --past-sweeps"),
    ):
        with pytest.raises(SystemExit):
            found.main(["--data", str(root), *more])
        assert message in capsys.readouterr().err and not finds.asked
    monkeypatch.setattr(found.Pipeline, "load", lambda *_, **__: model(SMALL))
    with pytest.raises(SystemExit):
        found.main(["--data", str(root)])
    assert "expected a model on the grid of the labels" in capsys.readouterr().err
    with pytest.raises(DatasetError, match="expected a truth on"):
        next(found.prepared(sorted(frames.glob("*.npz")), SMALL))
    with pytest.raises(DatasetError, match="truth has occupied voxels, got none"):
        found.found_in([], model())
