import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.grid import GridSpec

GRIDS = st.builds(
    GridSpec, st.tuples(*[st.floats(-100, 100)] * 3), st.floats(0.05, 2), st.tuples(*[st.integers(1, 40)] * 3)
)


@given(GRIDS)
def test_centers_bin_into_their_own_voxel(grid):
    indices = np.argwhere(np.ones(tuple(min(n, 6) for n in grid.size)))
    binned, inside = grid.indices(grid.centers(indices))
    assert inside.all() and (binned == indices).all()


@given(GRIDS)
def test_x_fastest_order_round_trips_and_counts_up_along_x(grid):
    flat = np.arange(min(grid.num_voxels, 500))
    indices = grid.unflatten_x_fastest(flat)
    assert (grid.flat_x_fastest(indices) == flat).all()
    assert (indices[: grid.size[0], 0] == np.arange(len(indices[: grid.size[0]]))).all()


def test_openoccupancy_grid():
    grid = GridSpec()
    assert grid.high == pytest.approx((51.2, 51.2, 3.0)) and grid.num_voxels == 512 * 512 * 40
    np.testing.assert_allclose(grid.centers([[0, 0, 0]]), [[-51.1, -51.1, -4.9]])
    coarse = grid.coarse(4)
    assert coarse.size == (128, 128, 10) and coarse.low == grid.low and coarse.voxel_size == pytest.approx(0.8)


def test_points_just_below_the_grid_are_outside_and_not_in_voxel_zero():
    grid = GridSpec()
    points = [[-51.3, 0, 0], [-51.2, 0, 0], [51.19, 0, 0], [51.2, 0, 0], [0, 0, -5.01], [np.nan, 0, 0], [np.inf, 0, 0]]
    assert grid.indices(np.array(points))[1].tolist() == [False, True, True, False, False, False, False]


@pytest.mark.parametrize(
    "arguments",
    [{"low": (0, 0)}, {"low": (0, 0, np.nan)}, {"voxel_size": 0}, {"voxel_size": np.nan}, {"size": (0, 1, 1)}],
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(ContractError):
        GridSpec(**arguments)


def test_a_coarse_factor_must_divide_the_size():
    with pytest.raises(ContractError, match="divide"):
        GridSpec(size=(10, 10, 10)).coarse(4)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_flat_indices_are_those_of_memory_and_come_back(kind):
    grid = GridSpec(size=(3, 5, 4))
    flat = np.arange(grid.num_voxels)
    flat = torch.from_numpy(flat) if kind == "torch" else flat
    index = grid.unflatten(flat)
    assert type(index[0]) is type(flat) and (grid.flatten(*index) == flat).all()
    assert np.array_equal(np.stack([np.asarray(i) for i in index]), np.stack(np.unravel_index(flat, grid.size)))
