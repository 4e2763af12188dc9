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
        centers, colors: (N, 3) float64 metres in the grid frame, and (N, 3) uint8.
        edge: metres, of a voxel.

    Returns:
        (height, width, 3) uint8 RGB, at most 640 pixels wide or high.
    """
    import cv2

    source = np.array(camera.image.shape[1::-1])  # width, height
    scale = min(1.0, LONGEST / source.max())
    size = np.maximum(np.round(source * scale), 1).astype(int)
    image = cv2.resize(camera.image, size.tolist(), interpolation=cv2.INTER_AREA)
    which, pixels, depth = seen_in_image(
        centers, camera.intrinsics, camera.camera_from_grid, camera.lens, camera.image.shape[:2]
    )
    if not len(which):
        return image
    places = np.clip(np.round((pixels + 0.5) * (size / source) - 0.5).astype(int), 0, size - 1)
    shown = _nearest(places, edge * camera.intrinsics[0, 0] * scale / depth, size[::-1])
    painted = np.where(shown[..., None] < 0, image, colors[which].take(shown, axis=0, mode="clip"))
    return cv2.addWeighted(painted, OPACITY, image, 1 - OPACITY, 0)


def _nearest(places: np.ndarray, widths: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Which of M squares, the nearest first, is seen in each pixel of an image of `size`: (H, W) int64, -1: none.

    Squares of one width are spread at once: a pixel takes the greatest rank from about it, that of the nearest.

    Args:
        places: (M, 2) int64 pixels (u, v) of their middles. widths: (M,) pixels.
    """
    import cv2

    ranks, best = np.arange(len(places), 0, -1), np.zeros(size, np.float32)  # whole numbers, exact up to 2 ** 24
    kinds = np.minimum(np.searchsorted(WIDTHS, widths), len(WIDTHS) - 1)
    for kind in np.unique(kinds):
        mine, middles = np.flatnonzero(kinds == kind)[::-1], np.zeros(size, np.float32)
        middles[places[mine, 1], places[mine, 0]] = ranks[mine]  # what is assigned last, the nearest, stays
        np.maximum(best, cv2.dilate(middles, np.ones([int(WIDTHS[kind])] * 2, np.uint8)), out=best)
    return np.where(best > 0, len(places) - best.astype(np.int64), -1)
