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
    turn, shift = target_from_source[:3, :3], target_from_source[:3, 3]
    half = np.empty(3)  # extents of a turned voxel
    for k in range(3):
        half[k] = 0.5 * (abs(turn[k, 0]) + abs(turn[k, 1]) + abs(turn[k, 2]))
    target, rows = np.empty((len(source) * 2 + 64, 3), np.int32), np.empty(len(source) * 2 + 64, np.int32)
    count = 0
    low, high, at = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3)
    for row in range(len(source)):
        sx, sy, sz = source[row]
        inside = True
        for k in range(3):
            at[k] = turn[k, 0] * (sx + 0.5) + turn[k, 1] * (sy + 0.5) + turn[k, 2] * (sz + 0.5) + shift[k]
            low[k] = max(int(np.ceil(at[k] - half[k] - 0.5)), 0)
            high[k] = min(int(np.floor(at[k] + half[k] - 0.5)), size[k] - 1)
            inside &= low[k] <= high[k]
        if not inside:
            continue
        for x in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                for z in range(low[2], high[2] + 1):
                    dx, dy, dz = x + 0.5 - at[0], y + 0.5 - at[1], z + 0.5 - at[2]
                    # Its place in the source voxel, whose center is 0: the inverse of a rotation is its transpose.
                    if (
                        -0.5 <= turn[0, 0] * dx + turn[1, 0] * dy + turn[2, 0] * dz < 0.5
                        and -0.5 <= turn[0, 1] * dx + turn[1, 1] * dy + turn[2, 1] * dz < 0.5
                        and -0.5 <= turn[0, 2] * dx + turn[1, 2] * dy + turn[2, 2] * dz < 0.5
                    ):
                        if count == len(rows):
                            target, rows = _longer(target, rows)
                        target[count, 0], target[count, 1], target[count, 2] = x, y, z
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
