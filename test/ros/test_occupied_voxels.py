"""Message order, exposed faces and the nearest voxels, against the plain definition."""

import numpy as np
import pytest
from helpers.exposed import exposed_by_definition
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, IGNORE
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels, x_fastest, x_slowest

SPEC = GridSpec((-0.4, -1.0, 0.0), 0.5, (4, 5, 3))
grids = hnp.arrays(np.uint8, SPEC.size, elements=st.sampled_from([0, 0, 1, 2, 16, 255]))


@settings(max_examples=60, deadline=None)
@given(labels=grids)
def test_exposed_voxels_are_those_with_a_free_neighbor(labels):
    got = OccupiedVoxels.of(labels, SPEC).exposed
    expected = [
        index
        for index in map(tuple, np.argwhere((labels != EMPTY) & (labels != IGNORE)))
        if exposed_by_definition(labels, index)
    ]
    assert {tuple(i) for i in SPEC.unflatten_x_fastest(got.flat)} == set(expected)
    np.testing.assert_array_equal(got.labels, labels[tuple(SPEC.unflatten_x_fastest(got.flat).T)])


@settings(max_examples=60, deadline=None)
@given(labels=grids)
def test_flat_order_is_that_of_the_grid(labels):
    voxels = OccupiedVoxels.of(labels, SPEC)
    indices = np.argwhere((labels != EMPTY) & (labels != IGNORE))
    np.testing.assert_array_equal(voxels.flat, np.sort(SPEC.flat_x_fastest(indices)))
    np.testing.assert_array_equal(voxels.labels, labels[tuple(SPEC.unflatten_x_fastest(voxels.flat).T)])
    np.testing.assert_array_equal(x_slowest(x_fastest(labels), SPEC.size), labels)


def test_x_runs_fastest():
    labels = np.zeros(SPEC.size, np.uint8)
    labels[1, 2, 0] = 7
    labels[0, 0, 1] = 8
    assert OccupiedVoxels.of(labels, SPEC).flat.tolist() == [1 + 4 * 2, 4 * 5]


@settings(max_examples=60, deadline=None)
@given(labels=grids, longest=st.integers(1, 5))
def test_runs_cover_every_voxel_once_and_are_as_long_as_they_may_be(labels, longest):
    voxels = OccupiedVoxels.of(labels, SPEC)
    firsts, lengths = voxels.runs(longest)
    covered = [flat + i for flat, length in zip(firsts.flat, lengths) for i in range(length)]
    np.testing.assert_array_equal(covered, voxels.flat)
    np.testing.assert_array_equal(np.repeat(firsts.labels, lengths), voxels.labels)
    ends, rows = firsts.flat + lengths, firsts.flat // SPEC.size[0]
    goes_on = (ends[:-1] == firsts.flat[1:]) & (rows[:-1] == rows[1:]) & (firsts.labels[:-1] == firsts.labels[1:])
    assert (lengths[:-1][goes_on] == longest).all()
    assert all(flat % SPEC.size[0] + length <= SPEC.size[0] for flat, length in zip(firsts.flat, lengths))
    assert not len(lengths) or 1 <= lengths.min() <= lengths.max() <= longest


def test_a_long_run_is_cut():
    labels = np.full((11, 2, 1), 3, np.uint8)
    firsts, lengths = OccupiedVoxels.of(labels, GridSpec((0.0, 0.0, 0.0), 1.0, (11, 2, 1))).runs(8)
    assert (firsts.flat.tolist(), lengths.tolist()) == ([0, 8, 11, 19], [8, 3, 8, 3])


@pytest.mark.parametrize("size", [(4, 5, 3), (3, 2, 8), (6, 7, 40), (5, 150, 8)])
def test_message_order_is_x_first(size):
    labels = np.random.default_rng(0).integers(0, 256, size).astype(np.uint8)
    np.testing.assert_array_equal(x_fastest(labels), labels.transpose(2, 1, 0).ravel())
    np.testing.assert_array_equal(x_fastest(np.asfortranarray(labels)), labels.transpose(2, 1, 0).ravel())
