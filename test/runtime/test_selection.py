"""Which voxels are refined."""

import pytest
import torch

from occfusion_ros.core.confidence import OCCUPIED
from occfusion_ros.runtime.selection import any_child, most_uncertain

UNCERTAINTY = torch.tensor([0.3, 2.0, 0.0, 1.0, 0.5, 2.5])
PREDICTED = torch.tensor([True, False, True, True, True, False])


@pytest.mark.parametrize(
    ("budget", "expected"), [(0, set()), (1, {3}), (2, {3, 4}), (4, {0, 2, 3, 4}), (99, {0, 2, 3, 4})]
)
def test_the_most_uncertain_occupied_voxels_are_chosen(budget, expected):
    chosen = most_uncertain(UNCERTAINTY, PREDICTED, budget)
    assert set(chosen.tolist()) == expected and len(chosen) == len(expected)


def test_nothing_occupied_is_nothing_to_refine():
    assert len(most_uncertain(UNCERTAINTY, torch.zeros(6, dtype=torch.bool), 3)) == 0


@pytest.mark.parametrize("children", [64, 27, 1])
def test_a_voxel_is_occupied_where_any_child_is(children):
    occupancy = torch.full((50, children), OCCUPIED - 1, dtype=torch.uint8)
    for row in (0, 7, 49):
        occupancy[row, row % children] = OCCUPIED + row
    assert any_child(occupancy).nonzero()[:, 0].tolist() == [0, 7, 49]


@pytest.mark.parametrize("children", [64, 24, 27])
def test_any_bit_of_a_child_can_be_asked_for(children):
    labels = torch.zeros((9, children), dtype=torch.uint8)
    labels[2, 5], labels[4, children - 1] = 1, 255
    assert any_child(labels, 0xFF).nonzero()[:, 0].tolist() == [2, 4]
    assert any_child(labels).nonzero()[:, 0].tolist() == [4]
