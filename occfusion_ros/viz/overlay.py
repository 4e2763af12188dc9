"""Voxels over the image of a camera, so that one look tells whether calibration and classes are right."""

import numpy as np

from ..core.camera import seen_in_image
from ..core.frames import CameraImage

LONGEST = 640  # pixels along the longer edge of the picture
OPACITY = 0.5
WIDTHS = np.unique(np.round(1.25 ** np.arange(18)))  # pixels of squares, 1 to 44; what looks in between gets the next


def overlay(camera: CameraImage, centers: np.ndarray, colors: np.ndarray, edge: float) -> np.ndarray:
    """Blend voxels with an image: each a square about the place of its center, as large as it looks, near over far.

    Args:
        camera: its image as it comes, through a lens or not.
        centers, colors: (N, 3) float metres in the grid frame, for `seen_in_image`, and (N, 3) uint8.
        edge: metres, of a voxel.

    Returns:
        (height, width, 3) uint8 RGB, at most 640 pixels wide or high.
    """
    import cv2

    source = np.array(camera.image.shape[1::-1])  # width, height
    scale = min(1.0, LONGEST / source.max())
    size = np.maximum(np.round(source * scale), 1).astype(int)
    image = _shrunk(camera.image, size)
    which, pixels, depth = seen_in_image(
        centers, camera.intrinsics, camera.camera_from_grid, camera.lens, camera.image.shape[:2]
    )
    columns, rows = np.clip(np.round((pixels + 0.5) * (size / source) - 0.5).astype(int), 0, size - 1).T
    ranks = _nearest(rows * size[0] + columns, edge * camera.intrinsics[0, 0] * scale / depth, size[::-1])
    table = np.zeros((len(which) + 1, 4), np.uint8)  # by rank; four bytes of a color move as one
    table[1:, :3] = colors[which[::-1]]
    painted = table.view(np.uint32)[:, 0].take(ranks).view(np.uint8).reshape(*ranks.shape, 4)
    blended = cv2.addWeighted(cv2.cvtColor(painted, cv2.COLOR_RGBA2RGB), OPACITY, image, 1 - OPACITY, 0)
    return cv2.copyTo(image, (ranks == 0).astype(np.uint8), blended)


def _shrunk(image: np.ndarray, size: np.ndarray) -> np.ndarray:
    """An image made smaller to `size`, (width, height): by halves, which is several times as fast as at once."""
    import cv2

    while (image.shape[1::-1] >= 2 * size).all():
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, size.tolist(), interpolation=cv2.INTER_LINEAR)


def _nearest(middles: np.ndarray, widths: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which of M squares is seen in each pixel of an image of `size`: (H, W) int32 ranks; M: the nearest, 0: none.

    Squares of one width are spread at once: a pixel takes the greatest rank from about it, that of the nearest.

    Args:
        middles: (M,) int64 flat pixels, those of the nearest first. widths: (M,) pixels, so falling.
    """
    import cv2

    kind = np.uint16 if len(middles) < 1 << 16 else np.float32  # of numbers that OpenCV spreads
    ranks, best = np.arange(len(middles), 0, -1), np.zeros(size, kind)
    bounds = [0, *np.searchsorted(-widths, -WIDTHS[-2::-1]), len(widths)]  # where the next smaller width begins
    for width, begin, end in zip(WIDTHS[::-1], bounds, bounds[1:]):
        if begin < end:
            placed = np.zeros(size, kind)
            placed.reshape(-1)[middles[begin:end][::-1]] = ranks[begin:end][::-1]  # what comes last, the nearest, stays
            np.maximum(best, cv2.dilate(placed, np.ones([int(width)] * 2, np.uint8)), out=best)
    return best.astype(np.int32)
