"""Which voxels the refiner is trained on, and what the screen is."""

from dataclasses import replace

import torch
from helpers.small_model import CONFIG

from models.training.objective import Objective, screen_loss
from occfusion_ros.network.occfusion import FuserOutput, OccFusion, entropy

TOTAL = CONFIG.coarse.num_voxels


def output(occupied: range) -> FuserOutput:
    """Random class logits; a child of each of the `occupied` voxels is predicted occupied."""
    occupancy = torch.full((1, TOTAL, 64), -1.0)
    occupancy[0, list(occupied), 7] = 1
    return FuserOutput(torch.randn(1, TOTAL, 17), occupancy, torch.empty(0), torch.empty(0))


def test_half_are_the_most_uncertain_and_half_random_of_those_predicted_occupied():
    torch.manual_seed(0)
    objective, fused = Objective(OccFusion(CONFIG), torch.ones(17), 40, "fp32"), output(range(500, 700))
    one, other = (objective.chosen(fused)[0].tolist() for _ in range(2))
    hardest = entropy(fused.coarse[0, 500:700]).topk(20).indices + 500
    assert set(hardest.tolist()) <= set(one) & set(other)
    assert len(set(one)) == 40 and set(one) | set(other) <= set(range(500, 700)) and set(one) != set(other)


def test_others_are_taken_where_few_are_occupied():
    torch.manual_seed(0)
    objective = Objective(OccFusion(CONFIG), torch.ones(17), 40, "fp32")
    chosen = objective.chosen(output(range(3)))[0].tolist()
    assert len(set(chosen)) == 40 and {0, 1, 2} <= set(chosen)


def test_a_screen_learns_what_the_network_says_of_the_children():
    fused = output(range(500, 700))
    assert screen_loss(fused).tolist() == [0], "there is none"
    told = torch.full((1, TOTAL), -9.0)
    told[0, 500:700] = 9
    right, wrong, blocks_one = (replace(fused, screen=s) for s in (told, -told, told.clone()))
    blocks_one.screen[0, 600] = -9
    assert screen_loss(right) < 0.01 < screen_loss(blocks_one) < 0.1 < screen_loss(wrong)


def test_a_voxel_whose_children_are_nearly_occupied_should_pass():
    fused = output(range(500, 700))
    fused.occupancy[0, 42, 3] = -0.9
    passes = torch.full((1, TOTAL), -9.0)
    passes[0, [*range(500, 700), 42]] = 9
    assert screen_loss(replace(fused, screen=passes)) < 0.01
