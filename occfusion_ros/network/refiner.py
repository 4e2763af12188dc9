"""Active refinement: the most uncertain coarse voxels are split into 4 x 4 x 4 children (Active M-CONet)."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import nn

from ..core.grid import flatten, unflatten
from .fusion import sample_stacked


def trilinear_weights(factor: int) -> torch.Tensor:
    """(factor**3, 27) weights of the 27 coarse neighbors for each child center.

    A child's place inside its parent is fixed, so trilinear interpolation of the coarse grid is one constant matrix.
    """
    inside = (torch.arange(factor) + 0.5) / factor - 0.5  # offsets from the parent's center, in coarse voxels
    neighbor = torch.tensor([-1.0, 0.0, 1.0])
    line = (1 - (inside[:, None] - neighbor).abs()).clamp(min=0)  # (factor, 3)
    cube = torch.einsum("ad,be,cf->abcdef", line, line, line)
    return cube.reshape(factor**3, 27)


class Refiner(nn.Module):
    """Each child resamples voxel and image features and is classified anew.

    Inputs of `forward`, K parents and J = factor**3 children each:
        features, which gives (N, V) of (N,) int64 flat voxels on the coarse grids of all samples, one behind the other,
        image_map (B, C, N * h, w) (not read where `image_width` is 0),
        parent (B, K) int64 flat coarse index, child_uv (B, K, J, 2), parent_camera (B, K) int64 (-1 unseen),
        child_seen (B, K, J) bool or 0/1, child_return (B, K, J) 1 where the sweep has a return.
    Output: (B, K, J, 1 + classes) logits.
    """

    def __init__(
        self, size: tuple[int, int, int], factor: int, voxel_width: int, image_width: int, labels: int, hidden: int
    ) -> None:
        super().__init__()
        self.size = size
        self.reduce = nn.Linear(voxel_width, hidden)
        self.place = nn.Parameter(torch.zeros(factor**3, hidden))
        self.image = nn.Linear(image_width, hidden) if image_width else None
        self.returned = nn.Parameter(torch.zeros(hidden))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, labels))
        self.register_buffer("weights", trilinear_weights(factor), persistent=False)
        offsets = torch.tensor(list(itertools.product((-1, 0, 1), repeat=3)))
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("limit", torch.tensor(size) - 1, persistent=False)

    def neighbors(self, parent: torch.Tensor) -> torch.Tensor:
        """(B, K) flat index to (B, K, 27) flat indices of the 3 x 3 x 3 block, clamped at the border of the grid."""
        index = torch.stack(unflatten(parent, self.size), -1)[:, :, None] + self.offsets
        index = torch.minimum(index.clamp(min=0), self.limit)
        return flatten(index[..., 0], index[..., 1], index[..., 2], self.size)

    def forward(
        self,
        features: Callable[[torch.Tensor], torch.Tensor],
        image_map: torch.Tensor,
        parent: torch.Tensor,
        child_uv: torch.Tensor,
        parent_camera: torch.Tensor,
        child_seen: torch.Tensor,
        child_return: torch.Tensor,
        count: int,
    ) -> torch.Tensor:
        batch, parents, children, _ = child_uv.shape
        first = torch.arange(batch, device=parent.device)[:, None, None] * math.prod(self.size)  # of each sample
        block = self.reduce(features((self.neighbors(parent) + first).flatten()))  # (B * K * 27, hidden)
        block = block.view(batch, parents, 27, block.shape[1])
        feature = self.weights.to(block.dtype) @ block  # (B, K, J, hidden)
        feature = feature + self.place
        if self.image is not None:
            feature = feature + self.see(image_map, child_uv, parent_camera, child_seen, count)
        feature = feature + child_return.to(feature.dtype)[..., None] * self.returned
        # As rows: runtimes add a layer's bias to a matrix while they multiply, to anything else afterwards.
        logits = self.head(feature.flatten(0, 2))
        return logits.view(batch, parents, children, logits.shape[1])

    def see(
        self,
        image_map: torch.Tensor,
        child_uv: torch.Tensor,
        parent_camera: torch.Tensor,
        child_seen: torch.Tensor,
        count: int,
    ) -> torch.Tensor:
        """(B, K, J, hidden): what the camera of each parent shows of its children, zero where it does not see them."""
        camera = parent_camera.clamp(min=0).to(child_uv.dtype)[:, :, None].expand(-1, -1, child_uv.shape[2])
        image = sample_stacked(image_map, child_uv, camera, count).permute(0, 2, 3, 1)  # (B, K, J, C)
        image = self.image(image.flatten(0, 2).to(self.place.dtype)).view(*child_seen.shape, self.place.shape[1])
        return image * child_seen.to(image.dtype)[..., None]
