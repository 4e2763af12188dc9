"""Rays through a block of voxels, compiled: which voxels are passed before the return, and which return.

A ray enters every voxel but its first through a face, and crossings of faces of one kind are equally far apart; see
`datasets/rays.py`, which has the same on numpy arrays and gives the same voxels. Here a voxel is a bit: a whole block
fits into a processor's cache. Rays that return from voxels on top of each other cross the same columns, in each of
which they pass all voxels from those of the lowest ray to those of the highest: they are walked as one.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit

from ..core.errors import InvalidFrameError
from ..core.frames import SensorFrame
from .columns import ALL, DEPTH, bit, lowest, span

STOP_M = 0.3  # metres before the return where a ray's free space ends
MOST_TOGETHER = (DEPTH, 8)  # rays that end in the block, and above it, where each leaves the block at another place
MARGIN = 1e-3  # voxels: rays end this far inside the block, so that rounding never leaves it


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
        self._own = np.zeros((2, *size[:2]), np.uint64)  # of one sensor: returns in the block, and as high above it

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
            outside = one_a_voxel(self._own, np.asarray(ends, np.float64), self.size)
            mark = partial(_mark, self.size, np.asarray(origin, np.float64), self._stop, self._own, outside)
            list(self._pool.map(mark, self._parts, range(len(self._parts)), [len(self._parts)] * len(self._parts)))
            self.returned |= self._own[0]
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
    """Set the voxels with a return, and give the centers of those that are far off, of each return.

    Args:
        returned: (2, X, Y) uint64; the bits of the voxels are set: in the block, and in the 64 voxels above it.
        ends: (N, 3) float64 voxels. size: of the block.

    Returns:
        (M, 3) float64 voxels.
    """
    outside, count = np.empty_like(ends), 0
    for i in range(len(ends)):
        x, y, z = np.floor(ends[i, 0]), np.floor(ends[i, 1]), np.floor(ends[i, 2])
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z)):
            continue
        if 0 <= x < size[0] and 0 <= y < size[1] and 0 <= z < size[2] + DEPTH:
            above = z >= size[2]
            returned[int(above), int(x), int(y)] |= bit(int(z) - above * size[2])
        else:
            outside[count, 0], outside[count, 1], outside[count, 2] = x + 0.5, y + 0.5, z + 0.5
            count += 1
    return outside[:count]


@njit(nogil=True, cache=True)
def _mark(size, origin, stop, returned, outside, passed, first, step):
    """Set the bits of the voxels that rays pass, those to every so many-th slice and far off, from the first on."""
    start, words, wide = (origin[0], origin[1], origin[2]), passed.reshape(-1), passed.shape[1]
    within = True
    for axis in range(3):
        within &= MARGIN <= origin[axis] <= size[axis] - MARGIN
    for above in range(2):
        for x in range(first, size[0], step):
            for y in range(size[1]):
                left = returned[above, x, y]
                while left:
                    low = lowest(left)
                    rest = ~(left >> np.uint64(low))
                    high = min(low + lowest(rest) if rest else DEPTH, low + MOST_TOGETHER[above])
                    left &= ~span(low, high)
                    ray = words, wide, size, start, stop, within and not above, x + 0.5, y + 0.5
                    low, high, skip = low + above * size[2], high + above * size[2], (0, 0)
                    if within and high > low + 1:
                        skip = _mark_together(*ray, low, high)
                    for z in range(low, high):
                        _mark_ray(*ray, z + 0.5, skip)
    for i in range(first, len(outside), step):
        _mark_ray(words, wide, size, start, stop, False, outside[i, 0], outside[i, 1], outside[i, 2], (0, 0))


@njit(nogil=True, cache=True)
def _mark_together(words, wide, size, start, stop, whole, x, y, low, high):
    """Set what rays pass that end in voxels `low` to `high` - 1 of a column, whose middle is x and y.

    Returns:
        How many crossings of x faces and of y faces were done: those that all rays have. The flattest ray stops first,
        the steepest leaves the block first.
    """
    ox, oy, oz = start
    count_x, count_y, x1, y1 = size[0], size[1], ox, oy
    for z in (min(max(int(oz), low), high - 1), low, high - 1):
        _, _, _, x1, y1, _ = _part(size, start, stop, whole, x, y, z + 0.5)
        count_x, count_y = min(count_x, abs(int(x1) - int(ox))), min(count_y, abs(int(y1) - int(oy)))
    dx, dy, dz, more = x - ox, y - oy, low + 0.5 - oz, high - 0.5 - oz
    if count_x:
        at_x, _, step, at_y, dy_each, at_z, dz_each = _crossings(ox, x1, dx, oy, dy, oz, dz)
        highest = _crossings(ox, x1, dx, oy, dy, oz, more)
        top, top_each = highest[5], highest[6]
        for _ in range(count_x):
            _set_span(words, wide, at_x, at_y >> 32, at_z >> 32, top >> 32)
            at_x, at_y, at_z, top = at_x + step, at_y + dy_each, at_z + dz_each, top + top_each
    if count_y:
        at_y, _, step, at_x, dx_each, at_z, dz_each = _crossings(oy, y1, dy, ox, dx, oz, dz)
        highest = _crossings(oy, y1, dy, ox, dx, oz, more)
        top, top_each = highest[5], highest[6]
        for _ in range(count_y):
            _set_span(words, wide, at_x >> 32, at_y, at_z >> 32, top >> 32)
            at_x, at_y, at_z, top = at_x + dx_each, at_y + step, at_z + dz_each, top + top_each
    return count_x, count_y


@njit(nogil=True, cache=True)
def _mark_ray(words, wide, size, start, stop, whole, x, y, z, skip):
    """Set what one ray passes, but for so many crossings of x and y faces that are done; see `_part`."""
    x0, y0, z0, x1, y1, z1 = _part(size, start, stop, whole, x, y, z)
    if x0 < 0:
        return
    dx, dy, dz = x - start[0], y - start[1], z - start[2]
    _set(words, wide, int(x0), int(y0), int(z0))
    if abs(int(x1) - int(x0)) > skip[0]:
        at_x, steps, step, at_y, dy_each, at_z, dz_each = _crossings(x0, x1, dx, y0, dy, z0, dz)
        for k in range(skip[0], steps):
            _set(words, wide, at_x + k * step, (at_y + k * dy_each) >> 32, (at_z + k * dz_each) >> 32)
    if abs(int(y1) - int(y0)) > skip[1]:
        at_y, steps, step, at_x, dx_each, at_z, dz_each = _crossings(y0, y1, dy, x0, dx, z0, dz)
        for k in range(skip[1], steps):
            _set(words, wide, (at_x + k * dx_each) >> 32, at_y + k * step, (at_z + k * dz_each) >> 32)
    at_z, steps, step, at_x, dx_each, at_y, dy_each = _crossings(z0, z1, dz, x0, dx, y0, dy)
    for k in range(steps):
        _set(words, wide, (at_x + k * dx_each) >> 32, (at_y + k * dy_each) >> 32, at_z + k * step)


@njit(nogil=True, cache=True)
def _part(size, start, stop, whole, x, y, z):
    """Give between which places a ray passes voxels of the block.

    Args:
        start: where it starts. whole: it lies within the block. x, y, z: where it ends.

    Returns:
        Two places, x, y and z of each; of a ray that passes none, -1 of the first, and where it starts as the second.
    """
    ox, oy, oz = start
    dx, dy, dz = x - ox, y - oy, z - oz
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    if length <= stop:
        return -1.0, -1.0, -1.0, ox, oy, oz
    share, first, last = (length - stop) / length, 0.0, 1.0
    dx, dy, dz = dx * share, dy * share, dz * share
    if not whole:
        first, last = _clip(ox, dx, size[0], first, last)
        first, last = _clip(oy, dy, size[1], first, last)
        first, last = _clip(oz, dz, size[2], first, last)
        if first > last:
            return -1.0, -1.0, -1.0, ox, oy, oz
    return ox + first * dx, oy + first * dy, oz + first * dz, ox + last * dx, oy + last * dy, oz + last * dz


@njit(nogil=True, cache=True, inline="always")
def _set(words, wide, x, y, z):
    # Unsigned indices cannot be negative, which spares a check.
    words[np.uint64(x * wide + y)] |= np.uint64(1) << np.uint64(z)


@njit(nogil=True, cache=True, inline="always")
def _set_span(words, wide, x, y, low, high):
    words[np.uint64(x * wide + y)] |= ALL >> np.uint64(DEPTH - 1 - (high - low)) << np.uint64(low)


@njit(nogil=True, cache=True, inline="always")
def _clip(origin, slope, size, first, last):
    """The shares of a ray between which it lies within `size` voxels along one axis."""
    low, high = MARGIN - origin, size - MARGIN - origin
    if slope == 0:
        return first, last if low <= 0 <= high else -1.0
    a, b = low / slope, high / slope
    return max(first, min(a, b)), min(last, max(a, b))


@njit(nogil=True, cache=True, inline="always")
def _crossings(a0, a1, da, b0, db, c0, dc):
    """Where a ray crosses faces across a: the first voxel behind one, how many, a's step; b, c and their steps.

    The latter in units of 2**-32 voxels: integers add up and round down at no cost.

    Args:
        a0, a1: between which it crosses. b0, c0: where it is at a0. da, db, dc: its direction.
    """
    here, end = int(a0), int(a1)
    if here == end:
        return here, 0, 0, 0, 0, 0, 0
    step = 1 if end > here else -1
    db, dc = db / abs(da), dc / abs(da)
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
