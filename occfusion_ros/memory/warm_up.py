"""Compiles what answers frames before the first of them comes."""

import numpy as np

from ..core.frames import OccupancyGrid, SensorFrame
from ..core.grid import GridSpec
from ..core.labels import Label
from .memory import FADE_PARTS, NS_PER_S, Memory, MemorySettings
from .occlusion import Occlusion

GRID = GridSpec((-0.8, -0.8, -0.8), 0.2, (8, 8, 8))


def warm_up(device: str = "") -> None:
    """Answer small frames in every form, so that all is compiled, or found where earlier processes left it.

    Args:
        device: of the memory, see `Memory`.
    """
    points = np.array([[0.5, 0.5, 0.1, 0], [-0.5, 0.3, 0.1, 0]], np.float32)
    labels = np.zeros(GRID.size, np.uint8)
    labels[6, 6, 4] = Label.MANMADE
    memory, occlusion = Memory(GRID, MemorySettings(movable_s=1.0), 1, device), Occlusion(GRID, threads=1)
    for i in [*range(FADE_PARTS + 1), FADE_PARTS]:  # a stamp comes twice
        stamp = round((1 + i) * NS_PER_S)
        frame = SensorFrame(stamp, points, ray_origins=np.zeros((2, 3)), origin_of_point=np.array([0, 1], np.uint8))
        memory.answer(OccupancyGrid(GRID, labels, stamp, "grid"), frame, np.eye(4), "occluded")
    occlusion.answer(OccupancyGrid(GRID, labels, 0, "grid"), frame)
    memory.close()
    occlusion.close()
