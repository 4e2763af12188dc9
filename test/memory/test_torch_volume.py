"""The volume in PyTorch gives what the compiled one does, to the last bit, here on PyTorch's CPU device."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from helpers.random_frames import said
from helpers.voxel_world import GRID, pose
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from occfusion_ros.core.labels import IGNORE
from occfusion_ros.memory import torch_rays
from occfusion_ros.memory.columns import unpack
from occfusion_ros.memory.memory import Memory, MemorySettings
from occfusion_ros.memory.ray_casting import RayCaster

NS = 1_000_000_000
POOL = ThreadPoolExecutor(1)
SIZE = (64, 60, 64)


def memories(**settings_) -> tuple[Memory, Memory]:
    return tuple(Memory(GRID, MemorySettings(**settings_), device=device) for device in ("", "cpu"))


def assert_same(compiled: Memory, in_torch: Memory) -> None:
    assert (compiled.volume.low == in_torch.volume.low).all() and compiled.state == in_torch.state
    for a, b in zip(compiled.volume.content(), in_torch.volume.content()):
        np.testing.assert_array_equal(a, b)


def doubtful(frame: tuple, seed: int) -> tuple:
    """The same frame, some empty voxels of which are in doubt."""
    predicted, *rest = frame
    doubt = (np.random.default_rng(seed).random(GRID.size) < 0.5) & (predicted.labels == 0)
    return replace(predicted, labels=np.where(doubt, IGNORE, predicted.labels).astype(np.uint8)), *rest


@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    seed=st.integers(0, 10_000),
    step=st.tuples(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.floats(-0.2, 0.2)),
    turn=st.tuples(st.floats(-0.15, 0.15), st.floats(-0.1, 0.1)),
    movable_s=st.sampled_from([0.0, 3.0]),
    unknown=st.sampled_from(["none", "occluded", "confidence"]),
    again=st.booleans(),
)
def test_the_same_answers_and_the_same_volume(seed, step, turn, movable_s, unknown, again):
    """On a path that rolls and tilts the volume, with all that fades, in every form of unknown space."""
    both = memories(static_s=20.0, movable_s=movable_s)
    for i in range(4):
        at = pose(*(i * np.array(step)), yaw=i * turn[0], pitch=i * turn[1])
        for repeat in range(1 + (again and i > 1)):
            frame = doubtful(said(seed + i + 100 * repeat, NS * (1 + i), at), seed)
            answers = [memory.answer(*frame, unknown) for memory in both]
            np.testing.assert_array_equal(answers[0].labels, answers[1].labels)
            np.testing.assert_array_equal(answers[0].remembered, answers[1].remembered)
            assert_same(*both)
    for memory in both:
        memory.close()


def test_content_goes_from_one_to_the_other_and_is_forgotten():
    compiled, in_torch = memories()
    for i in range(3):
        compiled.answer(*said(i, NS * (1 + i), pose(0.7 * i, -0.3 * i)))
    in_torch.volume.restore(compiled.volume.low, *compiled.volume.content())
    known, _ = compiled.volume.content()
    assert known.any() and in_torch.nbytes > in_torch.volume.voxels.nbytes
    for a, b in zip(compiled.volume.content(), in_torch.volume.content()):
        np.testing.assert_array_equal(a, b)
    in_torch.volume.clear()
    assert not in_torch.volume.content()[0].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), outside=st.booleans(), sensors=st.integers(0, 3))
def test_rays_are_the_compiled_ones(seed, outside, sensors):
    rng = np.random.default_rng(seed)
    odd = np.array([[np.nan, 0, 0], [np.inf, 1, 1], [1e12, -1e12, 5], [32.5, 30.5, 50], [32.5, 90, 30.5]])
    rays = [
        (
            rng.choice([rng.uniform(2, 60, 3), [32.5, 30.5, 30.5]]) + 100 * outside,
            np.r_[odd, rng.normal(30, 40, (300, 3))],
        )
        for _ in range(sensors)
    ]
    caster = RayCaster(SIZE, 0.2, POOL, 1)
    caster.cast(rays)
    seen = torch.ones((2, *SIZE), dtype=torch.bool)
    torch_rays.cast(seen, 0.2, [(origin, torch.from_numpy(ends)) for origin, ends in rays])
    for words, found in zip((caster.passed, caster.returned), seen):
        np.testing.assert_array_equal(unpack(words, SIZE[2]), found.numpy())
