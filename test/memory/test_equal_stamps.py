"""Frames of one stamp leave the same volume in whatever order they come, and however often."""

from itertools import permutations

import numpy as np
import pytest
from helpers.random_frames import said
from helpers.voxel_world import GRID, pose
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import Label
from occfusion_ros.memory.compiled_volume import CompiledVolume
from occfusion_ros.memory.memory import Memory, MemorySettings

NS = 1_000_000_000


def content(memory: Memory) -> tuple[np.ndarray, ...]:
    volume = memory.volume
    again = CompiledVolume(GRID, volume.size[0])
    again.restore(volume.low, *volume.content())
    assert (again.words == volume.words).all(), "the bits say what the bytes do not"
    return volume.low, *volume.content()


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    seeds=st.lists(st.integers(0, 1000), min_size=2, max_size=3, unique=True),
    past=st.integers(0, 3),
    at=st.builds(pose, st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.1, 0.1), st.floats(-0.2, 0.2)),
)
def test_neither_order_nor_repetition_matters(seeds, past, at):
    """Of a volume that holds something or nothing, and what comes later finds the same."""
    found = []
    for order in [*permutations(seeds), seeds + seeds[:1]]:
        memory = Memory(GRID, MemorySettings(static_s=20.0, movable_s=5.0))
        for i in range(past):
            memory.answer(*said(5000 + i, NS + i * NS, pose(0.02 * i)))
        for seed in order:
            memory.answer(*said(seed, 5 * NS, at))
        now = content(memory)
        later = memory.answer(*said(9000, 6 * NS, at)).labels
        found.append((*now, later, *content(memory), memory.state))
        memory.close()
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0][:-1], other[:-1])) and found[0][-1] == other[-1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_return_says_more_than_a_ray_and_a_ray_more_than_a_guess(order):
    empty = np.zeros(GRID.size, np.uint8)
    wall, guess = empty.copy(), empty.copy()
    wall[40, 32, 8] = guess[20, 32, 8] = Label.MANMADE
    at_wall, beyond, behind = (
        np.array([[*GRID.centers(np.array([[x, 32, 8]]))[0], 1]], np.float32) for x in (40, 50, 10)
    )
    frames = [
        (OccupancyGrid(GRID, wall, NS, "grid"), SensorFrame(NS, at_wall), pose()),
        (OccupancyGrid(GRID, guess, NS, "grid"), SensorFrame(NS, beyond), pose()),
        (OccupancyGrid(GRID, empty, NS, "grid"), SensorFrame(NS, behind), pose()),
    ]
    memory = Memory(GRID)
    for i in (*order, 2):
        memory.answer(*frames[i])
    answer = memory.answer(OccupancyGrid(GRID, empty, 2 * NS, "grid"), SensorFrame(2 * NS, beyond[:0]), pose()).labels
    assert answer[40, 32, 8] == Label.MANMADE and not answer[20, 32, 8]
    memory.close()
