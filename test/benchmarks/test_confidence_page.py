"""Calibration errors of probabilities made by hand, and the page that shows them."""

import numpy as np
import pytest

from benchmarks.confidence.entropy import errors
from benchmarks.confidence.figures import Reliabilities, Reliability
from benchmarks.confidence.page import page, save_picture
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE


def said(byte: int, right: float, count: int = 1000) -> Reliability:
    reliability = Reliability()
    reliability.add(np.full(count, byte, np.uint8), np.arange(count) < right * count)
    return reliability


def test_what_is_said_with_51_of_255_and_true_once_in_five_has_no_error():
    assert said(51, 0.2).error() == pytest.approx(0)
    assert said(51, 0.5).error() == pytest.approx(0.3)


def test_bins_weigh_by_their_voxels():
    both = said(51, 0.5, 3000)
    both.add(np.full(1000, 255, np.uint8), np.ones(1000, bool))
    assert both.error() == pytest.approx(0.225) and [n for *_, n in both.bins()] == [3000, 1000]
    assert Reliability().error() == 0


def test_only_listed_voxels_of_known_truth_count():
    grid, labels = GridSpec(size=(4, 4, 4)), np.zeros((4, 4, 4), np.uint8)
    truth = labels.copy()
    labels[0, 0] = 4, 4, 4, 0
    truth[0, 0] = 4, 5, IGNORE, 4
    sure = np.where(labels > 0, 200, 0).astype(np.uint8)
    counted = Reliabilities()
    counted.add(OccupancyGrid(grid, labels, 0, "grid", occupancy=sure, class_confidence=sure), truth)
    found = counted.to_dict()
    assert found["occupancy"]["voxels"] == 2 and found["occupancy"]["bins"][0][1] == 1
    assert found["class"]["voxels"] == 2 and found["class"]["bins"][0][1] == 0.5


def test_the_page_shows_errors_in_percent(tmp_path):
    before = {"occupancy": said(51, 0.5).to_dict(), "class": said(51, 0.2).to_dict()}
    after = {"occupancy": said(128, 0.5).to_dict(), "class": said(51, 0.25).to_dict()}
    data = {"street": {"frames": 3, "before": before, "after": after}}
    both = {"bias": [0.01, 0.2], "error": [0.05, 0.25], "most": [0.1, 0.4]}
    entropy = {"fuser": {"voxels": 1234, "own": 0.5, **both}}
    models = {"m": {"data": data, "entropy": entropy}, "other": {"data": data, "entropy": {}}}
    figures = {"backend": "b", "machine": "c", "models": models}
    assert "| `other` | street | 3 | 30.0" in page(figures) and "| `m` | street | 3 | 30.0 | 0.2 | 0.0 | 5.0 |" in page(
        figures
    )
    assert "| `m`, fuser | 1,234 | 0.50 | +0.01 | 0.05 | 0.10 | +0.20 | 0.25 | 0.40 |" in page(figures)
    save_picture(figures, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[1:4] == b"PNG"


def test_errors_of_an_estimate_are_told_by_bias_size_and_limit():
    own = np.full(100, 0.5, np.float32)
    off = np.where(np.arange(100) < 90, 0.1, -0.4).astype(np.float32)
    found = errors(np.stack([own, own + off, own + 0.25], 1))
    assert found["voxels"] == 100 and found["own"] == pytest.approx(0.5)
    assert found["bias"] == pytest.approx([0.05, 0.25], abs=1e-6)
    assert found["error"] == pytest.approx([0.13, 0.25], abs=1e-6) and found["most"][0] == pytest.approx(0.4, abs=1e-6)
