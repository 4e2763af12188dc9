"""Columns of bits are turned, shifted and looked through as arrays are, and carried by where centers of voxels lie."""

import numpy as np
import pytest
from helpers.voxel_world import pose
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from occfusion_ros.memory import columns
from occfusion_ros.memory.columns import DEPTH, pack, unpack

WORDS = st.integers(1, 2**64 - 1).map(np.uint64)
HERE, THERE = (9, 7, 20), (24, 20, 16)


@njit
def lowest_and_highest(word):
    return columns.lowest(word), columns.highest(word)


def flags(word) -> np.ndarray:
    return unpack(np.array([[word]], np.uint64), DEPTH)[0, 0]


@settings(deadline=None)
@given(WORDS)
@example(np.uint64(1))
@example(np.uint64(1 << 63))
def test_lowest_and_highest_are_the_ends_of_what_is_set(word):
    assert lowest_and_highest(word) == tuple(np.flatnonzero(flags(word))[[0, -1]])


@settings(deadline=None)
@given(WORDS, st.integers(0, DEPTH - 1))
def test_turning_is_rolling(word, by):
    assert (flags(columns.turned_up(word, by)) == np.roll(flags(word), by)).all()
    assert (flags(columns.turned_down(word, by)) == np.roll(flags(word), -by)).all()


@settings(deadline=None)
@given(WORDS, st.integers(-100, 100))
def test_shifting_loses_what_leaves(word, by):
    padded = np.pad(flags(word), 100)
    assert (flags(columns.shifted_down(word, by)) == padded[100 + by : 100 + by + DEPTH]).all()


@settings(deadline=None)
@given(st.integers(0, DEPTH - 1), st.integers(1, DEPTH))
def test_a_span_is_a_slice(first, count):
    end = min(first + count, DEPTH)
    assert np.flatnonzero(flags(columns.span(first, end))).tolist() == list(range(first, end))


@pytest.mark.parametrize("depth", [1, 7, 40, 64])
def test_packing_and_unpacking_are_inverse(depth):
    dense = np.random.default_rng(depth).random((4, 3, depth)) < 0.5
    assert (unpack(pack(dense), depth) == dense).all()


@pytest.mark.parametrize("depth", [7, 40])
def test_occupied_are_labels_that_say_so(depth):
    rng = np.random.default_rng(1)
    labels = (rng.random((4, 3, depth)) < 0.1) * rng.choice([1, 9, 255], (4, 3, depth)).astype(np.uint8)
    words = np.full((4, 3), 77, np.uint64)
    columns.occupied(labels.astype(np.uint8), words, 1, 4, 255)
    assert (unpack(words, depth)[1:] == ((labels > 0) & (labels < 255))[1:]).all() and (words[0] == 77).all()


def test_points_outside_set_nothing():
    words = np.zeros((2, 2), np.uint64)
    columns.set_at(words, np.array([[-0.1, 0, 0], [2, 0, 0], [0, np.nan, 0], [0, 0, 5.0]]), (2, 2, 2))
    assert not words.any()
    columns.set_at(words, np.array([[1.9, 0, 1.5]]), (2, 2, 2))
    assert words.tolist() == [[0, 0], [2, 0]]


def runs(matrix, x, y, first, last, depth) -> np.ndarray:
    """Where the voxels of a column lie in the other block, (depth, 3), by its runs; -1 where nobody asked."""
    start, steps, found = columns.column_start(matrix, x, y), columns.column_steps(matrix), np.full((depth, 3), -1)
    while first < last:
        there_x, there_y, up, after = columns.run_at(start, steps, first, last)
        assert first < after <= last
        for z in range(first, after):
            found[z] = there_x, there_y, z + up
        first = after
    return found


POSES = st.builds(
    pose, *[st.floats(-10, 10)] * 3, yaw=st.floats(-4, 4), pitch=st.one_of(st.floats(-0.4, 0.4), st.floats(-4, 4))
)
WHOLE_TURNS = [pose(2, 3, -1), pose(10, 0, 0, np.pi / 2), pose(0, 8, 2, -np.pi / 2), pose(20, 18, 0, np.pi)]


@settings(max_examples=100, deadline=None)
@given(POSES, st.integers(0, HERE[0] - 1), st.integers(0, HERE[1] - 1))
@example(pose(0, 0, 0, pitch=np.pi / 2), 3, 3)
@example(pose(20, 0, 10, pitch=np.pi), 3, 3)
def test_runs_lead_to_where_the_center_of_each_voxel_lies(matrix, x, y):
    voxels = np.array([[x, y, z] for z in range(HERE[2])])
    there = (voxels + 0.5) @ matrix[:3, :3].T + matrix[:3, 3]
    clear = (np.abs(there - np.round(there)) > 1e-6).all(1)  # on a face, rounding decides
    found = runs(matrix, x, y, 0, HERE[2], HERE[2])
    assert (found == np.floor(there))[clear].all()


@pytest.mark.parametrize("matrix", WHOLE_TURNS)
def test_whole_voxels_and_quarter_turns_take_one_run(matrix):
    start, steps = columns.column_start(matrix, 1, 2), columns.column_steps(matrix)
    x, y, up, after = columns.run_at(start, steps, 0, HERE[2])
    there = np.floor(np.array([1.5, 2.5, 0.5]) @ matrix[:3, :3].T + matrix[:3, 3] + 1e-9)
    assert (x, y, up, after) == (*there, HERE[2])


@settings(max_examples=60, deadline=None)
@given(POSES, st.integers(0, 1000), st.tuples(*[st.integers(0, 15)] * 3))
def test_nothing_is_set_beyond_the_reach_of_a_column(matrix, seed, offset):
    """In a ring, whose low corner may lie anywhere."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((*THERE[:2], DEPTH), bool)
    for x, y, z in rng.integers(0, THERE, (rng.integers(0, 6), 3)):
        dense[x, y, z] = True
    ring = pack(np.roll(dense, offset, (0, 1, 2)))
    steps = columns.column_steps(matrix)
    around = columns.outline(ring, np.array(offset), steps, HERE[2])
    for x in range(HERE[0]):
        for y in range(HERE[1]):
            first, last = columns.reach(around, columns.column_start(matrix, x, y), steps, HERE[2])
            there = runs(matrix, x, y, 0, HERE[2], HERE[2])
            inside = ((there >= 0) & (there < dense.shape)).all(1)
            hit = np.flatnonzero(inside & dense[tuple(np.where(inside[:, None], there, 0).T)])
            assert ((hit >= first) & (hit < last)).all()
