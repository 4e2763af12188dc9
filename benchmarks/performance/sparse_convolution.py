"""Sparse 3-D convolution in plain PyTorch (Graham et al., arXiv 1711.10275): there to count what a baseline costs."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from occfusion_ros.core.grid import flatten, unflatten

OFFSETS = tuple(itertools.product((-1, 0, 1), repeat=3))


@dataclass(frozen=True)
class SparseTensor:
    """Features of some voxels of a grid.

    Attributes:
        places: (M, 3) int64, sorted by flat index, each once. features: (M, C). size: voxels along each axis.
    """

    places: torch.Tensor
    features: torch.Tensor
    size: tuple[int, int, int]

    def dense(self) -> torch.Tensor:
        """(1, C, X, Y, Z)."""
        flat = flat_index(self.places, self.size)
        total = self.size[0] * self.size[1] * self.size[2]
        grid = self.features.new_zeros(total, self.features.shape[1]).index_copy(0, flat, self.features)
        return grid.T.reshape(1, -1, *self.size)


def flat_index(places: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
    """Turn (M, 3) places into (M,) flat ones, z fastest."""
    return flatten(*places.unbind(1), size)


class SparseConv3d(nn.Module):
    """3 x 3 x 3 convolution with batch norm; with stride 1 only where there is something (submanifold)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.randn(len(OFFSETS), inputs, outputs) * 0.1)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: SparseTensor) -> SparseTensor:
        size = tuple(-(-edge // self.stride) for edge in x.size)
        places = x.places if self.stride == 1 else self.reached(x.places, size)
        keys, limit = flat_index(x.places, x.size), x.places.new_tensor(x.size)
        features = x.features.new_zeros(len(places), self.weight.shape[2])
        for offset, weight in zip(OFFSETS, self.weight):
            source = places * self.stride + places.new_tensor(offset)
            inside = ((source >= 0) & (source < limit)).all(1)
            wanted = flat_index(source, x.size)
            found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
            row = (inside & (keys[found] == wanted)).nonzero()[:, 0]
            features = features.index_add(0, row, x.features[found[row]] @ weight)
        return SparseTensor(places, self.norm(features), size)

    def reached(self, places: torch.Tensor, size: tuple[int, int, int]) -> torch.Tensor:
        """Voxels of the coarser grid that a kernel at them would find something from."""
        steps = places.new_tensor(OFFSETS)
        target = (places[:, None] - steps).view(-1, 3)
        target = target[(target % self.stride == 0).all(1)] // self.stride
        target = target[((target >= 0) & (target < target.new_tensor(size))).all(1)]
        flat = flat_index(target, size).unique()
        return torch.stack(unflatten(flat, size), 1)


class SparseBlock(nn.Module):
    """Two submanifold convolutions with a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = SparseConv3d(width, width), SparseConv3d(width, width)

    def forward(self, x: SparseTensor) -> SparseTensor:
        y = self.first(x)
        y = self.second(SparseTensor(y.places, F.relu(y.features), y.size))
        return SparseTensor(y.places, F.relu(x.features + y.features), y.size)


class SparseEncoder(nn.Module):
    """OpenOccupancy's SparseLiDAREnc8x: 4 channels of 0.1 m voxels to 80 at an eighth of the resolution."""

    WIDTHS = (16, 32, 64, 128)

    def __init__(self, outputs: int = 80) -> None:
        super().__init__()
        self.stem = SparseConv3d(4, self.WIDTHS[0])
        self.stages = nn.ModuleList(
            nn.Sequential(SparseConv3d(a, b, 2), SparseBlock(b), SparseBlock(b))
            for a, b in zip(self.WIDTHS, self.WIDTHS[1:])
        )
        self.output = SparseConv3d(self.WIDTHS[-1], outputs)

    def forward(self, x: SparseTensor) -> torch.Tensor:
        """(1, outputs, X / 8, Y / 8, Z / 8)."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(SparseTensor(x.places, F.relu(x.features), x.size))
        return F.relu(self.output(x).dense())


def voxel_means(points: torch.Tensor, low: tuple[float, ...], voxel: float, size: tuple[int, int, int]) -> SparseTensor:
    """Mean of the points (N, 4) in each voxel (HardSimpleVFE without its limits)."""
    places = ((points[:, :3] - points.new_tensor(low)) / voxel).floor().long()
    inside = ((places >= 0) & (places < places.new_tensor(size))).all(1)
    flat, owner, count = flat_index(places[inside], size).unique(return_inverse=True, return_counts=True)
    features = points.new_zeros(len(flat), 4).index_add(0, owner, points[inside]) / count[:, None]
    return SparseTensor(torch.stack(unflatten(flat, size), 1), features, size)
