"""Free space: the voxels that rays from a sensor pass before they return.

The voxels are those of the exact traversal of Amanatides and Woo, "A Fast Voxel Traversal Algorithm for Ray Tracing"
(Eurographics 1987). A ray enters every voxel but its first through a face, so the voxels behind all its crossings of
x faces, of y faces and of z faces are all it passes; crossings of one kind are equally far apart.
"""

import numpy as np

from ..core.errors import DatasetError
from ..core.grid import GridSpec, strides

STOP = 0.3  # metres before the return where a ray's free space ends
_MARGIN = 1e-3  # voxels: rays end this far inside the grid, so that rounding never leaves it


def mark_passed(passed: np.ndarray, grid: GridSpec, origin: np.ndarray, points: np.ndarray) -> None:
    """Set the voxels that rays pass, up to STOP before each return.

    Args:
        passed: (X, Y, Z) bool, C order; changed in place.
        grid: where the voxels lie.
        origin: (3,) metres, grid frame, the sensor; it may lie outside the grid.
        points: (N, 3) metres, grid frame, the returns; rays to points that are not finite are left out.
    """
    if passed.dtype != bool or passed.shape != grid.size or not passed.flags.c_contiguous:
        raise DatasetError(f"passed: expected bool {grid.size} in C order, got {passed.dtype} {passed.shape}")
    start, end = _inside(grid, np.asarray(origin, np.float64), np.asarray(points, np.float64))
    passed[tuple(start.astype(int).T)] = True
    cells = passed.reshape(-1)  # (X * Y * Z,), a view
    for axis in range(3):
        _mark_crossings(cells, grid.size, axis, start, end)


def _inside(grid: GridSpec, origin: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end, (M, 3) float64 each in voxels from the grid's low corner, of the rays' parts in the grid."""
    length = np.linalg.norm(points - origin, axis=1)
    wanted = np.isfinite(length) & (length > STOP)
    length = length[wanted]
    from_voxels = (origin - grid.low) / grid.voxel_size
    ray = (points[wanted] - origin) * ((length - STOP) / length)[:, None] / grid.voxel_size
    with np.errstate(divide="ignore"):  # a ray along a face of the grid never meets it: infinity
        inverse = 1 / np.where(ray == 0, 0.0, ray)  # one zero, whatever its sign
    low = (_MARGIN - from_voxels) * inverse
    high = (np.asarray(grid.size) - _MARGIN - from_voxels) * inverse
    first = np.clip(np.minimum(low, high).max(1), 0, None)
    last = np.clip(np.maximum(low, high).min(1), None, 1)
    meets = first <= last
    ray = ray[meets]
    return from_voxels + first[meets, None] * ray, from_voxels + last[meets, None] * ray


def _mark_crossings(
    cells: np.ndarray, size: tuple[int, int, int], axis: int, start: np.ndarray, end: np.ndarray
) -> None:
    """Set the cells that rays enter through faces across `axis`."""
    to_next = strides(size)
    crossings = np.abs(np.floor(end[:, axis]) - np.floor(start[:, axis])).astype(int)
    order = np.argsort(-crossings, kind="stable")[: np.count_nonzero(crossings)]
    start, end, crossings = start[order], end[order], crossings[order]  # rays that still run are always a prefix
    forward = end[:, axis] > start[:, axis]
    cell = np.floor(start[:, axis])
    slope = (end - start) / np.abs(end - start)[:, axis, None]  # (M, 3) voxels for each voxel along the axis
    at = start + slope * np.abs(cell + forward - start[:, axis])[:, None]  # the first crossing
    step = np.where(forward, 1, -1).astype(np.int32) * np.int32(to_next[axis])
    entered = cell.astype(np.int32) * np.int32(to_next[axis]) + step
    others = [other for other in range(3) if other != axis]
    tracks = [
        (
            np.ascontiguousarray(at[:, other], np.float32),
            np.ascontiguousarray(slope[:, other], np.float32),
            np.int32(to_next[other]),
        )
        for other in others
    ]
    running = np.searchsorted(-crossings, -np.arange(crossings.max(initial=0)), side="left")  # crossings > k
    for k, count in enumerate(running):
        index = entered[:count] + step[:count] * np.int32(k)
        for first, each, stride in tracks:
            index += (first[:count] + each[:count] * np.float32(k)).astype(np.int32) * stride
        cells[index] = True
