"""What is found by class and distance to the nearest return: bands, counts, and the command."""

import json

import numpy as np
import pytest
from helpers.tiny_nuscenes import TinyRoot

from models import found
from models.evaluation.found import BANDS, Found, bands_of, table
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, Label

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


def test_the_command_compares_a_drive_with_prepared_frames(tmp_path, monkeypatch, capsys):
    root, asked = TinyRoot(tmp_path / "root").root, []
    pipeline = type("P", (), {"contract": type("C", (), {"model_id": "m"})})()
    monkeypatch.setattr(found.Pipeline, "load", lambda *_, **__: pipeline)
    monkeypatch.setattr(found, "recorded", lambda reader, *_: asked.append(reader.root) or "recorded")
    monkeypatch.setattr(found, "found_in", lambda frames, _: one_frame() if frames == "recorded" else list(frames))
    with pytest.raises(SystemExit):
        found.main(["--data", str(root), "--frames", str(tmp_path)])
    assert "expected prepared frames" in capsys.readouterr().err
    monkeypatch.setattr(found, "prepared", lambda _: "recorded")
    assert found.main(["--data", str(root), "--frames", str(tmp_path), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert asked[-1] == root and figures["iou_as_frames"] == figures["data"]["iou"] == pytest.approx(1 / 3)
    assert capsys.readouterr().out.count("vegetation") == 2
