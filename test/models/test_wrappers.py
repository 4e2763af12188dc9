"""What leaves the networks in bytes, from logits made by hand and those of small networks."""

from types import SimpleNamespace

import pytest
import torch
from helpers.small_model import small_model

from occfusion_ros.core.confidence import OCCUPIED, STEPS
from occfusion_ros.core.labels import NUM_LABELS
from occfusion_ros.network.wrappers import FuserNetwork, RefinerNetwork, class_byte


def fuser_of(shift: torch.Tensor) -> FuserNetwork:
    """A fuser whose voxel features are the logits of the children."""
    network = FuserNetwork.__new__(FuserNetwork)
    torch.nn.Module.__init__(network)
    head = SimpleNamespace(weight=torch.eye(4), bias=torch.zeros(4))
    network.model = SimpleNamespace(occupancy_head=head, occupancy_shift=shift)
    return network


def test_log_odds_are_counted_in_steps_from_the_threshold_of_the_class():
    shift = torch.zeros(NUM_LABELS)
    shift[2] = -1.0
    logits = torch.tensor([[0.0, 1.0, -1.0, 0.03], [0.0, 1.0, 20.0, -20.0]])
    found = fuser_of(shift).occupancy(logits, torch.tensor([1, 2]))
    assert found.dtype == torch.uint8
    assert found.tolist() == [[128, 128 + STEPS, 128 - STEPS, 128], [128 - STEPS, 128, 255, 0]]


def test_a_child_is_occupied_where_its_logit_is_above_the_threshold():
    torch.manual_seed(0)
    shift, semantic = torch.randn(NUM_LABELS), torch.randint(1, NUM_LABELS, (200_000,))
    logits = torch.randn(200_000, 4)
    close = torch.randint(-9, 10, (200_000,)) * 4e-6  # sums are rounded to 1e-6
    logits[:, 3] = -shift[semantic] + torch.where(close == 0, 4e-6, close)
    occupied = fuser_of(shift).occupancy(logits, semantic) >= OCCUPIED
    above = logits + shift[semantic][:, None]
    sure = above.abs() > 2e-6
    assert torch.equal(occupied[sure], above[sure] > 0) and sure[:, 3].all()


@pytest.mark.parametrize(
    ("logits", "share"), [([9.0, 0, 0, 0, 0], 64), ([0.0, 50, 0, 0, 0], 255), ([0.0, 2, 2, -99, -99], 128)]
)
def test_the_probability_of_a_class_leaves_out_that_of_being_empty(logits, share):
    assert class_byte(torch.tensor(logits)).item() == share


def test_the_refiner_says_of_each_child_what_it_labels():
    model = small_model()
    model.refined_shift -= 10
    torch.manual_seed(1)
    features, image_map = torch.randn(1, 2560, 24), torch.randn(1, 16, 16, 12)
    children = (
        torch.arange(40),
        torch.rand(40, 64, 2),
        torch.randint(-1, 2, (40,)),
        torch.randint(0, 2, (40, 64)).float(),
        torch.randint(0, 2, (40, 64)).float(),
    )
    with torch.no_grad():
        labels, occupancy, confidence = RefinerNetwork(model).eval()(features, image_map, *children)
        logits = model.refiner(
            lambda rows: features[0, rows], image_map, *(tensor[None] for tensor in children), count=2
        )[0]
    best = logits[..., 1:].argmax(-1) + 1
    odds = logits[..., 1:].logsumexp(-1) - logits[..., 0] + model.refined_shift[best]
    assert (
        torch.equal(labels, torch.where(odds >= 0, best, 0).byte()) and 100 < (labels > 0).sum() < labels.numel() - 100
    )
    assert torch.equal(labels > 0, occupancy >= OCCUPIED)
    assert torch.equal(confidence, class_byte(logits))
