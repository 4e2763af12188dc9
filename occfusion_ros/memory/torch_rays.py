"""Rays through a block of voxels, in PyTorch: what `ray_casting` does one ray after the other, for many at once.

All crossings of all rays are computed side by side, in the same numbers, so that the voxels are the same.
"""

from collections.abc import Sequence

import numpy as np
import torch

from .ray_casting import MARGIN, STOP_M

RAYS_AT_ONCE = 1 << 14  # of up to a thousand crossings each, of which some tensors of eight bytes are made
_ONE = 4294967296.0  # 2**32: positions are counted in units of 2**-32 voxels


def moved(points: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    """Move (N, 3 or more) points by a (4, 4) matrix: (N, 3) float64; see `ray_casting.moved`."""
    x, y, z = points[:, :3].double().unbind(1)
    return torch.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in matrix[:3].tolist()], 1)


def inside(places: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(N,) bool: which of (N, 3) places, voxels, lie in a block; those that are not finite do not."""
    return ((places >= 0) & (places < torch.tensor(size, device=places.device))).all(1)


def cast(seen: torch.Tensor, voxel_size: float, rays: Sequence[tuple[np.ndarray, torch.Tensor]]) -> None:
    """Find what the rays of a sweep see of a block, as `ray_casting.RayCaster` does.

    Args:
        seen: (2, X, Y, Z) bool, written: rays passed a voxel and none returned from it; one returned.
        voxel_size: metres.
        rays: for each sensor, where it stands, (3,) float64, and its returns, (N, 3) float64, in voxels.
    """
    passed, returned = seen.zero_()
    size = passed.shape
    for origin, ends in rays:
        centers = _one_a_voxel(ends, size)
        within = centers[inside(centers, size)].long()
        returned[tuple(within.T)] = True
        for some in centers.split(RAYS_AT_ONCE):
            _mark(passed, origin, STOP_M / voxel_size, some)
    passed &= ~returned


def _one_a_voxel(ends: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """(N, 3) returns to the centers of their voxels, each once within the block."""
    low = ends.floor()
    low = low[low.isfinite().all(1)]
    within = inside(low, size)
    return torch.cat([low[within].unique(dim=0), low[~within]]) + 0.5


def _mark(passed: torch.Tensor, origin: np.ndarray, stop: float, ends: torch.Tensor) -> None:
    """Set the voxels that rays pass; `passed` is (X, Y, Z) bool."""
    start = ends.new_tensor(origin)
    x, y, z = (ends - start).unbind(1)
    length = (x * x + y * y + z * z).sqrt()
    kept = length > stop
    toward = (ends - start)[kept]
    ray = toward * ((length - stop) / length)[kept, None]
    first, last = _clipped(start, ray, passed.shape)
    toward, ray, first, last = (part[first <= last] for part in (toward, ray, first, last))
    begin, end = start + first[:, None] * ray, start + last[:, None] * ray
    passed[tuple(begin.long().T)] = True
    for axis in range(3):
        _mark_crossings(passed, axis, begin, end, toward)


def _clipped(start: torch.Tensor, ray: torch.Tensor, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The shares of rays, (N,) each, between which they lie within a block."""
    low, high = MARGIN - start, start.new_tensor(size) - MARGIN - start
    a, b = low / ray, high / ray
    along = ray == 0
    first = torch.where(along, 0.0, torch.minimum(a, b)).amax(1).clamp(min=0)
    never = along & ~((low <= 0) & (high >= 0))
    last = torch.where(along, torch.where(never, -1.0, 1.0), torch.maximum(a, b)).amin(1).clamp(max=1)
    return first, last


def _mark_crossings(
    passed: torch.Tensor, axis: int, begin: torch.Tensor, end: torch.Tensor, toward: torch.Tensor
) -> None:
    """Set the voxels that rays enter through faces across an axis; `toward`: their directions."""
    here, steps = begin[:, axis].long(), (end[:, axis].long() - begin[:, axis].long()).abs()
    begin, end, toward, here, steps = (part[steps > 0] for part in (begin, end, toward, here, steps))
    ray, step = torch.repeat_interleave(steps), torch.where(end[:, axis].long() > here, 1, -1)
    number = torch.arange(len(ray), device=ray.device) - (steps.cumsum(0) - steps)[ray]  # of a crossing, of its ray
    way = (here + (step > 0) - begin[:, axis]).abs()  # to the first crossing
    places = []
    for other in range(3):
        if other == axis:
            places.append((here + step)[ray] + number * step[ray])
            continue
        slope = toward[:, other] / toward[:, axis].abs()
        at, each = ((begin[:, other] + slope * way) * _ONE).long(), (slope * _ONE).long()
        places.append((at[ray] + number * each[ray]) >> 32)
    passed[tuple(places)] = True
