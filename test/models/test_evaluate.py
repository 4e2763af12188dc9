"""The evaluation from files to figures, on a data root and answers whose figures are known by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, START_US, TinyRoot

from models import evaluate
from models.evaluation.report import report, save_picture, table
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.nuscenes import NuScenesReader

GRID = GridSpec()
WALL, TREE = 15, 16


def truth() -> np.ndarray:
    """A wall 10 m ahead, a tree 30 m to the left; behind the sensor nothing is known."""
    labels = np.zeros(GRID.size, np.uint8)
    labels[:, :200] = 255
    labels[200:312, 306] = WALL
    labels[106:108, 250:260] = TREE
    return labels


def answer(frame) -> OccupancyGrid:
    """The wall, 1.2 m too far away, and no tree; something where nothing is known."""
    labels = np.zeros(GRID.size, np.uint8)
    labels[200:312, 312] = WALL
    labels[:, 100] = TREE
    return OccupancyGrid(GRID, labels, frame.stamp_ns, frame.frame_id)


@pytest.fixture
def root(tmp_path) -> Path:
    folder = TinyRoot(tmp_path / "root").root
    (folder / "occupancy").mkdir()
    np.savez_compressed(folder / "occupancy" / f"LIDAR_TOP{START_US}.npz", semantics=truth())
    return folder


@pytest.fixture
def figures_and_result(root, monkeypatch):
    monkeypatch.setattr(answer, "contract", SimpleNamespace(grid=GRID), raising=False)
    result = evaluate.evaluate(answer, NuScenesReader(root))
    return report(result.bands, result.rays, result.frames), result


def test_figures_known_by_hand(figures_and_result):
    figures, _ = figures_and_result
    wall, tree = 112 * 40, 2 * 10 * 40
    assert figures["frames"] == 1, "the second sample has no labels"
    assert figures["iou"] == figures["miou"] == figures["miou_all"] == 0
    assert figures["classes_present"] == 2
    assert {name for name, value in figures["per_class"].items() if value is not None} == {"manmade", "vegetation"}
    rays = figures["ray_iou"]
    assert rays["1"] == 0 and 0 < rays["2"] <= rays["4"] < 1
    assert rays["per_class"]["vegetation"] == 0 and rays["per_class"]["manmade"] > 0.3
    assert rays["rays_cast"] == 2 * 14040, "from where the sensor stood in both samples"
    assert 0 < rays["rays"] < 14040
    voxels = [band["voxels"] for band in figures["bands"].values()]
    assert sum(voxels) == 512 * 312 * 40 and wall + tree < voxels[0] < voxels[1] < voxels[2]
    assert voxels[0] == 128 * 120 * 40, "within 12.8 m, less what lies behind the sensor"


class Remembering:
    """A memory that keeps count of what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def reset(self, why: str) -> None:
        self.shown = 0

    def answer(self, grid: OccupancyGrid, *_) -> OccupancyGrid:
        self.shown += 1
        return grid


def test_the_last_share_of_a_scene_alone_counts(root, monkeypatch, tmp_path):
    monkeypatch.setattr(answer, "contract", SimpleNamespace(grid=GRID, model_id="m"), raising=False)
    monkeypatch.setattr(evaluate.Pipeline, "load", lambda *_: answer)
    reader, (labels,) = NuScenesReader(root), root.glob("occupancy/*.npz")
    with pytest.raises(DatasetError, match="among 1 samples in the last 0.5 of each scene"):
        evaluate.evaluate(answer, reader, last=0.5)  # the first of two samples has labels
    second = reader.tables.get("sample", list(reader.samples())[1])["data"]["LIDAR_TOP"]
    (labels.parent / f"{second}.npz").write_bytes(labels.read_bytes())
    for last, frames in ((1.0, 2), (0.5, 1)):
        memory = Remembering()
        assert evaluate.evaluate(answer, reader, memory=memory, last=last).frames == frames
        assert memory.shown == 2, "it has seen what lies before the last share"
        out = tmp_path / "figures.json"
        assert evaluate.main(["--data", str(root), "--last", str(last), "--json", str(out)]) == 0
        assert json.loads(out.read_text())["frames"] == frames


def test_table_and_picture(figures_and_result, tmp_path):
    figures, result = figures_and_result
    text = table(figures)
    assert "bus                    absent  absent" in text
    assert "IoU 0.000   mIoU 0.000 over 2 classes present, 0.000 over all 16" in text
    save_picture(tmp_path / "picture.png", figures, result.prediction, result.truth)
    picture = cv2.imread(str(tmp_path / "picture.png"))
    assert picture.shape[0] > 500 and picture.shape[1] > 1500
    wall = np.array([190, 210, 220])  # blue, green, red of manmade at full light
    assert (np.abs(picture.astype(int) - wall).max(axis=2) < 3).sum() > 50


def test_without_labels_or_with_another_grid_it_says_so(root, monkeypatch):
    reader = NuScenesReader(root)
    (root / "occupancy" / f"LIDAR_TOP{START_US}.npz").unlink()
    monkeypatch.setattr(answer, "contract", SimpleNamespace(grid=GRID), raising=False)
    with pytest.raises(DatasetError, match="no sample with an occupancy truth among 2 samples"):
        evaluate.evaluate(answer, reader, [SCENE])
    monkeypatch.setattr(answer, "contract", SimpleNamespace(grid=GRID.coarse(4)))
    with pytest.raises(DatasetError, match="expected a model on the grid of the labels"):
        evaluate.evaluate(answer, reader)


def test_a_set_with_nothing_in_it_still_gives_valid_json():
    from models.evaluation.metrics import RangeBands
    from models.evaluation.ray_iou import RayIoU

    figures = report(RangeBands(GRID), RayIoU(GRID), 0)
    assert json.loads(json.dumps(figures, allow_nan=False))["ray_iou"]["mean"] is None
    assert "absent" in table(figures)


def test_figures_that_cannot_be_written_are_printed_and_said(root, monkeypatch, capsys):
    monkeypatch.setattr(answer, "contract", SimpleNamespace(grid=GRID, model_id="m"), raising=False)
    monkeypatch.setattr(evaluate.Pipeline, "load", lambda *_: answer)
    for option in ("--json", "--picture"):
        with pytest.raises(SystemExit) as ended:
            evaluate.main(["--data", str(root), option, "/proc/nowhere/file"])
        out, errors = capsys.readouterr()
        assert ended.value.code == 2 and "mIoU" in out
        assert errors.splitlines()[-1] == "evaluate: cannot write /proc/nowhere/file: No such file or directory"
