"""Figures of boxes, on a grid that can be counted by hand."""

import numpy as np
import pytest

from benchmarks import boxes
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, Label

SPEC = GridSpec((-8.0, -8.0, -1.0), 1.0, (16, 16, 2))


def test_a_road_and_a_post_are_counted(monkeypatch):
    monkeypatch.setattr(boxes, "MOST", 20)
    labels = np.zeros(SPEC.size, np.uint8)
    labels[:, 4:6, 0] = Label.DRIVEABLE_SURFACE  # two rows of 16
    labels[3, 4, 1] = Label.MANMADE
    labels[0, 0, 0] = 255
    seen, found, lists, cubes_reach, boxes_reach, cubes, merged, faces, _ = boxes.row(
        labels, SPEC, OPENOCCUPANCY_CLASSES
    )
    assert (seen, found, lists, cubes_reach, boxes_reach) == ("33", "5", "2", "6", "all")
    assert float(cubes) >= float(merged) and float(faces) == pytest.approx(
        (2 * 32 + 2 * 2 + 2 * 16 + 4) * 144e-6, abs=0.01
    )


def test_faces_at_the_border_count():
    assert boxes.faces(np.full((2, 3, 4), 1, np.uint8)) == 2 * (2 * 3 + 3 * 4 + 2 * 4)
    assert boxes.faces(np.full((2, 3, 4), 255, np.uint8)) == 0
