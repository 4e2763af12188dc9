"""Point-cloud pre-sampling: every fused coarse voxel is represented by exactly theta points.

More than theta returns: farthest point sampling keeps theta of them. Fewer: synthetic points fill up (OccFusion,
arXiv 2403.05329, section "point cloud sampling"). All of it is integer arithmetic on coordinates quantized inside
their voxel, so the result is bit-identical for any order of the input points and on any device.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..core.preprocessing import INTENSITY_STEPS, LOCAL_BITS

LOCAL_STEPS = 1 << LOCAL_BITS
SAMPLINGS = ("both", "fps", "synthetic", "none")


@dataclass(frozen=True)
class VoxelPoints:
    """Points sorted by coarse voxel, then by position.

    Attributes:
        voxel: (V,) int64, flat coarse index of each non-empty voxel, ascending (z fastest).
        start: (V,) int64, first point of each voxel.
        count: (V,) int64, points in each voxel.
        local: (M, 3) int64, position inside the voxel in steps of voxel / 2**15.
        intensity: (M,) int64, 0..65535.
    """

    voxel: torch.Tensor
    start: torch.Tensor
    count: torch.Tensor
    local: torch.Tensor
    intensity: torch.Tensor

    @property
    def owner(self) -> torch.Tensor:
        """(M,) int64, the position in `voxel` that each point belongs to."""
        return torch.repeat_interleave(torch.arange(len(self.voxel), device=self.voxel.device), self.count)


def divided(tensor: torch.Tensor, number: float) -> torch.Tensor:
    """The quotient, rounded once on every device: on a GPU PyTorch multiplies by the reciprocal of a plain number."""
    return tensor / torch.full((), number, dtype=tensor.dtype, device=tensor.device)


def argsort(values: torch.Tensor) -> torch.Tensor:
    """(N,) int64 to the (N,) order that sorts it, equal ones in any order; NumPy is several times as fast on a CPU."""
    if values.device.type != "cpu":
        return torch.argsort(values)
    return torch.from_numpy(np.argsort(values.numpy()))


def voxelize(coarse_index: torch.Tensor, fraction: torch.Tensor, intensity: torch.Tensor) -> VoxelPoints:
    """Group points by coarse voxel.

    Args:
        coarse_index: (M,) int64, flat coarse voxel of each point.
        fraction: (M, 3) float64 in [0, 1), position inside that voxel.
        intensity: (M,) float32 in 0..1 (clamped).
    """
    local = (fraction * LOCAL_STEPS).long().clamp_(0, LOCAL_STEPS - 1)
    key = coarse_index << (3 * LOCAL_BITS) | local[:, 0] << (2 * LOCAL_BITS) | local[:, 1] << LOCAL_BITS | local[:, 2]
    order = argsort(key)
    key = key[order]
    voxel, count = torch.unique_consecutive(key >> (3 * LOCAL_BITS), return_counts=True)
    steps = (intensity.nan_to_num(0.0).clamp(0, 1) * INTENSITY_STEPS).round().long()[order]
    return VoxelPoints(voxel, torch.cumsum(count, 0) - count, count, local[order], steps)


def farthest_points(points: VoxelPoints, theta: int) -> torch.Tensor:
    """Farthest point sampling inside every voxel that has more than theta points.

    Starts from each voxel's first point in sorted order; ties go to the lower point index. O(points x theta) time and
    O(points) memory, without padding (Eldar et al., "The farthest point strategy", 1997).

    Returns:
        (B, theta) int64 point indices, one row per crowded voxel in the order of `points.voxel`.
    """
    crowded = points.count > theta
    first, count = points.start[crowded], points.count[crowded]
    begin, device = torch.cumsum(count, 0) - count, count.device  # where each voxel begins among the members
    segment = torch.repeat_interleave(torch.arange(len(count), device=device), count)
    number = torch.arange(len(segment), device=device)
    member = (first - begin).index_select(0, segment) + number
    local, rank = points.local.index_select(0, member), len(member) - 1 - number
    nearest = torch.full((len(member),), 1 << 32, device=device)
    latest, selected = begin, [first]
    for _ in range(1, theta):
        step = local - local.index_select(0, latest).index_select(0, segment)
        nearest = torch.minimum(nearest, step.square_().sum(1))  # < 2**32
        best = torch.zeros(len(count), dtype=torch.long, device=device)
        best.scatter_reduce_(0, segment, nearest << 31 | rank, "amax", include_self=False)
        latest = len(member) - 1 - (best & 0x7FFFFFFF)
        selected.append(member.index_select(0, latest))
    return torch.stack(selected, 1)


def synthetic_pattern(theta: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(theta, 3) int64 local positions that fill a voxel evenly: the R3 low-discrepancy sequence.

    Source: M. Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018).
    """
    golden = 1.2207440846057596  # real root of x**4 = x + 1
    steps = torch.tensor([1 / golden, 1 / golden**2, 1 / golden**3], dtype=torch.float64)
    unit = (0.5 + torch.arange(1, theta + 1, dtype=torch.float64)[:, None] * steps) % 1.0
    return (unit * LOCAL_STEPS).long().to(device)


def presample(points: VoxelPoints, theta: int, sampling: str = "both") -> tuple[torch.Tensor, torch.Tensor]:
    """Exactly theta points for each non-empty voxel.

    Args:
        points: the returns by voxel. theta: points a voxel keeps.
        sampling: one of `SAMPLINGS`. "both": the method. "fps": the same real points; whoever uses the result leaves
            out the rest. "none": likewise, with the first theta returns in sorted order in place of the farthest.
            "synthetic": synthetic points only.

    Returns:
        local (V, theta, 3) int64 positions inside the voxel and real (V, theta) bool, False for synthetic points.
    """
    device = points.voxel.device
    pattern = synthetic_pattern(theta, device).expand(len(points.voxel), theta, 3)
    if sampling == "synthetic" or not len(points.local):
        return pattern, torch.zeros(pattern.shape[:2], dtype=torch.bool, device=device)
    slots = torch.arange(theta, device=device)
    real = slots < points.count[:, None]
    index = (points.start[:, None] + slots).clamp(max=len(points.local) - 1)
    if sampling != "none":
        index[points.count > theta] = farthest_points(points, theta)
    return torch.where(real[..., None], points.local[index], pattern), real
