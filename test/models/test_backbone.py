"""Image features: their looks do not count, and a level is read wherever it differs within an image."""

import torch

from occfusion_ros.network.backbone import FeaturePyramid, standardize

CHANNELS = (4, 6, 8)


def levels() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, size, 2 * size, generator=generator) for c, size in zip(CHANNELS, (8, 4, 2))]


def test_gain_and_offset_of_a_channel_do_not_count():
    features = levels()[0]
    changed = features * torch.tensor([0.5, 2, 1, 3]).view(4, 1, 1) + torch.arange(4.0).view(4, 1, 1)
    assert torch.allclose(standardize(changed), standardize(features), atol=0.02)
    assert torch.allclose(standardize(features).mean((2, 3)), torch.zeros(2, 4), atol=1e-5)
    assert torch.allclose(standardize(features).var((2, 3), correction=0), torch.ones(2, 4), atol=0.02)


def test_one_image_does_not_count_for_another_and_a_missing_one_is_nothing():
    features = levels()[1]
    one = features.clone()
    one[1] = 0
    assert torch.equal(standardize(one)[0], standardize(features)[0])
    assert (standardize(one)[1] == 0).all()


def test_channels_are_lost_while_training_only():
    torch.manual_seed(0)
    pyramid, features = FeaturePyramid(CHANNELS, 16, lost=0.5), levels()
    assert not torch.allclose(pyramid.train()(features)[0], pyramid(features)[0])
    assert torch.equal(pyramid.eval()(features)[0], pyramid(features)[0])
