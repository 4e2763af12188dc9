"""Bits of voxels: turned, listed and unpacked as arrays are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.memory.bits import listed, nonzero, set_at, turn, unpack, words_of


def packed(dense: np.ndarray) -> np.ndarray:
    words = np.zeros(words_of(dense.shape), np.uint64)
    set_at(words, np.argwhere(dense) + 0.5, dense.shape)
    return words


@settings(deadline=None)
@given(depth=st.integers(1, 150), by=st.integers(0, 149), seed=st.integers(0, 100))
def test_turning_is_rolling(depth, by, seed):
    dense = np.random.default_rng(seed).random((3, 2, depth)) < 0.3
    words = packed(dense)
    turn(words, depth, by % depth)
    assert (words == packed(np.roll(dense, by % depth, 2))).all()


@pytest.mark.parametrize("offset", [(0, 0, 0), (3, 1, 70)])
def test_listed_are_the_set_voxels_of_a_ring_without_some(offset):
    rng = np.random.default_rng(0)
    dense, without = rng.random((2, 5, 4, 80)) < 0.2
    ring = packed(np.roll(dense, offset, (0, 1, 2)))
    found = listed(ring, packed(np.roll(without, offset[2], 2)), np.array(offset), dense.shape, 0, 5)
    assert sorted(map(tuple, found)) == sorted(map(tuple, np.argwhere(dense & ~without)))


@pytest.mark.parametrize("size", [(4, 3, 40), (4, 3, 7)])
def test_nonzero_finds_labels_in_order(size):
    labels = (np.random.default_rng(1).random(size) < 0.1).astype(np.uint8) * 9
    labels[0, 0, 0] = 255
    voxels, values = nonzero(labels, 0, size[0])
    assert (voxels == np.argwhere(labels)).all() and (values == labels[labels > 0]).all()
    assert len(nonzero(labels, 1, 3)[0]) == np.count_nonzero(labels[1:3])


def test_unpacking_gives_the_voxels_back():
    dense = np.random.default_rng(2).random((4, 4, 70)) < 0.5
    assert (unpack(packed(dense), 70) == dense).all()


def test_points_outside_set_nothing():
    words = np.zeros(words_of((2, 2, 2)), np.uint64)
    set_at(words, np.array([[-0.1, 0, 0], [2, 0, 0], [0, np.nan, 0], [0, 0, 5.0]]), (2, 2, 2))
    assert not words.any()
