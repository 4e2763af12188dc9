"""A small grid with something of everything, and plain loops over it."""

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels

SPEC = GridSpec((-3.2, -3.2, -1.0), 0.2, (32, 30, 9))
STAMP_NS = 1_532_402_927_647_951_000
FRAMES = ["", "a", "lidar_top", "base_link/é"]  # lengths that shift the alignment of all that follows


def random_grid(frame_id: str, fill: float, seed: int = 0, cameras: tuple[str, ...] = ("cam_front", "b")):
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([1, 4, 5, 11, 16, 255], np.uint8), SPEC.size)
    labels[rng.random(SPEC.size) >= fill] = 0
    occupied = np.flatnonzero((labels > 0) & (labels < 255))
    remembered = occupied[rng.random(len(occupied)) < 0.3]
    confidence = rng.integers(0, 256, (2, *SPEC.size), np.uint8) * (labels > 0) * (labels < 255)
    occupancy, class_confidence = confidence
    return OccupancyGrid(
        SPEC,
        labels,
        STAMP_NS,
        frame_id,
        cameras,
        "nano-1",
        remembered=remembered,
        occupancy=occupancy,
        class_confidence=class_confidence,
    )


def scatter(grid: OccupancyGrid, labels: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Indices of the voxels with these labels, x fastest, by plain loops."""
    sx, sy, sz = SPEC.size
    return [(x, y, z) for z in range(sz) for y in range(sy) for x in range(sx) if grid.labels[x, y, z] in labels]


def tinted(voxels: OccupiedVoxels) -> np.ndarray:
    """A color for each voxel that no class has."""
    return np.stack([voxels.flat % 251, voxels.flat // 251 % 251, voxels.labels], axis=1).astype(np.uint8)


def tint(grid: OccupancyGrid, index: tuple[int, int, int]) -> tuple[int, int, int]:
    sx, sy, _ = SPEC.size
    flat = index[0] + sx * (index[1] + sy * index[2])
    return flat % 251, flat // 251 % 251, int(grid.labels[index])
