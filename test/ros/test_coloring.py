"""Colors of voxels by what a grid says of them."""

from dataclasses import replace

import numpy as np
import pytest

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.ros.conversions.coloring import COLORINGS, coloring
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.node.parameters import NodeParameters, ParameterError

SPEC = GridSpec((0.0, 0.0, 0.0), 0.2, (4, 2, 2))
CAR = np.array(OPENOCCUPANCY_CLASSES[Label.CAR - 1].rgb)


def grid() -> OccupancyGrid:
    """Cars along x: sure, half sure of the class, hardly sure, and remembered."""
    labels, occupancy, classes = (np.zeros(SPEC.size, np.uint8) for _ in range(3))
    labels[:, 1, 0] = Label.CAR
    occupancy[:, 1, 0], classes[:, 1, 0] = [255, 255, 128, 0], [255, 128, 20, 0]
    return OccupancyGrid(SPEC, labels, 0, "grid", occupancy=occupancy, class_confidence=classes)


def colors(color_by: str, of: OccupancyGrid) -> np.ndarray | None:
    given = coloring(color_by, of, OPENOCCUPANCY_CLASSES)
    return given and given(OccupiedVoxels.of(of.labels, SPEC))


def test_parameters_name_what_there_is():
    assert [NodeParameters(color_by=name).color_by for name in COLORINGS] == list(COLORINGS)
    with pytest.raises(ParameterError, match="color_by: expected one of class, confidence, faded, got 'age'"):
        NodeParameters(color_by="age")
    wanted = {(c, s): NodeParameters(color_by=c, confidence=s).asks_for_confidence for c in COLORINGS for s in (0, 1)}
    assert [who for who, asks in wanted.items() if not asks] == [("class", 0)]


def test_confidence_runs_from_red_over_yellow_to_blue_and_what_is_remembered_is_gray():
    sure, half, hardly, remembered = colors("confidence", grid())
    assert sure.tolist() == [69, 117, 180] and half.tolist() == [254, 224, 144] and remembered.tolist() == 3 * [128]
    assert hardly[0] > 200 and hardly[2] < 60


def test_colors_fade_to_gray():
    of = grid()
    sure, half, hardly, remembered = colors("faded", of)
    assert sure.tolist() == CAR.tolist()
    np.testing.assert_allclose(half, (CAR + 128) / 2, atol=1)
    np.testing.assert_allclose(hardly, 128 + (CAR - 128) * 10 / 255, atol=1)
    np.testing.assert_array_equal(remembered, half)


@pytest.mark.parametrize("color_by", COLORINGS)
def test_classes_have_their_colors_where_a_grid_does_not_say_how_sure_it_is(color_by):
    assert colors(color_by, replace(grid(), occupancy=None, class_confidence=None)) is None
    assert (colors(color_by, grid()) is None) == (color_by == "class")


def test_chosen_voxels_have_their_own_colors():
    of = grid()
    some = OccupiedVoxels.of(of.labels, SPEC).chosen(np.array([False, True, False, True]))
    np.testing.assert_array_equal(coloring("faded", of, OPENOCCUPANCY_CLASSES)(some), colors("faded", of)[[1, 3]])
