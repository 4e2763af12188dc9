"""Pose heights from the ground that sweeps share, and the ground between returns."""

import numpy as np

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.ground import ground_heights, height_corrections

GRADE = 0.05


def _pose_on_the_grade(x: float) -> np.ndarray:
    """A sensor 1.84 m above a road that climbs along the map's x axis, pitched like the road."""
    c, s = np.cos(np.arctan(GRADE)), np.sin(np.arctan(GRADE))
    return np.array([[c, 0, -s, x - 1.84 * s], [0, 1, 0, 0], [s, 0, c, x * GRADE + 1.84 * c], [0, 0, 0, 1]])


def _ground(rng: np.random.Generator) -> np.ndarray:
    """(N, 3) returns of the road in rings around the sensor, with noise."""
    radius = np.repeat([4.0, 5, 6.5, 9, 13, 20, 40], 400)
    angle = rng.uniform(0, 2 * np.pi, len(radius))
    return np.c_[radius * np.cos(angle), radius * np.sin(angle), rng.normal(-1.84, 0.02, len(radius))]


def test_heights_of_flattened_poses_on_a_grade_are_found():
    rng = np.random.default_rng(0)
    poses = [_pose_on_the_grade(5.0 * i) for i in range(8)]
    true = np.array([pose[2, 3] for pose in poses])
    ground = [_ground(rng) for _ in poses]
    assert np.abs(height_corrections(poses, ground)).max() < 0.02
    for pose in poses:
        pose[2, 3] = 3.0
    corrections = height_corrections(poses, ground)
    assert abs(corrections.mean()) < 1e-9
    assert np.abs(corrections - (true - true.mean())).max() < 0.02 < 0.8 < np.abs(corrections).max()


def test_sweeps_that_share_no_ground_are_left_alone():
    near, far = _pose_on_the_grade(0), _pose_on_the_grade(500)
    ground = _ground(np.random.default_rng(1))
    assert (height_corrections([near, far], [ground, ground]) == 0).all()
    assert (height_corrections([near, near], [ground, np.empty((0, 3))]) == 0).all()
    assert height_corrections([], []).shape == (0,)


def test_ground_between_rings_is_interpolated():
    grid = GridSpec()
    rng = np.random.default_rng(2)
    points = _ground(rng)
    points[:, 2] = points[:, 0] * 0.03 - 1.84
    heights = ground_heights(grid, points)
    index, inside = grid.indices(points)
    known = heights[index[inside, 0], index[inside, 1]]
    assert np.abs(known - points[inside, 2]).max() < 0.01, "a column with a return has its height"
    x, y = (grid.centers(np.indices(grid.size[:2]).reshape(2, -1).T @ [[1, 0, 0], [0, 1, 0]])[:, :2]).T
    between = np.hypot(x, y) < 40
    error = np.abs(heights.reshape(-1) - (x * 0.03 - 1.84))[between]
    assert np.median(error) < 0.05 and error.max() < 0.3


def test_without_ground_there_is_no_height():
    assert np.isnan(ground_heights(GridSpec(), np.empty((0, 3)))).all()
    beyond = ground_heights(GridSpec(), np.array([[99.0, 0, 0], [0.0, 0.0, -1.5]]))
    np.testing.assert_allclose(beyond, np.full((512, 512), -1.5))
