"""Decoder on the coarse grid with height folded into channels: 2-D convolutions only."""

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


class Residual(nn.Module):
    """Two 3 x 3 convolutions with a skip (He et al., arXiv 1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNormReLU(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class BevDecoder(nn.Module):
    """U-Net over the ground plane; (B, inputs, X, Y) to (B, outputs, X, Y)."""

    def __init__(self, inputs: int, outputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNormReLU(inputs, widths[0], 1), ConvNormReLU(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(ConvNormReLU(a, b, 3, 2), Residual(b)) for a, b in zip(widths, widths[1:])
        )
        self.up = nn.ModuleList(ConvNormReLU(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.merge = nn.ModuleList(Residual(a) for a in widths[:-1])
        self.output = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge)):
            x = merge(levels.pop() + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return self.output(x)
