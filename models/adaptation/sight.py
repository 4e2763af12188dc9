"""Which points an image shows, and how far what it says there is to be trusted."""

import numpy as np

from occfusion_ros.core.camera import NEAREST_M, project

WIDE, ABOVE = 6, 16  # pixels beside and above a point within which a nearer one hides it: beams are that far apart
BEHIND = (0.3, 0.05)  # metres, and share of the depth, by which a point must lie behind another one to be hidden
BORDER = 2  # pixels around a border between two classes, where calibration and time decide what a point gets
AT_BORDER = 0.2  # weight of a vote there


def visible(points: np.ndarray, image_from_grid: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Find the points that fall into an image and are not hidden behind nearer ones.

    A LiDAR sees over and beside what hides a thing from a camera, which is mounted elsewhere.

    Args:
        points: (N, 3) float64, metres, grid frame; a whole sweep. image_from_grid: (4, 4). size: (height, width).

    Returns:
        which of them, (M,) int64 ascending, and their pixels, (M, 2) int64 (column, row).
    """
    pixels, depth = project(points, image_from_grid)
    column, row = np.floor(pixels + 0.5).T
    inside = (depth > NEAREST_M) & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    which = np.flatnonzero(inside)
    pixels, depth = np.stack([column[which], row[which]], 1).astype(np.int64), depth[which]
    columns = -(-size[1] // WIDE)
    nearest = np.full((size[0] + ABOVE, columns + 2), np.inf)  # a border spares the checks
    row, column = pixels[:, 1], pixels[:, 0] // WIDE
    np.minimum.at(nearest, (row + ABOVE, column + 1), depth)
    beside = np.minimum(np.minimum(nearest[:, :-2], nearest[:, 2:]), nearest[:, 1:-1])
    # Not below: a road is nearer there, and whatever hides a point reaches above it.
    limit = np.min([beside[rows : rows + size[0]] for rows in range(ABOVE + 1)], axis=0)[row, column]
    shown = depth <= limit + BEHIND[0] + BEHIND[1] * limit
    return which[shown], pixels[shown]


def at_borders(classes: np.ndarray, reach: int = BORDER) -> np.ndarray:
    """(h, w) bool: pixels within `reach` of one of another class, for classes (h, w)."""
    import cv2

    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    return cv2.dilate(classes, kernel) != cv2.erode(classes, kernel)
