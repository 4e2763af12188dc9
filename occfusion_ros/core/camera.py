"""Pinhole camera geometry: fitting an image to the network's input and projecting points."""

from dataclasses import dataclass

import numpy as np

from .lens import Lens

NEAREST_M = 0.5  # ahead of a camera: voxels that are nearer would fill its image


@dataclass(frozen=True)
class ImageFit:
    """How a source image becomes the network's input: scale, then crop (in that order).

    Attributes:
        scale: resize factor applied to both axes.
        resized: (height, width) pixels after the resize, before the crop.
        top, left: pixels cropped at the top and left after the resize.
    """

    scale: float
    resized: tuple[int, int]
    top: int
    left: int


def fit_image(source: tuple[int, int], network: tuple[int, int], principal_row: float, horizon: float) -> ImageFit:
    """Scale to cover the network size, center horizontally, and put the principal row at a fixed height.

    The rule depends on the camera's intrinsics alone, so any camera of any size is cut like the ones in training.

    Args:
        source, network: (height, width) pixels.
        principal_row: pixels, the row of the principal point in the source image.
        horizon: fraction of the network's height at which the principal row should lie (clamped to the image).
    """
    scale = max(network[0] / source[0], network[1] / source[1])
    resized = (max(network[0], round(source[0] * scale)), max(network[1], round(source[1] * scale)))
    top = round(principal_row * scale - horizon * network[0])
    top = min(max(top, 0), resized[0] - network[0])
    return ImageFit(scale, resized, top, (resized[1] - network[1]) // 2)


def fitted_intrinsics(intrinsics: np.ndarray, source: tuple[int, int], fit: ImageFit) -> np.ndarray:
    """Intrinsics (3, 3) of the fitted image; pixel centers at integer coordinates before and after."""
    fitted = np.array(intrinsics, np.float64)
    for axis, (size, cropped) in enumerate(zip((source[1], source[0]), (fit.left, fit.top))):
        scale = fit.resized[1 - axis] / size
        fitted[axis, :2] *= scale
        fitted[axis, 2] = (intrinsics[axis, 2] + 0.5) * scale - 0.5 - cropped
    return fitted


def projection_matrix(intrinsics: np.ndarray, camera_from_grid: np.ndarray) -> np.ndarray:
    """(4, 4) float64 ``image_from_grid``: homogeneous grid point to (u * depth, v * depth, depth, 1)."""
    matrix = np.eye(4)
    matrix[:3, :3] = intrinsics
    return matrix @ camera_from_grid


def project(points: np.ndarray, image_from_grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project points.

    Args:
        points: (N, 3) float, metres, grid frame.
        image_from_grid: (4, 4) float64 from `projection_matrix`.

    Returns:
        pixels (N, 2) float64 (u, v) and depth (N,) float64 metres; pixels mean nothing where depth <= 0.
    """
    homogeneous = points @ image_from_grid[:3, :3].T + image_from_grid[:3, 3]
    depth = homogeneous[:, 2]
    safe = np.where(np.abs(depth) > 1e-6, depth, 1e-6)
    return homogeneous[:, :2] / safe[:, None], depth


def seen_in_image(
    points: np.ndarray, intrinsics: np.ndarray, camera_from_grid: np.ndarray, lens: Lens | None, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the points that fall into an image as it comes, distorted or not, the nearest first.

    Args:
        points: (N, 3) float32 or float64, metres, grid frame, fastest column by column in memory; what is nearer to the
            camera than `NEAREST_M` is passed over.
        intrinsics, camera_from_grid: (3, 3) and (4, 4) of the ideal camera.
        lens: what the image was taken through; None where it is rectified.
        size: (height, width) pixels.

    Returns:
        which of them, (M,) int64; their pixels, (M, 2) (u, v); and their depth, (M,) metres; floats like the points.
    """
    x, y, z = points.T  # whole columns, where rows of three are slow, and a product of matrices wakes threads
    rays = np.stack([a * x + b * y + c * z + d for a, b, c, d in camera_from_grid[:3].astype(points.dtype)])
    which = np.flatnonzero(rays[2] > NEAREST_M)
    rays = rays.take(which, axis=1)
    if lens is None:
        pixels = intrinsics[:2].astype(points.dtype) @ rays / rays[2]
    else:
        pixels = lens.pixels(rays.T).T.astype(points.dtype)
    (u, v), (height, width) = pixels, size
    inside = np.flatnonzero((u >= -0.5) & (u < width - 0.5) & (v >= -0.5) & (v < height - 0.5))  # NaN: no light comes
    order = inside[np.argsort(rays[2, inside], kind="stable")]
    return which[order], pixels.take(order, axis=1).T, rays[2, order]
