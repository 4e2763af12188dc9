"""What the network is not sure of, with and without a memory that knows more."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.voxel_world import GRID, VoxelWorld, pose

from occfusion_ros.core.labels import EMPTY, IGNORE
from occfusion_ros.memory.memory import Memory

NS = 1_000_000_000
ROOM = VoxelWorld.room()


@pytest.fixture
def memories():
    """Two that are fed the same frames."""
    pair = Memory(GRID), Memory(GRID)
    yield pair
    for memory in pair:
        memory.close()


def in_doubt(predicted, share: float, seed: int = 0):
    """The prediction, a share of whose empty voxels is in doubt."""
    chosen = np.random.default_rng(seed).random(GRID.size) < share
    return replace(predicted, labels=np.where(chosen & (predicted.labels == EMPTY), IGNORE, predicted.labels))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_unknown_is_what_is_in_doubt_and_no_ray_has_reached(memories, share):
    by_rays, by_confidence = memories
    for i in range(4):
        predicted, sweep, at = ROOM.frame(NS + i * NS // 10, pose(0.3 * i, yaw=0.1 * i))
        expected = by_rays.answer(predicted, sweep, at, "occluded")
        doubtful = in_doubt(predicted, share, i)
        before = doubtful.labels.copy()
        got = by_confidence.answer(doubtful, sweep, at, "confidence")
        unknown = (expected.labels == IGNORE) & (doubtful.labels == IGNORE)
        assert 0.05 * share < unknown.mean() < share if share else not unknown.any()
        np.testing.assert_array_equal(
            got.labels, np.where((expected.labels == IGNORE) & ~unknown, EMPTY, expected.labels)
        )
        np.testing.assert_array_equal(got.remembered, expected.remembered)
        np.testing.assert_array_equal(doubtful.labels, before)
    assert len(got.remembered) and by_confidence.state.frames == 4
    np.testing.assert_array_equal(by_confidence.volume.voxels, by_rays.volume.voxels)
