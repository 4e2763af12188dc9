"""Fusion of cameras and LiDAR: from pre-sampled points and image features to dense voxels.

`PointFusion` is the method: point-to-point fusion, deformable cross-attention from LiDAR voxels to camera features.

The query is a voxel's LiDAR feature, the reference points are its theta pre-sampled points, the values are the
multi-scale features of the camera that sees each point (deformable attention: Zhu et al., arXiv 2010.04159).
No depth is estimated anywhere. The features of all cameras are stacked into one tall map, so that one 2-D
`grid_sample` a level does the whole work.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class FusedPoints(NamedTuple):
    """Queries and their points, with a batch axis; see `FusedVoxels` for each.

    Attributes:
        voxel_index: (B, Q). features: (B, Q, theta, 4). uv: (B, Q, theta, 2). camera: (B, Q, theta), -1 unseen.
        image_from_grid: (B, N, 4, 4), for fusions that place pixels in space; None where it is not at hand.
    """

    voxel_index: torch.Tensor
    features: torch.Tensor
    uv: torch.Tensor
    camera: torch.Tensor
    image_from_grid: torch.Tensor | None = None


def to_grid(fused: torch.Tensor, voxel_index: torch.Tensor, total: int) -> torch.Tensor:
    """Scatter (B, Q, C) to a dense grid (B, total, C); voxels without a query are zero."""
    batch, queries, _ = fused.shape
    slots = total + (queries > total)  # one more for unused queries, which only a grid that small has
    dense = fused.new_zeros(batch * slots, fused.shape[2])
    rows = voxel_index + torch.arange(batch, device=fused.device)[:, None] * slots
    dense = dense.index_put((rows.flatten(),), fused.flatten(0, 1)).view(batch, slots, -1)
    return dense[:, :total] if slots > total else dense


def stack_cameras(features: torch.Tensor, batch: int) -> torch.Tensor:
    """(B * N, C, h, w) to one tall map for each sample, (B, C, N * h, w)."""
    _, channels, _, width = features.shape
    # Channels first, so that no axis has to be split: runtimes mistake that, with N unknown, for shuffled channels.
    return features.transpose(0, 1).reshape(channels, batch, -1, width).transpose(0, 1)


def sample_stacked(tall: torch.Tensor, uv: torch.Tensor, camera: torch.Tensor, count: int) -> torch.Tensor:
    """Bilinear features at image positions of one camera each.

    Args:
        tall: (B, C, N * h, w) from `stack_cameras`.
        uv: (B, Q, P, 2) in 0..1 across the image.
        camera: (B, Q, P) camera index as float, 0 or more.
        count: N.

    Returns:
        (B, C, Q, P), in float32: half-precision sampling is too coarse.
    """
    one = torch.ones((), dtype=uv.dtype, device=uv.device)  # made there: no copy from the host, which graphs forbid
    height = tall.shape[2] // count

    def inside(place: torch.Tensor, cells: int) -> torch.Tensor:
        """Half a cell from the edge, so that nothing of the neighboring camera in the stack is mixed in."""
        margin = one * (0.5 / cells)
        return torch.minimum(torch.maximum(place, margin), 1 - margin)

    u, v = uv.unbind(-1)  # apart: runtimes are slow where what is multiplied differs from one number to the next
    down = (inside(v, height) + camera) * (one * (2 / count)) - 1
    grid = torch.stack([inside(u, tall.shape[3]) * 2 - 1, down], -1)
    return F.grid_sample(tall.float(), grid.float(), align_corners=False)


class PointFusion(nn.Module):
    """Deformable cross-attention of voxel queries (B, Q, C) on two levels of image features."""

    LEVELS = 2
    REACH = (0.06, 0.12)  # furthest a learned offset goes, as a fraction of the image's width and height

    def __init__(self, width: int, total: int, offsets: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.total = total
        self.heads, self.offsets = heads, offsets
        self.embed_point = nn.Linear(4, width)
        self.offset = nn.Linear(width, offsets * 2)
        self.weight = nn.Linear(width, offsets * self.LEVELS * heads)
        self.output = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.register_buffer("reach", torch.tensor(self.REACH), persistent=False)

    def forward(
        self, query: torch.Tensor, points: FusedPoints, maps: list[torch.Tensor], count: int
    ) -> tuple[torch.Tensor, None]:
        """Dense voxels (B, total, C) and no loss of its own.

        Args:
            query: (B, Q, C) LiDAR features. maps: two tall maps (B, C, N * h, w) from `stack_cameras`. count: N.
        """
        fused = self.attend(query, points.features, points.uv, points.camera, maps, count)
        return to_grid(fused, points.voxel_index, self.total), None

    def attend(
        self,
        query: torch.Tensor,
        point_features: torch.Tensor,
        uv: torch.Tensor,
        camera: torch.Tensor,
        maps: list[torch.Tensor],
        count: int,
    ) -> torch.Tensor:
        """(B, Q, C): queries plus what the cameras say; a query that no camera sees comes out unchanged."""
        batch, queries, theta, _ = point_features.shape
        point = query[:, :, None] + self.embed_point(point_features)  # (B, Q, theta, C)
        offset = torch.tanh(self.offset(point)).view(batch, queries, theta * self.offsets, 2) * self.reach
        uv = uv[:, :, :, None].expand(-1, -1, -1, self.offsets, -1).reshape(batch, queries, theta * self.offsets, 2)
        index = camera[..., None].expand(-1, -1, -1, self.offsets).reshape(batch, queries, theta * self.offsets)
        seen = index >= 0  # (B, Q, P), P = theta * offsets
        place = index.clamp(min=0).to(uv.dtype)
        weight = self.weight(point).view(batch, queries, theta * self.offsets, self.LEVELS, self.heads)
        weight = weight.masked_fill(~seen[..., None, None], -1e4).flatten(2, 3).softmax(2)  # (B, Q, P * L, heads)
        weight = weight.unflatten(2, (-1, self.LEVELS)).permute(0, 4, 1, 2, 3)[:, :, None]  # (B, heads, 1, Q, P, L)
        attended = sum(
            (
                sample_stacked(tall, uv + offset, place, count).to(query.dtype).unflatten(1, (self.heads, -1))
                * weight[..., level]
            ).sum(-1)
            for level, tall in enumerate(maps)
        )  # (B, heads, C / heads, Q)
        attended = attended.permute(0, 3, 1, 2).reshape(batch, queries, -1)  # (B, Q, C)
        return query + self.output(attended) * seen.any(2, keepdim=True).to(query.dtype)


class LidarOnly(nn.Module):
    """The LiDAR features as they are, without cameras: only there to compare OccFusion with."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self.total = total

    def forward(
        self, query: torch.Tensor, points: FusedPoints, maps: list[torch.Tensor], count: int
    ) -> tuple[torch.Tensor, None]:
        """The interface of `PointFusion`; `maps` is empty."""
        return to_grid(query, points.voxel_index, self.total), None
