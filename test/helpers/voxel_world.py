"""A world of voxels that stand still, and a LiDAR that drives through it: sweeps with exact truth for the memory."""

from functools import lru_cache

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import Label

GRID = GridSpec(low=(-6.4, -6.4, -1.6), voxel_size=0.2, size=(64, 64, 16))
STEP = 0.04  # metres between the places at which a ray looks


class VoxelWorld:
    """Occupied voxels of the fixed frame by label."""

    def __init__(self, labels: dict[tuple[int, int, int], int], edge: float = GRID.voxel_size) -> None:
        self.labels, self.edge = labels, edge
        self._low = np.array(list(labels)).min(0) if labels else np.zeros(3, int)
        size = (np.array(list(labels)).max(0) - self._low + 1) if labels else np.ones(3, int)
        self._dense = np.zeros(size, np.uint8)
        for voxel, label in labels.items():
            self._dense[tuple(np.array(voxel) - self._low)] = label

    @classmethod
    def room(cls, half: int = 22, low: int = -5, high: int = 4) -> "VoxelWorld":
        """Four walls around the origin, one of which has a fence before it, on a road."""
        labels = {}
        for a in range(-half, half + 1):
            for z in range(low, high):
                for x, y in ((a, -half), (a, half), (-half, a), (half, a)):
                    labels[x, y, z] = int(Label.MANMADE)
                if abs(a) < 6 and z < 0:
                    labels[a, 12, z] = int(Label.BARRIER)
        for x in range(-half, half + 1):
            for y in range(-half, half + 1):
                labels[x, y, low] = int(Label.DRIVEABLE_SURFACE)
        return cls(labels)

    def at(self, points: np.ndarray) -> np.ndarray:
        """(N,) uint8 labels of points (N, 3), metres in the fixed frame."""
        index = np.floor(points / self.edge).astype(int) - self._low
        inside = ((index >= 0) & (index < self._dense.shape)).all(1)
        return np.where(inside, self._dense[tuple(np.where(inside[:, None], index, 0).T)], 0).astype(np.uint8)

    def sweep(self, fixed_from_grid: np.ndarray, rays: int = 2500, reach: float = 9.0) -> np.ndarray:
        """(M, 4) float32 returns in the grid frame, of rays from its origin in evenly spread directions."""
        if not self.labels:
            return np.zeros((0, 4), np.float32)
        k = np.arange(rays) + 0.5
        up = 1 - 2 * k / rays
        around = np.pi * (1 + 5**0.5) * k
        flat = np.sqrt(1 - up * up)
        directions = np.stack([flat * np.cos(around), flat * np.sin(around), up], 1)
        left, at = np.arange(rays), np.full(rays, np.nan)
        for distance in np.arange(STEP, reach, STEP):
            points = directions[left] * distance @ fixed_from_grid[:3, :3].T + fixed_from_grid[:3, 3]
            hit = self.at(points) > 0
            at[left[hit]], left = distance, left[~hit]
        returned = np.isfinite(at)
        return np.c_[directions[returned] * at[returned, None], np.ones(returned.sum())].astype(np.float32)

    @lru_cache(maxsize=256)  # noqa: B019 - worlds live as long as their tests
    def _sweep_at(self, pose: bytes) -> np.ndarray:
        return self.sweep(np.frombuffer(pose).reshape(4, 4))

    def frame(
        self, stamp_ns: int, fixed_from_grid: np.ndarray, grid: GridSpec = GRID
    ) -> tuple[OccupancyGrid, SensorFrame, np.ndarray]:
        """What a perfect network says of a sweep, the sweep and its pose: a frame for `Memory.answer`."""
        points = self._sweep_at(fixed_from_grid.tobytes())
        voxels, inside = grid.indices(points[:, :3])
        labels = np.zeros(grid.size, np.uint8)
        in_fixed = points[inside, :3].astype(float) @ fixed_from_grid[:3, :3].T + fixed_from_grid[:3, 3]
        labels[tuple(voxels[inside].T)] = self.at(in_fixed)
        return OccupancyGrid(grid, labels, stamp_ns, "grid"), SensorFrame(stamp_ns, points), fixed_from_grid


def pose(x: float = 0, y: float = 0, z: float = 0, yaw: float = 0, pitch: float = 0) -> np.ndarray:
    """(4, 4) float64 of a place in metres and turns in radians."""
    c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    matrix[:3, 3] = x, y, z
    return matrix
