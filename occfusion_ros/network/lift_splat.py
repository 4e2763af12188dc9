"""Lift-splat fusion with a depth distribution, as M-CONet's camera branch: only there to compare OccFusion with.

Each pixel of the image features at stride 16 gets a distribution over depth; its feature, weighted with it, is summed
into the voxels along its ray (lift-splat: Philion & Fidler, arXiv 2008.05711). The voxels are gated with the LiDAR's
(VisFuser of OpenOccupancy, arXiv 2303.03991). Depth is supervised by the sweep (Li et al., BEVDepth, arXiv 2206.10092).
Kernels are 1 x 1 x 1 where VisFuser has 7 x 7 x 7 and 3 x 3 x 3: the decoder, the same for all, mixes neighbors.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..core.grid import GridSpec
from .decoder import ConvNormReLU
from .fusion import FusedPoints, to_grid

DEPTH_LOW, DEPTH_STEP, DEPTH_BINS = 2.0, 0.5, 112  # metres; 2 to 58 m, as M-CONet


class LiftSplatFusion(nn.Module):
    """The interface of `PointFusion`; needs `FusedPoints.image_from_grid`."""

    def __init__(self, width: int, coarse: GridSpec, image_size: tuple[int, int], hidden: int = 64) -> None:
        super().__init__()
        self.coarse, self.image_size = coarse, image_size
        self.lift = nn.Sequential(ConvNormReLU(width, hidden), nn.Conv2d(hidden, DEPTH_BINS + width, 1))
        self.gate = nn.Sequential(nn.Linear(2 * width, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
        depths = DEPTH_LOW + (torch.arange(DEPTH_BINS) + 0.5) * DEPTH_STEP
        self.register_buffer("depths", depths, persistent=False)
        self.register_buffer("low", torch.tensor(coarse.low), persistent=False)

    def forward(
        self, query: torch.Tensor, points: FusedPoints, maps: list[torch.Tensor], count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PointFusion`; the loss is the cross-entropy of the depth that the sweep measures."""
        if points.image_from_grid is None or points.image_from_grid.shape[1] != count:
            raise ValueError(
                f"lift-splat needs image_from_grid of {count} cameras, got "
                f"{None if points.image_from_grid is None else tuple(points.image_from_grid.shape)}"
            )
        batch, channels, rows, columns = maps[1].shape
        cells = maps[1].view(batch, channels, count, rows // count, columns).transpose(1, 2).flatten(0, 1)
        depth, context = self.lift(cells).split([DEPTH_BINS, channels], 1)  # (B * N, bins, h, w), (B * N, C, h, w)
        lidar = to_grid(query, points.voxel_index, self.coarse.num_voxels)
        image = self.splat(depth.float().softmax(1), context.float(), points.image_from_grid).to(lidar.dtype)
        weight = self.gate(torch.cat([image, lidar], 2))
        measured = self.measured_bins(points, cells.shape[2:])
        return weight * image + (1 - weight) * lidar, depth_loss(depth, measured, batch)

    def splat(self, depth: torch.Tensor, context: torch.Tensor, image_from_grid: torch.Tensor) -> torch.Tensor:
        """Sum depth (B * N, D, h, w) times context (B * N, C, h, w) into the voxels: (B, T, C)."""
        batch, total = len(image_from_grid), self.coarse.num_voxels
        voxel = self.frustum_voxels(image_from_grid, context.shape[2:])  # (B, N, h, w, D)
        sample = torch.arange(batch, device=voxel.device).view(-1, 1, 1, 1, 1)
        target = torch.where(voxel >= 0, sample * total + voxel, -1).flatten(0, 3)  # (B * N * h * w, D)
        pixel, place = (target >= 0).nonzero(as_tuple=True)
        weight = depth.permute(0, 2, 3, 1).flatten(0, 2)[pixel, place]
        values = context.permute(0, 2, 3, 1).flatten(0, 2)[pixel] * weight[:, None]
        voxels = values.new_zeros(batch * total, context.shape[1])
        return voxels.index_add(0, target[pixel, place], values).view(batch, total, -1)

    def frustum_voxels(self, image_from_grid: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
        """Flat coarse voxel of every depth bin of every feature cell, -1 outside the grid.

        Args:
            image_from_grid: (B, N, 4, 4) as in `FusedVoxels`; a camera that cannot be inverted sees nothing.
            cells: (h, w) of the feature map, which covers the whole image.

        Returns:
            (B, N, h, w, D) int64.
        """
        (height, width), device = cells, image_from_grid.device
        v = (torch.arange(height, device=device) + 0.5) / height * self.image_size[0] - 0.5  # pixels of cell centers
        u = (torch.arange(width, device=device) + 0.5) / width * self.image_size[1] - 0.5
        v, u, depth = torch.meshgrid(v, u, self.depths, indexing="ij")
        rays = torch.stack([u * depth, v * depth, depth, torch.ones_like(depth)], -1).view(-1, 4)  # (h * w * D, 4)
        grid_from_image, singular = torch.linalg.inv_ex(image_from_grid.double())
        places = rays.double() @ grid_from_image.transpose(2, 3)[..., :3]  # (B, N, h * w * D, 3)
        index = ((places - self.low) / self.coarse.voxel_size).floor()
        size = torch.tensor(self.coarse.size, device=device)
        inside = ((index >= 0) & (index < size)).all(-1) & (singular == 0)[..., None]
        x, y, z = index.nan_to_num(0, 0, 0).clamp(-1, max(self.coarse.size)).long().unbind(-1)
        flat = torch.where(inside, self.coarse.flatten(x, y, z), -1)
        return flat.view(*image_from_grid.shape[:2], height, width, DEPTH_BINS)

    def measured_bins(self, points: FusedPoints, cells: tuple[int, int]) -> torch.Tensor:
        """(B, N, h, w) int64 depth bin of the nearest return in each feature cell, -1 where there is none.

        The returns are the real ones among the pre-sampled points, each in the camera that it is given to.
        """
        (height, width), total = cells, self.coarse.num_voxels
        batch, count = points.image_from_grid.shape[:2]
        sample, query, slot = ((points.features[..., 3] > 0) & (points.camera >= 0)).nonzero(as_tuple=True)
        voxel, camera = points.voxel_index[sample, query].clamp(max=total - 1), points.camera[sample, query, slot]
        corner = torch.stack(self.coarse.unflatten(voxel), -1)
        place = self.low + (corner + 0.5 + points.features[sample, query, slot, :3]) * self.coarse.voxel_size
        row = points.image_from_grid[sample, camera, 2]  # the row of the projection that gives depth
        bins = ((row[:, :3] * place).sum(1) + row[:, 3] - DEPTH_LOW) / DEPTH_STEP
        u, v = points.uv[sample, query, slot].unbind(-1)
        column, line = (u * width).long().clamp(max=width - 1), (v * height).long().clamp(max=height - 1)
        cell = ((sample * count + camera) * height + line) * width + column
        good = (bins >= 0) & (bins < DEPTH_BINS)
        nearest = torch.full((batch * count * height * width,), DEPTH_BINS, device=cell.device)
        nearest = nearest.scatter_reduce(0, cell[good], bins[good].long(), "amin")
        return torch.where(nearest < DEPTH_BINS, nearest, -1).view(batch, count, height, width)


def depth_loss(logits: torch.Tensor, measured: torch.Tensor, batch: int) -> torch.Tensor:
    """(B,) mean cross-entropy; logits (B * N, D, h, w), measured (B, N, h, w) bin or -1 where nothing is known."""
    loss = F.cross_entropy(logits.float(), measured.flatten(0, 1), ignore_index=-1, reduction="none")
    return loss.view(batch, -1).sum(1) / (measured >= 0).flatten(1).sum(1).clamp(min=1)
