"""Which voxels are refined."""

import pytest
import torch

from occfusion_ros.runtime.selection import any_child, most_uncertain

UNCERTAINTY = torch.tensor([0.3, 2.0, 0.0, 1.0, 0.5, 2.5])
OCCUPIED = torch.tensor([True, False, True, True, True, False])


@pytest.mark.parametrize(
    ("budget", "expected"), [(0, set()), (1, {3}), (2, {3, 4}), (4, {0, 2, 3, 4}), (99, {0, 2, 3, 4})]
)
def test_the_most_uncertain_occupied_voxels_are_chosen(budget, expected):
    chosen = most_uncertain(UNCERTAINTY, OCCUPIED, budget)
    assert set(chosen.tolist()) == expected and len(chosen) == len(expected)


def test_nothing_occupied_is_nothing_to_refine():
    assert len(most_uncertain(UNCERTAINTY, torch.zeros(6, dtype=torch.bool), 3)) == 0


@pytest.mark.parametrize("children", [64, 27, 1])
def test_a_voxel_is_occupied_where_any_child_is(children):
    occupied = torch.zeros((50, children), dtype=torch.uint8)
    for row in (0, 7, 49):
        occupied[row, row % children] = 1
    assert any_child(occupied).nonzero()[:, 0].tolist() == [0, 7, 49]
