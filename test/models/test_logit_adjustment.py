"""Class frequencies are counted at the returns, and objects brought towards those of the road."""

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG
from helpers.tiny_training import make_frame

from models.training.logit_adjustment import OBJECTS, ROAD, adjust, log_ratios, returns_by_class
from occfusion_ros.network.occfusion import OccFusion


def test_returns_are_counted_by_the_label_of_their_voxel(tmp_path):
    frame = make_frame(0)
    frame.save(tmp_path / "a.npz")
    index, inside = frame.grid.indices(frame.points[:, :3])
    labels = frame.semantics[tuple(index[inside].T)]
    counts = returns_by_class([tmp_path / "a.npz"] * 2)
    assert counts[11] == 2 * (labels == 11).sum() > 0 and counts[4] == 2 * (labels == 4).sum() > 0
    assert counts.sum() == 2 * len(labels)


def test_frequencies_of_the_road_need_no_shift_and_others_get_the_logarithm():
    counts = np.zeros(17)
    counts[OBJECTS] = [ROAD[label] for label in OBJECTS]
    counts[11] = 1e9
    assert np.allclose(log_ratios(counts), 0)
    counts[6] *= 8  # eight times too many motorcycles
    ratios = log_ratios(counts)
    assert ratios[6] - ratios[4] == pytest.approx(-np.log(8)) and ratios[11] == ratios[1] == 0
    counts[5] = 0
    assert log_ratios(counts)[5] == 0 and np.isfinite(log_ratios(np.zeros(17))).all()


def test_both_heads_are_shifted_alike():
    model, counts = OccFusion(CONFIG), np.full(17, 100)
    before = model.coarse_head.bias.clone(), model.refiner.head[-1].bias.clone()
    adjust(model, counts, 0.5)
    expected = torch.from_numpy(0.5 * log_ratios(counts)).float()
    assert torch.allclose(model.coarse_head.bias - before[0], expected, atol=1e-6)
    assert torch.allclose(model.refiner.head[-1].bias - before[1], expected, atol=1e-6)
    assert expected[4] > 0 > expected[2] and expected[0] == 0
