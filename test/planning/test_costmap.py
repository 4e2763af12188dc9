"""Costs in a frame that stands still: each cell has the cost of the column that its center lies in."""

import numpy as np
from helpers.voxel_world import pose
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.planning.costmap import in_fixed_frame

SPEC = GridSpec((-4.0, -3.0, -2.0), 0.2, (40, 30, 20))
COSTS = np.random.default_rng(0).integers(-1, 101, SPEC.size[:2]).astype(np.int8)


@settings(max_examples=50, deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-50, 50), st.floats(-4, 4), st.floats(-0.1, 0.1))
def test_each_cell_has_the_cost_of_the_column_at_its_center(x, y, z, yaw, pitch):
    fixed_from_grid, height = pose(x, y, z, yaw, pitch), -1.8
    costmap = in_fixed_frame(COSTS, SPEC, fixed_from_grid, height)
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 40, (200, 2))
    centers = np.array(costmap.low[:2]) + (indices + 0.5) * costmap.resolution
    # The point of the grid's plane at this height that lies above or below the center.
    turn, shift = fixed_from_grid[:3, :3], fixed_from_grid[:3, 3]
    at = np.linalg.solve(turn[:2, :2], (centers - shift[:2] - turn[:2, 2] * height).T).T
    columns = (at - SPEC.low[:2]) / SPEC.voxel_size
    clear = (np.abs(columns - np.round(columns)) > 1e-6).all(1)
    columns = np.floor(columns).astype(int)
    inside = ((columns >= 0) & (columns < SPEC.size[:2])).all(1)
    expected = np.where(inside, COSTS[tuple(np.where(inside[:, None], columns, 0).T)], -1)
    assert (costmap.cells[indices[:, 1], indices[:, 0]] == expected)[clear].all()


def test_a_map_that_rolls_along_keeps_its_cells_in_place():
    maps = [in_fixed_frame(COSTS, SPEC, pose(x, 0.03), 0.0) for x in (10.0, 10.07, 13.3)]
    for costmap in maps:
        cells = np.array(costmap.low[:2]) / costmap.resolution
        assert np.allclose(cells, np.round(cells), atol=1e-6)
    assert maps[0].low == maps[1].low and maps[2].low[0] > maps[0].low[0]
    assert maps[0].cells.shape == (40, 40)
