"""Rays through a block of voxels, compiled: which voxels are passed before the return, and which return.

A ray enters every voxel but its first through a face, and crossings of faces of one kind are equally far apart; see
`datasets/rays.py`, which has the same on numpy arrays and gives the same voxels. Here a voxel is a bit: a whole block
fits into a processor's cache, which is what makes it fast.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit

from ..core.errors import InvalidFrameError
from ..core.frames import SensorFrame
from .columns import DEPTH, bit

STOP_M = 0.3  # metres before the return where a ray's free space ends
_MARGIN = 1e-3  # voxels: rays end this far inside the block, so that rounding never leaves it


class RayCaster:
    """Tells what the rays of a sweep see of a block of voxels.

    Attributes:
        size: voxels along x, y and z.
        passed, returned: (X, Y) uint64, a bit for each voxel of a column: rays passed it and none returned from it, one
            returned. Of the last sweep that was cast.
    """

    def __init__(self, size: tuple[int, int, int], voxel_size: float, pool: ThreadPoolExecutor, threads: int) -> None:
        """
        Args:
            size: voxels along x, y and z.
            voxel_size: metres.
            pool: gives the threads. threads: how many of them work side by side, 1 or more.

        Raises:
            InvalidFrameError: it is higher than 64 voxels.
        """
        if size[2] > DEPTH:
            raise InvalidFrameError(f"rays: expected a block of at most {DEPTH} voxels along z, got {size[2]}")
        self.size = size
        self._stop = STOP_M / voxel_size
        self._pool = pool
        self._parts = np.zeros((threads, *size[:2]), np.uint64)
        self.passed = self._parts[0]
        self.returned = np.zeros(size[:2], np.uint64)
        self._own = np.zeros_like(self.returned)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self._parts.nbytes + self.returned.nbytes + self._own.nbytes

    def cast(self, rays: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Cast one ray to the center of every voxel from which something returns to a sensor.

        However many points lie in a voxel, it gets one ray: the result does not depend on the points' order.

        Args:
            rays: for each sensor, where it stands, (3,) float64, and its returns, (N, 3) float64, both in voxels from
                the block's low corner, inside of it or not; those that are not finite are left out.
        """
        self._parts[:] = 0
        self.returned[:] = 0
        for origin, ends in rays:
            self._own[:] = 0
            ends = one_a_voxel(self._own, np.asarray(ends, np.float64), self.size)
            shares = np.array_split(ends, len(self._parts))
            mark = partial(_mark, self.size, np.asarray(origin, np.float64), self._stop)
            list(self._pool.map(mark, self._parts, shares))
            self.returned |= self._own
        for part in self._parts[1:]:
            self.passed |= part
        self.passed &= ~self.returned


def sweep_rays(frame: SensorFrame, voxels_from_grid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give the rays of a sweep for `RayCaster.cast`; `voxels_from_grid` is (4, 4) float64, from metres."""
    ends, of = moved(frame.points, voxels_from_grid), frame.origin_of_point
    origins = moved(frame.ray_origins, voxels_from_grid)
    return [(origin, ends if of is None else ends[of == i]) for i, origin in enumerate(origins)]


@njit(nogil=True, cache=True)
def moved(points, matrix):
    """Move (N, 3 or more) points by a (4, 4) matrix: (N, 3) float64, each on its own, whatever the processor."""
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        for k in range(3):
            out[i, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]
    return out


@njit(nogil=True, cache=True)
def one_a_voxel(returned, ends, size):
    """Give the centers of the voxels with a return, each once, and the returns outside the block.

    Args:
        returned: (X, Y) uint64; the bits of the voxels are set. ends: (N, 3) float64 voxels. size: of the block.
    """
    chosen, count = np.empty_like(ends), 0
    for i in range(len(ends)):
        x, y, z = np.floor(ends[i, 0]), np.floor(ends[i, 1]), np.floor(ends[i, 2])
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z)):
            continue
        if 0 <= x < size[0] and 0 <= y < size[1] and 0 <= z < size[2]:
            here = bit(int(z))
            if returned[int(x), int(y)] & here:
                continue
            returned[int(x), int(y)] |= here
        chosen[count, 0], chosen[count, 1], chosen[count, 2] = x + 0.5, y + 0.5, z + 0.5
        count += 1
    return chosen[:count]


@njit(nogil=True, cache=True)
def _mark(size, origin, stop, passed, ends):
    """Set the bits of the voxels that rays pass."""
    words, wide = passed.reshape(-1), passed.shape[1]
    ox, oy, oz = origin
    for i in range(len(ends)):
        dx, dy, dz = ends[i, 0] - ox, ends[i, 1] - oy, ends[i, 2] - oz
        length = np.sqrt(dx * dx + dy * dy + dz * dz)
        if length <= stop:
            continue
        share = (length - stop) / length
        dx, dy, dz = dx * share, dy * share, dz * share
        first, last = _clip(ox, dx, size[0], 0.0, 1.0)
        first, last = _clip(oy, dy, size[1], first, last)
        first, last = _clip(oz, dz, size[2], first, last)
        if first > last:
            continue
        x0, y0, z0 = ox + first * dx, oy + first * dy, oz + first * dz
        x1, y1, z1 = ox + last * dx, oy + last * dy, oz + last * dz
        _set(words, wide, int(x0), int(y0), int(z0))
        x, steps, step, y, dy_each, z, dz_each = _crossings(x0, x1, y0, y1, z0, z1)
        for _ in range(steps):
            _set(words, wide, x, y >> 32, z >> 32)
            x, y, z = x + step, y + dy_each, z + dz_each
        y, steps, step, z, dz_each, x, dx_each = _crossings(y0, y1, z0, z1, x0, x1)
        for _ in range(steps):
            _set(words, wide, x >> 32, y, z >> 32)
            x, y, z = x + dx_each, y + step, z + dz_each
        z, steps, step, x, dx_each, y, dy_each = _crossings(z0, z1, x0, x1, y0, y1)
        for _ in range(steps):
            _set(words, wide, x >> 32, y >> 32, z)
            x, y, z = x + dx_each, y + dy_each, z + step


@njit(nogil=True, cache=True, inline="always")
def _set(words, wide, x, y, z):
    # Unsigned indices cannot be negative, which spares a check.
    words[np.uint64(x * wide + y)] |= np.uint64(1) << np.uint64(z)


@njit(nogil=True, cache=True, inline="always")
def _clip(origin, slope, size, first, last):
    """The shares of a ray between which it lies within `size` voxels along one axis."""
    low, high = _MARGIN - origin, size - _MARGIN - origin
    if slope == 0:
        return first, last if low <= 0 <= high else -1.0
    a, b = low / slope, high / slope
    return max(first, min(a, b)), min(last, max(a, b))


@njit(nogil=True, cache=True, inline="always")
def _crossings(a0, a1, b0, b1, c0, c1):
    """Where a ray crosses faces across a: the first voxel behind one, how many, a's step; b, c and their steps.

    The latter in units of 2**-32 voxels: integers add up and round down at no cost.
    """
    here, end = int(a0), int(a1)
    if here == end:
        return here, 0, 0, 0, 0, 0, 0
    step = 1 if end > here else -1
    db, dc = (b1 - b0) / abs(a1 - a0), (c1 - c0) / abs(a1 - a0)
    way = abs(here + (step > 0) - a0)  # to the first crossing
    one = 4294967296.0
    return (
        here + step,
        abs(end - here),
        step,
        int((b0 + db * way) * one),
        int(db * one),
        int((c0 + dc * way) * one),
        int(dc * one),
    )
