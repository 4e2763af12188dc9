"""Free space along rays, against cases known by hand and against finely sampled rays."""

import numpy as np
import pytest

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.rays import STOP, mark_passed

GRID = GridSpec((0.0, 0.0, 0.0), 0.5, (20, 16, 8))


def _passed(origin, points, grid=GRID) -> np.ndarray:
    passed = np.zeros(grid.size, bool)
    mark_passed(passed, grid, np.array(origin), np.array(points, float))
    return passed


def test_a_ray_along_an_axis_ends_before_its_return():
    passed = _passed([0.25, 0.25, 0.25], [[3.7, 0.25, 0.25]])  # free up to 3.4, in voxel 6
    assert np.argwhere(passed).tolist() == [[x, 0, 0] for x in range(7)]
    back = _passed([3.7, 0.25, 0.25], [[0.25, 0.25, 0.25]])  # free down to 0.55, in voxel 1
    assert np.argwhere(back).tolist() == [[x, 0, 0] for x in range(1, 8)]


def test_a_diagonal_ray_enters_the_voxels_whose_corners_it_cuts():
    passed = _passed([0.25, 0.2, 0.25], [[2.25, 2.2, 0.25]])  # x leads y by 0.05 m: each step enters x first
    x, y = np.argwhere(passed)[:, :2].T
    assert sorted(zip(x.tolist(), y.tolist())) == [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3)]


@pytest.mark.parametrize("origin", [[5.1, 4.1, 1.9], [-3.0, 4.0, 2.0], [4.9, 20.0, 9.0], [0.0, 0.0, 0.0]])
def test_passed_voxels_are_those_of_finely_sampled_rays(origin):
    rng = np.random.default_rng(0)
    points = rng.uniform([-4, -4, -2], [14, 12, 6], (40, 3))
    passed = _passed(origin, points)
    length = np.linalg.norm(points - origin, axis=1)[:, None, None]
    along = np.linspace(0, 1, 20001)[:, None] * (length - STOP) / length  # (40, 20001, 1)
    samples = (np.array(origin) + along * (points - origin)[:, None]).reshape(-1, 3)
    deep = (np.abs(samples / GRID.voxel_size - np.round(samples / GRID.voxel_size)) > 0.005).all(1)
    voxels, inside = GRID.indices(samples)
    sampled, touched = np.zeros((2, *GRID.size), bool)
    sampled[tuple(voxels[inside & deep].T)] = True
    touched[tuple(voxels[inside].T)] = True
    assert sampled.sum() > 100
    assert not (sampled & ~passed).any()
    assert (passed & ~touched).sum() <= 0.01 * passed.sum(), "corners cut by less than a sample's step"


def test_rays_that_end_nowhere_or_at_once_pass_nothing():
    points = [[np.nan, 1, 1], [np.inf, 1, 1], [1.2, 1, 1], [1.0, 1.0, 1.0]]
    assert not _passed([1.0, 1.0, 1.0], points).any()
    assert not _passed([-5.0, -5.0, 1.0], [[-1.0, -1.0, 1.0]]).any(), "it ends before the grid"
    assert not _passed([1.0, 1.0, 1.0], np.empty((0, 3))).any()


def test_only_a_grid_in_place_can_be_marked():
    with pytest.raises(DatasetError, match=r"expected bool \(20, 16, 8\) in C order, got uint8"):
        mark_passed(np.zeros(GRID.size, np.uint8), GRID, np.zeros(3), np.ones((1, 3)))
    with pytest.raises(DatasetError, match="in C order"):
        mark_passed(np.zeros(GRID.size[::-1], bool).T, GRID, np.zeros(3), np.ones((1, 3)))
