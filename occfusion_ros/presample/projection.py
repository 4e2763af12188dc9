"""Images to network size and points to cameras."""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import torch
import torch.nn.functional as F

from ..core.camera import fit_image, fitted_intrinsics, projection_matrix
from ..core.frames import CameraImage, ImageMask
from ..core.lens import Lens
from .points import divided

DENSITY = 1.5  # pixels along each axis for one of the network's, to which an image is reduced before it is undistorted
MARGIN = 8  # rows of the image beyond those that are looked at; filters reach as far
MOST_MAPS = 16  # that are kept; 1.4 MB each for the shipped model


def fit_projection(camera: CameraImage, size: tuple[int, int], horizon: float) -> np.ndarray:
    """(4, 4) float64 image_from_grid of a camera that is cut to the network's size."""
    source = camera.image.shape[:2]
    fit = fit_image(source, size, camera.intrinsics[1, 2], horizon)
    return projection_matrix(fitted_intrinsics(camera.intrinsics, source, fit), camera.camera_from_grid)


def fit_pixels(camera: CameraImage, size: tuple[int, int], horizon: float) -> torch.Tensor:
    """(3, h, w) uint8: a camera's image cut to the network's size, and undistorted where it has a lens.

    Always on the CPU, where PyTorch resamples in whole numbers: the same pixels wherever the network runs, and fewer of
    them cross to a GPU.
    """
    source = camera.image.shape[:2]
    fit = fit_image(source, size, camera.intrinsics[1, 2], horizon)
    image = torch.from_numpy(np.ascontiguousarray(camera.image)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    if camera.lens is None:
        image = _resized_rows(image, fit.resized, fit.top, size[0])[0, :, :, fit.left : fit.left + size[1]]
        return image.contiguous()  # here, on the thread of this image, instead of when all are put together
    # Reduced first, with the filter that rectified images get, because sampling alone would alias.
    low, high, place = _rows_map(camera.lens, tuple(camera.intrinsics.ravel()), source, size, horizon)
    image, width = image[:, :, low:high], min(source[1], round(fit.resized[1] * DENSITY))
    reduced = _resized(image, (max(1, round((high - low) * width / source[1])), width))
    image = F.grid_sample(reduced.float(), place[None], "bilinear", padding_mode="border", align_corners=False)
    return image[0].round().to(torch.uint8)


def _resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(1, 3, H, W) uint8 to (1, 3, *size), each pixel the mean of what it covers."""
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)


def _resized_rows(image: torch.Tensor, size: tuple[int, int], top: int, count: int) -> torch.Tensor:
    """Rows `top` to `top` + `count` of `_resized`, from no more rows of the image than they need.

    Cut where rows of both images begin together, so that every pixel has the weights that it has in the whole image.
    """
    parts = gcd(image.shape[2], size[0])
    theirs, ours = image.shape[2] // parts, size[0] // parts  # rows from one such place to the next
    margin = ceil((2 * max(1, theirs / ours) + 2) / theirs)  # the filter reaches as far
    low, high = max(top // ours - margin, 0), min(ceil((top + count) / ours) + margin, parts)
    resized = _resized(image[:, :, low * theirs : high * theirs], ((high - low) * ours, size[1]))
    return resized[:, :, top - low * ours :][:, :, :count]


@lru_cache(maxsize=MOST_MAPS)
def network_map(
    lens: Lens | None, intrinsics: tuple[float, ...], source: tuple[int, int], size: tuple[int, int], horizon: float
) -> torch.Tensor:
    """(h, w, 2) float32: where in the source image a pixel of the network's lies, x and y from -1 to 1 at its edges.

    Args:
        lens: of the source image; None where it is rectified.
        intrinsics: nine numbers, rows of the rectified image's matrix.
        source, size: (height, width) pixels of both images. horizon: see `fit_image`.
    """
    matrix = np.reshape(intrinsics, (3, 3))
    fitted = fitted_intrinsics(matrix, source, fit_image(source, size, matrix[1, 2], horizon))
    v, u = np.mgrid[: size[0], : size[1]]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(fitted).T
    pixels = lens.pixels(rays) if lens else (rays @ matrix.T)[..., :2]
    place = (pixels + 0.5) / source[::-1] * 2 - 1
    return torch.from_numpy(np.nan_to_num(place, nan=-2.0).clip(-2, 2).astype(np.float32))


@lru_cache(maxsize=MOST_MAPS)
def _rows_map(
    lens: Lens, intrinsics: tuple[float, ...], source: tuple[int, int], size: tuple[int, int], horizon: float
) -> tuple[int, int, torch.Tensor]:
    """The rows of the source image that the network sees something of, first and end, and `network_map` within them."""
    place = network_map(lens, intrinsics, source, size, horizon).clone()
    rows = (place[..., 1].clamp(-1, 1) + 1) / 2 * source[0]
    low = max(int(rows.min()) - MARGIN, 0)
    high = min(int(rows.max()) + 1 + MARGIN, source[0])
    place[..., 1] = ((place[..., 1] + 1) / 2 * source[0] - low) / (high - low) * 2 - 1
    return low, high, place


def seen_pixels(camera: CameraImage, size: tuple[int, int], horizon: float) -> torch.Tensor | None:
    """(h, w) bool: which of the network's pixels show the scene; None where all do.

    The others lie outside the image that the lens took, or are hidden by the mask.
    """
    if camera.lens is None and camera.mask is None:
        return None
    intrinsics = tuple(camera.intrinsics.ravel())
    return _seen_pixels(camera.lens, camera.mask, intrinsics, camera.image.shape[:2], size, horizon)


@lru_cache(maxsize=MOST_MAPS)
def _seen_pixels(
    lens: Lens | None,
    mask: ImageMask | None,
    intrinsics: tuple[float, ...],
    source: tuple[int, int],
    size: tuple[int, int],
    horizon: float,
) -> torch.Tensor | None:
    place = network_map(lens, intrinsics, source, size, horizon)
    seen = (place.abs() <= 1).all(-1)
    if mask is not None:
        hidden = torch.from_numpy(mask.hidden).float()[None, None]
        seen &= F.grid_sample(hidden, place[None], "bilinear", padding_mode="border", align_corners=False)[0, 0] < 0.5
    return None if seen.all() else seen


def project(
    points: torch.Tensor, image_from_grid: torch.Tensor, size: tuple[int, int], near: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Project points, each block of them into one image.

    Args:
        points: (K, J, 3) float32 metres, grid frame.
        image_from_grid: (K, 4, 4) float32.
        size: (height, width) pixels. near: metres; what is closer to a camera is not seen.

    Returns:
        uv (K, J, 2) float32, 0..1 across the image (edges of the outer pixels), and visible (K, J) bool.
    """
    u, v, visible = _to_image(points, image_from_grid, size, near)
    return torch.stack([u.clamp_(0, 1), v.clamp_(0, 1)], -1), visible


def assign_cameras(
    points: torch.Tensor,
    image_from_grid: torch.Tensor,
    size: tuple[int, int],
    near: float,
    seen: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every point to the camera that sees it nearest to its image center.

    Args:
        points: (P, 3) float32 metres, grid frame.
        image_from_grid: (N, 4, 4) float32; N may be 0.
        size, near: as in `project`.
        seen: (N, h, w) bool, pixels that show the scene; None where all do.

    Returns:
        uv (P, 2) float32 in 0..1 and camera (P,) int64, -1 where no camera sees the point.
    """
    if not len(image_from_grid):
        return points.new_full((len(points), 2), 0.5), torch.full((len(points),), -1, device=points.device)
    u, v, visible = _to_image(points, image_from_grid, size, near)  # (N, P) each
    if seen is not None:
        visible &= shows(seen, torch.arange(len(seen), device=seen.device)[:, None], u, v)
    off_center = torch.maximum((u - 0.5).abs_(), (v - 0.5).abs_()).masked_fill_(~visible, 2.0)
    margin, camera = off_center.min(0)
    uv = torch.stack([u.gather(0, camera[None])[0], v.gather(0, camera[None])[0]], 1)
    found = margin <= 1.0
    return torch.where(found[:, None], uv, 0.5), torch.where(found, camera, -1)


def shows(seen: torch.Tensor, image: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Whether the pixels that points fall on show the scene.

    Args:
        seen: (N, h, w) bool, see `seen_pixels`.
        image: int64 index into the N images. u, v: float32, across that image, of shapes that go together.
    """
    _, height, width = seen.shape
    column = (u.clamp(0, 1) * width).long().clamp_(max=width - 1)
    row = (v.clamp(0, 1) * height).long().clamp_(max=height - 1)
    return seen.flatten()[(image * height + row) * width + column]


def _to_image(
    points: torch.Tensor, image_from_grid: torch.Tensor, size: tuple[int, int], near: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points (P, 3), or a block (N, P, 3) for each image, to u, v across the images and whether they lie in them.

    Written out, because a matrix product adds up in another order on every kind of CPU and GPU. Here each operation is
    rounded by itself, so the result is the same everywhere.

    Returns:
        u, v (N, P) float32, 0..1 in the image, and visible (N, P) bool.
    """
    x, y, z = points.movedim(-1, 0).contiguous()
    horizontal, vertical, depth = (
        (row[:, :1] * x).add_(row[:, 1:2] * y).add_(row[:, 2:3] * z).add_(row[:, 3:])  # (N, P)
        for row in image_from_grid[:, :3].unbind(1)
    )
    visible, depth = depth > near, depth.clamp(min=near)
    u = divided(horizontal.div_(depth).add_(0.5), size[1])
    v = divided(vertical.div_(depth).add_(0.5), size[0])
    for place in (u, v):
        visible &= (place >= 0) & (place <= 1)
    return u, v, visible
