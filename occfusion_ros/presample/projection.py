"""Images to network size and points to cameras."""

import numpy as np
import torch
import torch.nn.functional as F

from ..core.camera import fit_image, fitted_intrinsics, projection_matrix
from ..core.frames import CameraImage

NEAR = 0.5  # metres; nothing closer than this to a lens is a useful measurement


def fit_camera(camera: CameraImage, size: tuple[int, int], horizon: float,
               device: torch.device | str = "cpu") -> tuple[torch.Tensor, np.ndarray]:
    """Cut a camera to the network's size.

    Returns:
        image (3, h, w) uint8 on `device` and image_from_grid (4, 4) float64 for that image.
    """
    return fit_pixels(camera, size, horizon, device), fit_projection(camera, size, horizon)


def fit_projection(camera: CameraImage, size: tuple[int, int], horizon: float) -> np.ndarray:
    """(4, 4) float64 image_from_grid of a camera that is cut to the network's size."""
    source = camera.image.shape[:2]
    fit = fit_image(source, size, camera.intrinsics[1, 2], horizon)
    return projection_matrix(fitted_intrinsics(camera.intrinsics, source, fit), camera.camera_from_grid)


def fit_pixels(camera: CameraImage, size: tuple[int, int], horizon: float,
               device: torch.device | str = "cpu") -> torch.Tensor:
    """(3, h, w) uint8 on `device`: a camera's image cut to the network's size."""
    fit = fit_image(camera.image.shape[:2], size, camera.intrinsics[1, 2], horizon)
    image = torch.from_numpy(np.ascontiguousarray(camera.image)).to(device).permute(2, 0, 1)[None]  # (1, 3, H, W)
    if image.shape[2:] != fit.resized:
        image = image if image.device.type == "cpu" else image.float()  # uint8 resampling exists on the CPU only
        image = F.interpolate(image, fit.resized, mode="bilinear", antialias=True, align_corners=False)
    image = image[0, :, fit.top:fit.top + size[0], fit.left:fit.left + size[1]]
    return image.round().to(torch.uint8)


def project(points: torch.Tensor, image_from_grid: torch.Tensor,
            size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Project points, each block of them into one image.

    Args:
        points: (K, J, 3) float32 metres, grid frame.
        image_from_grid: (K, 4, 4) float32.
        size: (height, width) pixels.

    Returns:
        uv (K, J, 2) float32, 0..1 across the image (edges of the outer pixels), and visible (K, J) bool.
    """
    return _to_image(points @ image_from_grid[:, :3, :3].transpose(1, 2) + image_from_grid[:, None, :3, 3], size)


def _to_image(pixels: torch.Tensor, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Homogeneous pixels (..., 3) to uv (..., 2) in 0..1, clamped, and whether they lie in the image."""
    depth = pixels[..., 2:]
    extent = torch.tensor([size[1], size[0]], dtype=pixels.dtype, device=pixels.device)
    uv = (pixels[..., :2] / depth.clamp(min=NEAR) + 0.5) / extent
    visible = (depth[..., 0] > NEAR) & ((uv >= 0) & (uv <= 1)).all(-1)
    return uv.clamp(0, 1), visible


def assign_cameras(points: torch.Tensor, image_from_grid: torch.Tensor,
                   size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every point to the camera that sees it nearest to its image centre.

    Args:
        points: (P, 3) float32 metres, grid frame.
        image_from_grid: (N, 4, 4) float32; N may be 0.

    Returns:
        uv (P, 2) float32 in 0..1 and camera (P,) int64, -1 where no camera sees the point.
    """
    if not len(image_from_grid):
        return points.new_full((len(points), 2), 0.5), torch.full((len(points),), -1, device=points.device)
    rows = image_from_grid[:, :3].flatten(0, 1)  # (N * 3, 4); one product for all cameras
    pixels = torch.addmm(rows[:, 3], points, rows[:, :3].T).view(len(points), len(image_from_grid), 3)
    uv, visible = _to_image(pixels, size)  # (P, N, 2), (P, N)
    off_centre = (uv - 0.5).abs().amax(-1).masked_fill(~visible, 2.0)
    margin, camera = off_centre.min(1)
    chosen = uv.gather(1, camera[:, None, None].expand(-1, 1, 2))[:, 0]
    seen = margin <= 1.0
    return torch.where(seen[:, None], chosen, 0.5), torch.where(seen, camera, -1)
