"""Decoder on the coarse grid with height folded into channels: 2-D convolutions only."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class ConvNormReLU(nn.Sequential):
    """3 x 3 (or 1 x 1) convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def full(width: int) -> list[nn.Module]:
    """Make a 3 x 3 convolution and its norm."""
    return [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)]


def separable(width: int) -> list[nn.Module]:
    """Make what stands for `full` at a ninth of its multiply-adds: each channel by itself, then 1 x 1 across channels.

    Source: Howard et al., arXiv 1704.04861.
    """
    each = nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False)
    return [each, nn.BatchNorm2d(width), nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)]


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a skip (He et al., arXiv 1512.03385); `conv`: `full` or `separable`."""

    def __init__(self, width: int, conv: Callable[[int], list[nn.Module]] = full) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Sequential(*conv(width), nn.ReLU(inplace=True)), *conv(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class BevDecoder(nn.Module):
    """U-Net over the ground plane; (B, inputs, X, Y) to (B, outputs, X, Y).

    The `separables` finest levels, which have most of the cells, make do with separable convolutions.
    """

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...], separables: int = 0) -> None:
        super().__init__()
        convs = [separable if level < separables else full for level in range(len(widths))]
        self.stem = nn.Sequential(
            ConvNormReLU(inputs, widths[0], 1), nn.Sequential(*convs[0](widths[0]), nn.ReLU(inplace=True))
        )
        self.down = nn.ModuleList(
            nn.Sequential(ConvNormReLU(a, b, 3, 2), Residual(b, conv))
            for a, b, conv in zip(widths, widths[1:], convs[1:])
        )
        self.up = nn.ModuleList(ConvNormReLU(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.merge = nn.ModuleList(Residual(a, conv) for a, conv in zip(widths[:-1], convs))
        self.output = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge)):
            x = merge(levels.pop() + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return self.output(x)
