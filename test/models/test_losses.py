"""Losses against hand-computed values and slow references."""

import numpy as np
import pytest
import torch

from models.training.losses import lovasz_softmax, occupancy_loss, scene_class_affinity, semantic_loss


def jaccard_loss(prediction: torch.Tensor, truth: torch.Tensor, label: int) -> float:
    hit = ((prediction == label) & (truth == label)).sum()
    union = ((prediction == label) | (truth == label)).sum()
    return 1 - float(hit / union)


def test_lovasz_equals_the_jaccard_loss_on_hard_predictions():
    truth = torch.tensor([0, 0, 1, 1, 2, 2, 2])
    prediction = torch.tensor([0, 1, 1, 1, 2, 0, 2])
    hard = torch.eye(3)[prediction]
    expected = np.mean([jaccard_loss(prediction, truth, c) for c in range(3)])
    assert lovasz_softmax(hard, truth).item() == pytest.approx(expected, abs=1e-6)


def test_losses_vanish_on_the_truth_and_grow_away_from_it():
    truth = torch.tensor([0, 0, 0, 4, 11, 255])
    perfect = torch.full((6, 17), -20.0)
    perfect[torch.arange(6), truth.clamp(max=16)] = 20.0
    assert semantic_loss(perfect, truth, None).item() < 1e-2
    assert semantic_loss(torch.zeros(6, 17), truth, None).item() > 2


def test_ignored_voxels_do_not_count():
    logits = torch.randn(8, 17, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 4, 11, 0, 255, 255, 255, 255])
    assert semantic_loss(logits, truth, None).item() == pytest.approx(semantic_loss(logits[:4], truth[:4], None).item())
    ignored = torch.cat([logits[:4], torch.full((4, 17), 9.0)])
    assert semantic_loss(ignored, truth, None).item() == pytest.approx(semantic_loss(logits, truth, None).item())


def test_affinity_of_one_class_by_hand():
    probability = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    truth = torch.tensor([1, 0])
    term = -np.log(1.0) - np.log(0.5) - np.log(1.0)  # precision 0.5 / 0.5, recall 0.5 / 1, specificity 1
    assert scene_class_affinity(probability, truth).item() == pytest.approx(2 * term, abs=1e-5)


def test_occupancy_loss_ignores_and_orders():
    truth = torch.tensor([[0, 1, 255, 1]], dtype=torch.uint8)
    good = torch.tensor([[-9.0, 9.0, 9.0, 9.0]])
    bad = torch.tensor([[-9.0, -9.0, 9.0, 9.0]])
    assert occupancy_loss(good, truth) < 1e-2 < occupancy_loss(bad, truth)
    other = good.clone()
    other[0, 2] = -9
    assert occupancy_loss(other, truth) == occupancy_loss(good, truth)


@pytest.mark.parametrize("truth", [torch.zeros(5, dtype=torch.long), torch.full((5,), 255), torch.full((5,), 3)])
def test_losses_have_finite_gradients_on_uniform_truth(truth):
    logits = torch.zeros(5, 17, requires_grad=True)
    semantic_loss(logits, truth, None).backward()
    assert torch.isfinite(logits.grad).all()
