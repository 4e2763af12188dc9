"""Semantic occupancy of a scene, from its surfaces and not from what a sensor saw of them.

- A voxel that a surface of the full scene passes through, seen or hidden, has the class of that surface. Surfaces are
  sampled every 0.08 m (the ground 0.14 m), edges included; where classes share a voxel the smaller
  or rarer one wins (`PRIORITY`).
- Vehicles, people and other solid objects are filled with their class.
- The inside of a building, 0.6 m behind its walls and deeper, is 255 (unknown), its floor included.
- The voxel directly below the ground is 255: whether the surface lies just above or below a voxel boundary is not worth
  learning. All that is deeper is 0, foundations included.
- Canopies and hedges are porous: only voxels with leaves are occupied.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

from ..objects.mesh import surface_samples

SAMPLE, GROUND_SAMPLE = 0.08, 0.14
"""Metres between samples of surfaces. The ground is nearly level: a lattice of 0.14 m leaves no circle of 0.1 m radius
without a sample, so every column of voxels of 0.2 m has one."""

# later writes win where classes share a voxel: ground first, then big things, then small ones
PRIORITY = np.zeros(256, np.uint8)
PRIORITY[[11, 12, 14, 13, 16, 15, 3, 9, 10, 5, 4, 6, 2, 1, 7, 8]] = np.arange(1, 17)


@dataclass(frozen=True)
class Samples:
    """Points on surfaces, sorted by priority.

    Attributes:
        points: (N, 3) float32 metres, map frame less `origin`; labels: (N,) uint8.
        origin: (3,) float64 metres, map frame.
    """

    points: np.ndarray
    labels: np.ndarray
    origin: np.ndarray


def sample(triangles: np.ndarray, labels: np.ndarray, origin: np.ndarray, spacing: float) -> Samples:
    """Samples of triangles (F, 3, 3) with labels (F,), map frame."""
    order = np.argsort(PRIORITY[labels], kind="stable")
    points, triangle = surface_samples((triangles[order] - origin).astype(np.float32), spacing)
    return Samples(points, labels[order][triangle], np.asarray(origin, float))


def mark_points(
    grid: np.ndarray,
    spec: GridSpec,
    grid_from_points: np.ndarray,
    points: np.ndarray,
    labels: np.ndarray,
    only_empty: bool = False,
) -> None:
    """Give the voxels of points their labels, in place; later points win.

    Args:
        grid: (X, Y, Z) uint8.
        grid_from_points: (4, 4).
        points: (N, 3) float32 metres; labels: (N,) uint8.
        only_empty: leave voxels alone that are occupied already.
    """
    matrix = (grid_from_points[:3, :3] / spec.voxel_size).astype(np.float32)
    shift = ((grid_from_points[:3, 3] - spec.low) / spec.voxel_size).astype(np.float32)
    _mark(grid, matrix, shift, np.asarray(points, np.float32), labels, only_empty)


@njit(cache=True)
def _mark(
    grid: np.ndarray, matrix: np.ndarray, shift: np.ndarray, points: np.ndarray, labels: np.ndarray, only_empty: bool
) -> None:
    """The loop of `mark_points`; voxel = matrix @ point + shift."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + shift[0]
        v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + shift[1]
        w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + shift[2]
        if 0 <= u < grid.shape[0] and 0 <= v < grid.shape[1] and 0 <= w < grid.shape[2]:
            cell = int(u), int(v), int(w)
            if not only_empty or grid[cell] == 0 or grid[cell] == IGNORE:
                grid[cell] = labels[i]


def fill_boxes(grid: np.ndarray, spec: GridSpec, solids: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
    """Give voxels whose center lies in a box its label, in place.

    Args:
        solids: (grid_from_box (4, 4), half extents (3,) metres, label) each.
    """
    low, size = np.asarray(spec.low), np.asarray(spec.size)
    for grid_from_box, half, label in solids:
        reach = np.abs(grid_from_box[:3, :3]) @ half
        first = np.clip(np.floor((grid_from_box[:3, 3] - reach - low) / spec.voxel_size).astype(int), 0, size)
        last = np.clip(np.ceil((grid_from_box[:3, 3] + reach - low) / spec.voxel_size).astype(int), 0, size)
        if (last <= first).any():
            continue
        axes = [low[i] + (np.arange(first[i], last[i]) + 0.5) * spec.voxel_size - grid_from_box[i, 3] for i in range(3)]
        box_from_grid = grid_from_box[:3, :3].T
        inside = True
        for row, extent in zip(box_from_grid, half):
            along = row[0] * axes[0][:, None, None] + row[1] * axes[1][:, None] + row[2] * axes[2]
            inside = inside & (np.abs(along) <= extent)
        grid[first[0] : last[0], first[1] : last[1], first[2] : last[2]][inside] = label


def voxelize(
    spec: GridSpec,
    grid_from_map: np.ndarray,
    ground: list[Samples],
    things: list[Samples],
    solids: list[tuple[np.ndarray, np.ndarray, int]],
) -> np.ndarray:
    """Semantic occupancy (X, Y, Z) uint8.

    Args:
        grid_from_map: (4, 4).
        ground, things: surfaces; later ones win, and things over ground.
        solids: (map_from_box (4, 4), half extents (3,), label) each.
    """
    grid = np.zeros(spec.size, np.uint8)
    _mark_all(grid, spec, grid_from_map, ground)
    surface = (grid > 0).argmax(2)  # lowest voxel with ground in it; 0 where there is none
    fill_boxes(grid, spec, [(grid_from_map @ pose, half, label) for pose, half, label in solids])
    _mark_all(grid, spec, grid_from_map, things)
    height = np.arange(spec.size[2])[None, None]
    grid[height < surface[:, :, None]] = 0
    x, y = np.nonzero(surface)
    grid[x, y, surface[x, y] - 1] = IGNORE
    return grid


def _mark_all(grid: np.ndarray, spec: GridSpec, grid_from_map: np.ndarray, surfaces: list[Samples]) -> None:
    for surface in surfaces:
        grid_from_points = grid_from_map.copy()
        grid_from_points[:3, 3] += grid_from_map[:3, :3] @ surface.origin
        mark_points(grid, spec, grid_from_points, surface.points, surface.labels)
