"""Colors of voxels: those of their classes, or of how sure a grid is of their labels."""

from collections.abc import Callable

import numpy as np

from ...core.frames import OccupancyGrid
from ...core.labels import SemanticClass
from .occupied_voxels import OccupiedVoxels, at_voxels

Colors = Callable[[OccupiedVoxels], np.ndarray]
"""Gives the colors, (N, 3) uint8, of voxels of one grid."""

COLORINGS = ("class", "confidence", "faded")
"""By class; by the probability that the label is right; by class, and the grayer the less probable."""

GRAY = 128
HALF = 128  # of 255: how sure what is only remembered counts as where colors fade

# From surely wrong over as likely as not to surely right; ColorBrewer's RdYlBu, told apart by the color-blind too.
_SHARES, _STOPS = (0, 128, 255), np.array([[215, 48, 39], [254, 224, 144], [69, 117, 180]])
RAMP = np.stack([np.interp(np.arange(256), _SHARES, channel) for channel in _STOPS.T], axis=1).round().astype(np.uint8)


def coloring(color_by: str, grid: OccupancyGrid, classes: tuple[SemanticClass, ...]) -> Colors | None:
    """Give the colors of a grid's voxels, by one of `COLORINGS`; None where each class has one: its own.

    That is so too where the grid does not say how sure it is. What is only remembered is gray, or half faded.
    """
    if color_by == "class" or grid.occupancy is None or grid.class_confidence is None:
        return None

    def colors(voxels: OccupiedVoxels) -> np.ndarray:
        occupied = at_voxels(grid.occupancy, voxels).astype(np.int32)
        sure, remembered = occupied * at_voxels(grid.class_confidence, voxels) // 255, occupied == 0
        if color_by == "confidence":
            return np.where(remembered[:, None], np.uint8(GRAY), RAMP[sure])
        sure[remembered] = HALF
        own = class_colors(classes)[voxels.labels].astype(np.int32)
        return (GRAY + (own - GRAY) * sure[:, None] // 255).astype(np.uint8)

    return colors


def class_colors(classes: tuple[SemanticClass, ...]) -> np.ndarray:
    """(256, 3) uint8 colors by label; black where there is no such class."""
    colors = np.zeros((256, 3), np.uint8)
    for semantic_class in classes:
        colors[semantic_class.label] = semantic_class.rgb
    return colors
