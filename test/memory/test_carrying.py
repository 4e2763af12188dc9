"""Voxels are carried from block to block by their centers: each target has at most one source."""

import numpy as np
from helpers.voxel_world import pose
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.memory.carrying import carry, moved, places

SIZE = (24, 20, 16)


@settings(max_examples=60, deadline=None)
@given(
    yaw=st.floats(-4, 4),
    pitch=st.floats(-0.4, 0.4),
    shift=st.tuples(*[st.floats(-10, 10)] * 3),
    seed=st.integers(0, 1000),
)
def test_a_target_is_found_if_and_only_if_its_center_lies_in_a_source(yaw, pitch, shift, seed):
    rng = np.random.default_rng(seed)
    source = np.unique(rng.integers(0, 16, (200, 3)), axis=0).astype(np.int32)
    target_from_source = pose(*shift, yaw, pitch)
    targets, rows = carry(source, target_from_source, SIZE)
    every = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), -1).reshape(-1, 3)  # (X * Y * Z, 3)
    inside = (every + 0.5 - target_from_source[:3, 3]) @ target_from_source[:3, :3]
    by_source = {tuple(voxel): i for i, voxel in enumerate(source)}
    clear = (np.abs(inside - np.round(inside)) > 1e-9).all(1)  # on a face, rounding decides
    expected = {
        tuple(target): by_source[tuple(voxel)]
        for target, voxel, sure in zip(every, np.floor(inside).astype(int), clear)
        if sure and tuple(voxel) in by_source
    }
    found = {tuple(target): int(row) for target, row in zip(targets, rows)}
    assert len(found) == len(targets), "a target has two sources"
    unclear = {tuple(target) for target, sure in zip(every, clear) if not sure}
    assert {k: v for k, v in found.items() if k not in unclear} == expected


def test_whole_voxels_and_quarter_turns_carry_every_voxel():
    source = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    targets, rows = carry(source, pose(2, 3, -1), SIZE)
    assert targets.tolist() == [[3, 5, 2], [6, 8, 5]] and rows.tolist() == [0, 1]
    targets, _ = carry(source, pose(10, 0, 0, np.pi / 2), SIZE)
    assert targets.tolist() == [[7, 1, 3], [4, 4, 6]]


def test_places_outside_are_none():
    assert places(np.array([[0, 0, 0], [23, 0, 0]], np.int32), pose(1, 0, 0), SIZE).tolist() == [
        [1, 0, 0],
        [-1, -1, -1],
    ]


def test_moving_is_multiplying():
    rng = np.random.default_rng(0)
    points, matrix = rng.normal(size=(50, 4)).astype(np.float32), pose(1, 2, 3, 0.4, 0.1)
    expected = points[:, :3].astype(float) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.allclose(moved(points, matrix), expected, rtol=0, atol=1e-12)
