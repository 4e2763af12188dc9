"""Unknown space of single sweeps."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.voxel_world import GRID, VoxelWorld, pose

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.datasets.rays import mark_passed
from occfusion_ros.memory.memory import Memory
from occfusion_ros.memory.occlusion import Occlusion

ORIGIN = np.array([[np.pi, np.e, np.sqrt(5)]]) / 40  # from here no ray runs along faces


def frame(at: np.ndarray) -> tuple[OccupancyGrid, SensorFrame, np.ndarray]:
    predicted, sweep, _ = VoxelWorld.room().frame(1, at)
    return predicted, replace(sweep, ray_origins=ORIGIN), at


FRAME = frame(pose(0.31, -0.17, 0.05, yaw=0.4))


@pytest.fixture
def occlusion():
    occlusion = Occlusion(GRID)
    yield occlusion
    occlusion.close()


def reached(sweep) -> np.ndarray:
    """(X, Y, Z) bool by the exact traversal on arrays, a ray to the center of every voxel with a return."""
    seen = np.zeros(GRID.size, bool)
    every = np.floor((sweep.points[:, :3].astype(float) - GRID.low) / GRID.voxel_size)
    ends = np.unique(every, axis=0)
    mark_passed(seen, GRID, sweep.ray_origins[0], GRID.centers(ends))
    voxels, inside = GRID.indices(sweep.points[:, :3])
    seen[tuple(voxels[inside].T)] = True
    return seen


def test_empty_voxels_that_no_ray_reaches_are_unknown_and_all_else_is_as_predicted(occlusion):
    predicted, sweep, _ = FRAME
    labels = predicted.labels.copy()
    labels[2:9, 2:9, 2:9] = 15  # behind a wall
    answer = occlusion.answer(replace(predicted, labels=labels), sweep)
    unknown = (labels == 0) & ~reached(sweep)
    assert 0.05 < unknown.mean() < 0.95
    np.testing.assert_array_equal(answer.labels, np.where(unknown, IGNORE, labels))
    assert not len(answer.remembered)


def test_each_sweep_stands_alone(occlusion):
    first = occlusion.answer(*FRAME[:2]).labels
    occlusion.answer(*frame(pose(2.0))[:2])
    np.testing.assert_array_equal(occlusion.answer(*FRAME[:2]).labels, first)


def test_rays_start_where_each_lidar_stands(occlusion):
    predicted, sweep, _ = FRAME
    half, lifted = len(sweep.points) // 2, np.array([[0.0, 0, 0], [0, 0, 1.0]])
    of = (np.arange(len(sweep.points)) >= half).astype(np.uint8)
    both = occlusion.answer(predicted, replace(sweep, ray_origins=lifted, origin_of_point=of)).labels
    parts = [
        occlusion.answer(predicted, replace(sweep, points=points, ray_origins=lifted[i : i + 1])).labels
        for i, points in enumerate((sweep.points[:half], sweep.points[half:]))
    ]
    np.testing.assert_array_equal(both == IGNORE, (parts[0] == IGNORE) & (parts[1] == IGNORE))


def test_a_memory_that_is_empty_finds_the_same():
    """In a pose of whole voxels, but for predictions that rays contradict, which a memory answers as free."""
    predicted, sweep, at = frame(pose(0))
    memory, occlusion = Memory(GRID), Occlusion(GRID)
    with_memory, alone = memory.answer(predicted, sweep, at, "occluded"), occlusion.answer(predicted, sweep)
    np.testing.assert_array_equal(with_memory.labels == IGNORE, alone.labels == IGNORE)
    memory.close()
    occlusion.close()


def test_another_grid_is_refused(occlusion):
    other = GridSpec(GRID.low, 0.1, GRID.size)
    with pytest.raises(InvalidFrameError, match="expected a prediction on"):
        occlusion.answer(replace(FRAME[0], spec=other), FRAME[1])
