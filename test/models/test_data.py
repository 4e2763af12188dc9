"""Augmentation keeps points, calibration and truth consistent; targets follow OpenOccupancy's majority rule."""

import numpy as np
import pytest
import torch

from models.data import UNSEEN, PreparedFrame, augment, flip, make_targets
from models.observed import mark_passed
from occfusion_ros.core.camera import project
from occfusion_ros.core.grid import GridSpec

GRID = GridSpec((-4.0, -4.0, -2.0), 0.5, (16, 16, 8))


def frame_of(seed: int) -> PreparedFrame:
    """Points in the middle of voxels, the truth 4 exactly where there are points."""
    rng = np.random.default_rng(seed)
    voxels = np.unique(rng.integers(0, GRID.size, (40, 3)), axis=0)
    semantics = np.zeros(GRID.size, np.uint8)
    semantics[tuple(voxels.T)] = 4
    points = np.c_[GRID.centres(voxels), np.full(len(voxels), 0.5)].astype(np.float32)
    image_from_grid = np.eye(4)
    image_from_grid[:3] = rng.normal(size=(3, 4))
    return PreparedFrame(points, image_from_grid[None].astype(np.float32), (), semantics)


def occupied(points: np.ndarray) -> np.ndarray:
    indices, inside = GRID.indices(points[:, :3])
    assert inside.all()
    grid = np.zeros(GRID.size, np.uint8)
    grid[tuple(indices.T)] = 4
    return grid


@pytest.mark.parametrize("axis", [0, 1])
def test_flip_keeps_points_truth_and_projection_together(axis):
    frame = frame_of(axis)
    flipped = flip(frame, axis)
    assert not np.array_equal(flipped.semantics, frame.semantics)
    assert np.array_equal(occupied(flipped.points), flipped.semantics)
    before, depth = project(frame.points[:, :3], frame.image_from_grid[0].astype(np.float64))
    after, depth_after = project(flipped.points[:, :3], flipped.image_from_grid[0].astype(np.float64))
    assert np.allclose(depth, depth_after, atol=1e-4)
    assert np.allclose(before[np.abs(depth) > 0.1], after[np.abs(depth) > 0.1], rtol=1e-3, atol=1e-2)


def test_augmented_returns_lie_in_the_truth_and_lost_cameras_see_nothing():
    lost = 0
    for seed in range(30):
        frame = augment(frame_of(seed), np.random.default_rng(seed))
        assert np.all(frame.semantics[occupied(frame.points) > 0] == 4)
        assert 0 <= frame.points[:, 3].min() and frame.points[:, 3].max() <= 1
        lost += np.array_equal(frame.image_from_grid[0], UNSEEN.astype(np.float32))
    assert 0 < lost < 30
    _, depth = project(frame_of(0).points[:, :3], UNSEEN)
    assert (depth < 0).all()


def test_coarse_target_is_the_majority_of_the_non_empty_children():
    children = torch.zeros((4, 64), dtype=torch.uint8)
    children[0, :3], children[0, 3:5] = 11, 4
    children[1] = 255
    children[2, 0] = 255
    children[3, :10], children[3, 10:] = 16, 255
    assert make_targets(children).coarse.tolist() == [11, 255, 0, 16]


def test_rays_free_what_they_pass_and_stop_before_their_return():
    passed = np.zeros(GRID.size, bool)
    mark_passed(passed, GRID, np.array([-3.9, 0.1, 0.1]), np.array([[3.75, 0.1, 0.1]]))
    line = passed[:, 8, 4]
    assert line[:15].all() and not line[15] and passed.sum() == 15
