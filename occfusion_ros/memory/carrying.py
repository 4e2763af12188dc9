"""Voxels of one block brought into another that is turned and shifted against it, without resampling the blocks."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def carry(source, target_from_source, size):
    """Find the voxels of a block whose center lies in one of the listed voxels of another.

    Every target voxel has one center, and so at most one source.

    Args:
        source: (N, 3) int32 voxels.
        target_from_source: (4, 4) float64, rigid; both sides in voxels of one size from their low corners.
        size: of the target.

    Returns:
        target (M, 3) int32 voxels and rows (M,) int32 of `source`.
    """
    t00, t01, t02, sx = target_from_source[0]
    t10, t11, t12, sy = target_from_source[1]
    t20, t21, t22, sz = target_from_source[2]
    hx, hy, hz = (
        0.5 * (abs(t00) + abs(t01) + abs(t02)),
        0.5 * (abs(t10) + abs(t11) + abs(t12)),
        0.5 * (abs(t20) + abs(t21) + abs(t22)),
    )
    target, rows = np.empty((len(source) * 2 + 64, 3), np.int32), np.empty(len(source) * 2 + 64, np.int32)
    count = 0
    for row in range(len(source)):
        x, y, z = source[row, 0] + 0.5, source[row, 1] + 0.5, source[row, 2] + 0.5
        ax = t00 * x + t01 * y + t02 * z + sx
        ay = t10 * x + t11 * y + t12 * z + sy
        az = t20 * x + t21 * y + t22 * z + sz
        for tx in range(max(int(np.ceil(ax - hx - 0.5)), 0), min(int(np.floor(ax + hx - 0.5)) + 1, size[0])):
            for ty in range(max(int(np.ceil(ay - hy - 0.5)), 0), min(int(np.floor(ay + hy - 0.5)) + 1, size[1])):
                for tz in range(max(int(np.ceil(az - hz - 0.5)), 0), min(int(np.floor(az + hz - 0.5)) + 1, size[2])):
                    dx, dy, dz = tx + 0.5 - ax, ty + 0.5 - ay, tz + 0.5 - az
                    # Its place in the source voxel, whose center is 0: the inverse of a rotation is its transpose.
                    if (
                        -0.5 <= t00 * dx + t10 * dy + t20 * dz < 0.5
                        and -0.5 <= t01 * dx + t11 * dy + t21 * dz < 0.5
                        and -0.5 <= t02 * dx + t12 * dy + t22 * dz < 0.5
                    ):
                        if count == len(rows):
                            target, rows = _longer(target, rows)
                        target[count, 0], target[count, 1], target[count, 2] = tx, ty, tz
                        rows[count] = row
                        count += 1
    return target[:count], rows[:count]


@njit(nogil=True, cache=True)
def _longer(target, rows):
    more, more_rows = np.empty((2 * len(rows), 3), np.int32), np.empty(2 * len(rows), np.int32)
    more[: len(rows)], more_rows[: len(rows)] = target, rows
    return more, more_rows


@njit(nogil=True, cache=True)
def places(source, target_from_source, size):
    """Give the target voxel, (N, 3) int32, in which the center of each source voxel lies; -1 outside the target."""
    turn, shift = target_from_source[:3, :3], target_from_source[:3, 3]
    found = np.empty((len(source), 3), np.int32)
    for row in range(len(source)):
        sx, sy, sz = source[row]
        inside = True
        for k in range(3):
            at = turn[k, 0] * (sx + 0.5) + turn[k, 1] * (sy + 0.5) + turn[k, 2] * (sz + 0.5) + shift[k]
            found[row, k] = int(np.floor(at))
            inside &= 0 <= at < size[k]
        if not inside:
            found[row] = -1
    return found


@njit(nogil=True, cache=True)
def moved(points, matrix):
    """Move (N, 3 or more) points by a (4, 4) matrix: (N, 3) float64, each on its own, whatever the processor."""
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        for k in range(3):
            out[i, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]
    return out
