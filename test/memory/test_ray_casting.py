"""Rays give the voxels of the exact traversal on arrays, whatever the order of the points and the number of threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.rays import mark_passed
from occfusion_ros.memory.columns import unpack
from occfusion_ros.memory.ray_casting import RayCaster

POOL = ThreadPoolExecutor(2)
GRID = GridSpec(low=(-6.4, -6.4, -6.0), voxel_size=0.2, size=(64, 64, 60))


def cast(rays, grid=GRID, threads=2):
    caster = RayCaster(grid.size, grid.voxel_size, POOL, threads)
    to_voxels = [
        ((origin - grid.low) / grid.voxel_size, (points - grid.low) / grid.voxel_size) for origin, points in rays
    ]
    caster.cast(to_voxels)
    return unpack(caster.passed, grid.size[2]), unpack(caster.returned, grid.size[2])


def reference(rays, grid=GRID):
    passed, returned = np.zeros(grid.size, bool), np.zeros(grid.size, bool)
    for origin, points in rays:
        ends = np.unique(np.floor((points - grid.low) / grid.voxel_size), axis=0)
        mark_passed(passed, grid, origin, grid.centers(ends))
        voxels, inside = grid.indices(points)
        returned[tuple(voxels[inside].T)] = True
    return passed & ~returned, returned


def points(rng, count, spread=8.0):
    return rng.normal(0, spread, (count, 3))


def crossed(rays, voxels, margin):
    """(V,) bool: does a ray run through a voxel (V, 3) that is larger by `margin` voxels on every side?"""
    found = np.zeros(len(voxels), bool)
    for origin, points in rays:
        origin = (origin - GRID.low) / GRID.voxel_size
        way = np.floor((points - GRID.low) / GRID.voxel_size) + 0.5 - origin
        near, far = (  # (V, rays, 3): the slab method
            (voxels[:, None] + side - origin) / way for side in (-margin, 1 + margin)
        )
        enters, leaves = np.minimum(near, far).max(2), np.maximum(near, far).min(2)
        found |= (np.maximum(enters, 0) < np.minimum(leaves, 1)).any(1)
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), outside=st.booleans(), sensors=st.integers(1, 3))
@example(seed=53, outside=True, sensors=1)  # two of its rays run along edges
def test_the_same_voxels_as_on_arrays(seed, outside, sensors):
    rng = np.random.default_rng(seed)
    rays = [(rng.uniform(-5, 5, 3) + (20.0 if outside else 0), points(rng, 300)) for _ in range(sensors)]
    (passed, returned), (expected, expected_returned) = cast(rays), reference(rays)
    assert (returned == expected_returned).all()
    # Where a ray runs through an edge, or along one, float32 and integers may take either side.
    assert crossed(rays, np.argwhere(passed & ~expected), 1e-3).all()
    assert not crossed(rays, np.argwhere(expected & ~passed), -1e-3).any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), outside=st.booleans())
def test_rays_that_are_walked_as_one_pass_the_voxels_that_each_passes_alone(seed, outside):
    """Walls, near and far, with gaps in them, some higher than the block."""
    rng = np.random.default_rng(seed)
    origin = rng.uniform(-5, 5, 3) + [20.0 * outside, 0, 0]
    wall = np.zeros((64, 64, 140), bool)
    for x, y, low in rng.integers(0, (64, 64, 100), (12, 3)):
        wall[x, y, low : low + rng.integers(1, 40)] = True
    wall &= rng.random(wall.shape) < rng.choice([0.7, 1.0])
    ends = GRID.centers(np.argwhere(wall))
    passed, returned = cast([(origin, ends)])
    alone = np.zeros(GRID.size, bool)
    for end in ends:
        alone |= cast([(origin, end[None])])[0]
    wall = wall[:, :, : GRID.size[2]]
    assert (returned == wall).all() and (passed == (alone & ~wall)).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_neither_order_nor_threads_matter(threads):
    rng = np.random.default_rng(0)
    origin, ends = np.array([0.1, 0.2, 0.3]), points(rng, 2000)
    expected = cast([(origin, ends)])
    passed, returned = cast([(origin, rng.permutation(ends))], threads=threads)
    assert (passed == expected[0]).all() and (returned == expected[1]).all()


def test_no_ray_ends_in_what_returned_to_another_sensor():
    near, far = np.array([[1.0, 0.1, 0.1]]), np.array([[3.0, 0.1, 0.1]])
    passed, returned = cast([(np.array([0.0, 0.1, 0.1]), far), (np.array([0.0, 0.1, 0.1]), near)])
    at, _ = GRID.indices(near)
    assert returned[tuple(at[0])] and not passed[tuple(at[0])]


def test_points_that_are_none_and_far_away_do_no_harm():
    odd = np.array([[np.nan, 0, 0], [np.inf, 1, 1], [1e12, -1e12, 5], [0, 0, 0], [1e-9, 0, 0]])
    passed, returned = cast([(np.zeros(3), odd)])
    assert passed.any() and returned.sum() == 1  # the far one passes voxels, those at the sensor return from its own


def test_a_sweep_of_nothing_sees_nothing_and_leaves_nothing_of_the_last_one():
    caster = RayCaster(GRID.size, GRID.voxel_size, POOL, 2)
    caster.cast([(np.full(3, 30.0), np.full((1, 3), 40.0))])
    assert caster.passed.any() and caster.returned.any()
    caster.cast([])
    assert not caster.passed.any() and not caster.returned.any()
    caster.cast([(np.zeros(3), np.zeros((0, 3)))])
    assert not caster.passed.any()
