"""A map seen from above: the top-most occupied voxel of every column in its class color."""

import numpy as np

from ..core.frames import OccupancyGrid
from ..core.labels import EMPTY, IGNORE, SemanticClass
from .voxels import color_table

BACKGROUND = (244, 246, 249)
LOW_LIGHT = 0.7  # brightness of the lowest voxel; the highest has 1


def birds_eye_view(grid: OccupancyGrid, classes: tuple[SemanticClass, ...]) -> np.ndarray:
    """Draw one pixel per column of voxels, brighter the higher its top-most occupied voxel lies.

    Args:
        grid: what to draw; empty (0) and unknown (255) voxels are left out.
        classes: names and colors of the labels.

    Returns:
        (Y, X, 3) uint8 RGB; y (forward) points up, x (right) points right: column (x, y) is pixel [Y - 1 - y, x].
    """
    occupied = (grid.labels != EMPTY) & (grid.labels != IGNORE)
    height = occupied.shape[2]
    top = height - 1 - np.argmax(occupied[:, :, ::-1], axis=2)
    labels = np.take_along_axis(grid.labels, top[:, :, None], axis=2)[:, :, 0]
    light = LOW_LIGHT + (1 - LOW_LIGHT) * top / max(height - 1, 1)
    colors = np.rint(color_table(classes)[labels] * light[:, :, None]).astype(np.uint8)
    picture = np.where(occupied.any(axis=2)[:, :, None], colors, np.uint8(BACKGROUND))
    return np.ascontiguousarray(picture.transpose(1, 0, 2)[::-1])
