"""Semantic occupancy of a scene, from its surfaces and not from what a sensor saw of them.

- A voxel that a surface of the full scene passes through, seen or hidden, has the class of that surface. Surfaces are
  sampled every 0.08 m, edges included; where classes share a voxel the smaller or rarer one wins (`world.PRIORITY`).
- Vehicles, people and other solid objects are filled with their class.
- The inside of a building, 0.6 m behind its walls and deeper, is 255 (unknown); nothing can be seen of it.
- The voxel directly below the ground is 255: whether the surface lies just above or below a voxel boundary is not worth
  learning. All that is deeper is 0.
- Canopies and hedges are porous: only voxels with leaves are occupied.
"""

import numpy as np

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

GROUND_LABELS = (11, 12, 13, 14)


def mark_points(grid: np.ndarray, spec: GridSpec, grid_from_points: np.ndarray, points: np.ndarray, labels: np.ndarray,
                only_empty: bool = False) -> None:
    """Give the voxels of points their labels, in place; later points win.

    Args:
        grid: (X, Y, Z) uint8.
        grid_from_points: (4, 4).
        points: (N, 3) float32 metres; labels: (N,) uint8.
        only_empty: leave voxels alone that are occupied already.
    """
    scaled = (grid_from_points[:3, :3] / spec.voxel_size).astype(np.float32)
    shift = ((grid_from_points[:3, 3] - spec.low) / spec.voxel_size).astype(np.float32)
    index = np.floor(points @ scaled.T + shift)
    inside = ((index >= 0) & (index < np.float32(spec.size))).all(1)
    index, labels = index[inside].astype(np.int32), labels[inside]
    flat = (index[:, 0] * spec.size[1] + index[:, 1]) * spec.size[2] + index[:, 2]
    cells = grid.reshape(-1)
    if only_empty:
        wanted = (cells[flat] == 0) | (cells[flat] == IGNORE)
        flat, labels = flat[wanted], labels[wanted]
    cells[flat] = labels


def fill_boxes(grid: np.ndarray, spec: GridSpec, solids: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
    """Give voxels whose centre lies in a box its label, in place.

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
        grid[first[0]:last[0], first[1]:last[1], first[2]:last[2]][inside] = label


def voxelise(spec: GridSpec, grid_from_points: np.ndarray, surfaces: list[tuple[np.ndarray, np.ndarray]],
             solids: list[tuple[np.ndarray, np.ndarray, int]]) -> np.ndarray:
    """Semantic occupancy (X, Y, Z) uint8.

    Args:
        grid_from_points: (4, 4), for surfaces and solids.
        surfaces: (points (N, 3) float32, labels (N,) uint8) each; later ones win.
        solids: as in `fill_boxes` but in the frame of the points.
    """
    grid = np.zeros(spec.size, np.uint8)
    in_grid = [(grid_from_points @ pose, half, label) for pose, half, label in solids]
    fill_boxes(grid, spec, [s for s in in_grid if s[2] == IGNORE])
    for points, labels in surfaces[:1]:
        mark_points(grid, spec, grid_from_points, points, labels)
    fill_boxes(grid, spec, [s for s in in_grid if s[2] != IGNORE])
    for points, labels in surfaces[1:]:
        mark_points(grid, spec, grid_from_points, points, labels)
    below = np.isin(grid[:, :, 1:], GROUND_LABELS) & (grid[:, :, :-1] == 0)
    grid[:, :, :-1][below] = IGNORE
    return grid
