"""Frames of a world of voxels about which a network says right, wrong and movable things, at random."""

from dataclasses import replace

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import Label

from .voxel_world import GRID, VoxelWorld

ROOM = VoxelWorld.room()
SAID = [0, Label.CAR, Label.PEDESTRIAN, Label.DRIVEABLE_SURFACE, Label.VEGETATION, Label.MANMADE]


def said(seed: int, stamp_ns: int, at: np.ndarray) -> tuple[OccupancyGrid, SensorFrame, np.ndarray]:
    """A frame of part of the world, with predictions at random: right, wrong, of what moves, and none."""
    rng = np.random.default_rng(seed)
    predicted, sweep, _ = ROOM.frame(stamp_ns, at)
    labels = np.where(rng.random(GRID.size) < 0.3, rng.choice(SAID, GRID.size), predicted.labels).astype(np.uint8)
    labels[: rng.integers(0, 64)] = 0
    kept = sweep.points[rng.random(len(sweep.points)) < rng.choice([0.1, 0.6])]
    return replace(predicted, labels=labels), replace(sweep, points=kept), at
