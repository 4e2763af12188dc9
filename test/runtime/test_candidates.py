"""Which coarse voxels are worked on after the fuser, with outputs made by hand."""

import numpy as np
import pytest
import torch

from occfusion_ros.core.confidence import OCCUPIED
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.presample.children import from_children
from occfusion_ros.runtime.candidates import candidates_of, in_todays_form, scattered

GRID, FACTOR = GridSpec((0.0, 0.0, 0.0), 0.2, (8, 8, 4)), 4  # 2 x 2 x 1 coarse voxels
NOTHING = torch.empty(0, dtype=torch.long)


def fused(**others: torch.Tensor) -> dict[str, torch.Tensor]:
    """Voxel 2 has one occupied child; the others have none."""
    occupancy = torch.full((4, 64), OCCUPIED - 1, dtype=torch.uint8)
    occupancy[2, 5] = OCCUPIED
    said = {"semantic": [4, 5, 6, 7], "semantic_confidence": [40, 50, 60, 70]}
    return {
        "occupancy": occupancy,
        **{name: torch.tensor(values, dtype=torch.uint8) for name, values in said.items()},
        "uncertainty": torch.tensor([0.4, 0.5, 0.6, 0.7]),
        **others,
    }


def screened(*voxels: int) -> dict[str, torch.Tensor]:
    """What a network with a screen says of the same four voxels; -1 of none."""
    said = fused()
    rows = torch.tensor(voxels).clamp(min=0)
    return {**{name: values[rows] for name, values in said.items()}, "screened": torch.tensor(voxels)}


@pytest.mark.parametrize("said", [fused(), screened(2, 1, -1)])
def test_they_are_those_that_are_occupied_and_those_that_are_needed(said):
    found = candidates_of(said, torch.tensor([1, 1]), GRID, FACTOR)
    assert found.voxel.sort().values.tolist() == [1, 2] and found.voxel[found.occupied].tolist() == [2]
    row = found.rows(torch.tensor([2, 1]))
    assert found.semantic[row].tolist() == [6, 5] and found.semantic_confidence[row].tolist() == [60, 50]
    assert found.uncertainty[row].tolist() == pytest.approx([0.6, 0.5])
    assert found.occupancy[row][:, 5].tolist() == [OCCUPIED, OCCUPIED - 1]


def test_what_a_screen_blocks_is_empty_and_has_the_commonest_class():
    found = candidates_of(screened(2, -1), torch.tensor([3, 0]), GRID, FACTOR)
    row = found.rows(torch.tensor([3, 0]))
    assert found.semantic[row].tolist() == [6, 6] and not found.occupied[row].any()
    assert not found.occupancy[row].any() and not found.semantic_confidence[row].any()
    assert len(found.voxel) == 3


def test_nothing_passes_a_screen():
    found = candidates_of(screened(-1, -1), torch.tensor([3]), GRID, FACTOR)
    assert found.voxel.tolist() == [3] and found.semantic.tolist() == [1] and not found.occupied.any()


def test_networks_of_old_say_one_where_a_child_is_occupied():
    said = fused(occupied=(fused()["occupancy"] >= OCCUPIED).byte())
    del said["occupancy"], said["semantic_confidence"]
    found = candidates_of(in_todays_form(said), NOTHING, GRID, FACTOR)
    assert found.voxel.tolist() == [2] and found.semantic_confidence.tolist() == [0]
    assert found.occupancy[0].nonzero()[:, 0].tolist() == [5] and found.occupancy[0, 5] == OCCUPIED


def test_values_of_children_lie_in_the_grid_where_their_parents_do():
    found = candidates_of(screened(2, 1, -1), torch.tensor([1]), GRID, FACTOR)
    values = torch.randint(0, 3, (2, 64), generator=torch.Generator().manual_seed(0)).byte()
    rows = torch.zeros(4, 64, dtype=torch.uint8)
    rows[found.voxel] = values
    expected = from_children(rows, GRID, FACTOR).numpy()
    empty = np.zeros(GRID.size, np.uint8)
    assert np.array_equal(scattered(empty, found.fine(*values.nonzero(as_tuple=True)), values[values > 0]), expected)
    assert np.array_equal(found.dense(values), expected)
    row, child = found.places(torch.from_numpy(expected.flatten().nonzero()[0]))
    assert torch.equal(values[row, child], torch.from_numpy(expected[expected > 0]))
