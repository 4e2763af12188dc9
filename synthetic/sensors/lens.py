"""Pixels of a distorted image back to directions, for rendering; the robot never needs that."""

import numpy as np

from occfusion_ros.core.lens import FISHEYE, Lens

_UNTIL = (3, 60, 1e-9)  # OpenCV's criteria: iterations or precision


def lens_rays(lens: Lens, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float64 directions, with z = 1 in the ideal camera's frame, of all pixels of a (height, width) image.

    OpenCV inverts the model; within 90 degrees of the axis, and where the model does not turn back on itself.
    """
    import cv2

    v, u = np.mgrid[: size[0], : size[1]].astype(np.float64)
    pixels, matrix = np.stack([u, v], -1).reshape(-1, 1, 2), np.reshape(lens.matrix, (3, 3))
    turn = np.reshape(lens.rotation, (3, 3))
    if lens.model == FISHEYE:
        d = np.array((*lens.coefficients, 0, 0, 0, 0)[:4])
        plane = cv2.fisheye.undistortPoints(pixels, matrix, d, R=turn)
    else:
        d = np.array((*lens.coefficients, *(0,) * 14)[:14], np.float64)
        plane = cv2.undistortPoints(pixels, matrix, d, R=turn, criteria=_UNTIL)
    return np.concatenate([plane.reshape(*size, 2), np.ones((*size, 1))], -1)
