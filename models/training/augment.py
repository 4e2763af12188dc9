"""Random changes of training frames that keep points, calibration and truth consistent.

`augment` is applied whenever a frame is drawn; `augment_images` when it is prepared, where image features are kept.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, NUM_LABELS

from .data import UNSEEN, PreparedFrame

BEAM_DEGREES = 41.34 / 31  # between neighboring beams of nuScenes' LiDAR


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training frames are changed; shares are probabilities.

    Attributes:
        flip: share mirrored along x, and as many along y.
        turn: share turned about the vertical axis.
        turn_degrees: largest turn.
        stretch: horizontal scale is drawn from 1 +- this.
        thin: largest share of returns lost at random.
        beams: share of frames that lose LiDAR beams, each with a probability of up to a half.
        sector: share of frames whose sweep lacks a sector of up to 90 degrees.
        intensity: standard deviation of the logarithm of a factor on all intensities: scales differ between sensors.
        no_intensity: share of frames whose intensities are all 0: the model must not lean on them.
        all_cameras: share of frames that lose all cameras.
        some_cameras: share of frames that lose each camera with a probability of 0.3.
        jitter_degrees: standard deviation of a false rotation of each camera, which the truth does not follow.
        jitter_meters: the same of a false shift.
        images: share of images that are scaled, shifted and changed in light when a frame is prepared.
        zoom: images are scaled by a factor between 1 / (1 + this) and 1 + this.
        mirror: share of images that are mirrored.
    """

    flip: float = 0.5
    turn: float = 0.5
    turn_degrees: float = 15.0
    stretch: float = 0.05
    thin: float = 0.3
    beams: float = 0.3
    sector: float = 0.15
    intensity: float = 0.5
    no_intensity: float = 0.15
    all_cameras: float = 0.35
    some_cameras: float = 0.3
    jitter_degrees: float = 0.2
    jitter_meters: float = 0.01
    images: float = 0.75
    zoom: float = 0.2
    mirror: float = 0.25

    def __post_init__(self) -> None:
        shares = (
            "flip",
            "turn",
            "thin",
            "beams",
            "sector",
            "no_intensity",
            "all_cameras",
            "some_cameras",
            "images",
            "mirror",
        )
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (field.name in shares and value > 1):
                raise ValueError(f"{field.name} must lie in 0..{'1' if field.name in shares else ''}, got {value}")
        if self.all_cameras + self.some_cameras > 1:
            raise ValueError(
                "all_cameras and some_cameras must not exceed 1 together, got "
                f"{self.all_cameras} and {self.some_cameras}"
            )
        if self.stretch >= 1:
            raise ValueError(f"stretch must be less than 1, got {self.stretch}")


def augment(frame: PreparedFrame, window: GridSpec, config: AugmentConfig, rng: np.random.Generator) -> PreparedFrame:
    """A random variant of a frame, its truth cut to `window`."""
    frame = transform(frame, window, draw_plane(config, rng))
    points = scale_intensity(drop_points(frame.points, config, rng), draw_intensity(config, rng))
    image_from_grid = lose_cameras(jitter(frame.image_from_grid, config, rng), config, rng)
    return replace(frame, points=points, image_from_grid=image_from_grid)


def draw_plane(config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Random mirror, turn and scale of the ground plane: a (2, 2) float64 map of x and y."""
    mirror = np.where(rng.random(2) < config.flip, -1.0, 1.0)
    angle = np.radians(rng.uniform(-1, 1) * config.turn_degrees) if rng.random() < config.turn else 0.0
    cos, sin = np.cos(angle), np.sin(angle)
    return rng.uniform(1 - config.stretch, 1 + config.stretch) * np.array([[cos, -sin], [sin, cos]]) * mirror


def crop(frame: PreparedFrame, window: GridSpec) -> PreparedFrame:
    """The same frame with its truth cut to `window`."""
    return frame if window == frame.grid else transform(frame, window, np.eye(2))


def transform(frame: PreparedFrame, window: GridSpec, plane: np.ndarray) -> PreparedFrame:
    """Map the world by `plane` (2, 2) on x and y; the images stay, so the projection undoes it first.

    The truth is gathered by the nearest voxel onto `window`, which must have the same layers as the frame's grid; a
    return's voxel then takes the label that it had, because the nearest voxel may be a neighbor. Outside is unknown.
    """
    grid = frame.grid
    if (grid.voxel_size, grid.low[2], grid.size[2]) != (window.voxel_size, window.low[2], window.size[2]):
        raise DatasetError(f"expected a window of the same voxels and layers as {grid}, got {window}")
    target_from_source = np.eye(4)
    target_from_source[:2, :2] = plane
    points = frame.points.copy()
    points[:, :2] = frame.points[:, :2] @ plane.T.astype(np.float32)
    image_from_grid = (frame.image_from_grid @ np.linalg.inv(target_from_source)).astype(np.float32)
    semantics, observed = _gather(frame, window, np.linalg.inv(plane))
    before, known = grid.indices(frame.points[:, :3])
    after, inside = window.indices(points[:, :3])
    both = known & inside
    old, new = tuple(before[both].T), tuple(after[both].T)
    label = frame.semantics[old]
    occupied = (label > 0) & (label < NUM_LABELS)
    new = tuple(axis[occupied] for axis in new)
    semantics[new] = label[occupied]
    observed[new] |= frame.observed[old][occupied]
    return replace(
        frame, points=points, image_from_grid=image_from_grid, semantics=semantics, observed=observed, grid=window
    )


def _gather(frame: PreparedFrame, window: GridSpec, source_from_target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and mask on `window`, column by column from where `source_from_target` (2, 2) takes it."""
    grid = frame.grid
    centers = [low + (np.arange(size) + 0.5) * window.voxel_size for low, size in zip(window.low[:2], window.size[:2])]
    x, y = (row[0] * centers[0][:, None] + row[1] * centers[1] for row in source_from_target)  # (X, Y)
    i, j = (np.floor((value - low) / grid.voxel_size).astype(np.int32) for value, low in zip((x, y), grid.low))
    outside = (i < 0) | (i >= grid.size[0]) | (j < 0) | (j >= grid.size[1])
    column = np.where(outside, 0, i * grid.size[1] + j)
    layers = grid.size[2]
    semantics = frame.semantics.reshape(-1, layers)[column]  # (X, Y, Z)
    observed = frame.observed.reshape(-1, layers)[column]
    semantics[outside], observed[outside] = IGNORE, False
    return semantics, observed


def drop_points(points: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Lose returns (P, 4) at random, by beam and by sector."""
    keep = rng.random(len(points), np.float32) >= rng.uniform(0, config.thin)
    if rng.random() < config.beams:
        elevation = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
        beam = np.floor(elevation / BEAM_DEGREES + rng.random()).astype(int)  # -68 .. 68
        lost = rng.random(180) < rng.uniform(0, 0.5)
        keep &= ~lost[beam + 90]
    if rng.random() < config.sector:
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        start, width = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi / 2)
        keep &= (azimuth - start) % (2 * np.pi) >= width
    return points[keep]


def draw_intensity(config: AugmentConfig, rng: np.random.Generator) -> float:
    """Random factor on the intensities of a frame."""
    factor = np.exp(rng.normal(0, config.intensity))
    return 0.0 if rng.random() < config.no_intensity else float(factor)


def scale_intensity(points: np.ndarray, factor: float) -> np.ndarray:
    """(P, 4) with intensities multiplied and clipped to 0..1."""
    scaled = points.copy()
    scaled[:, 3] = np.clip(points[:, 3] * factor, 0, 1)
    return scaled


def lose_cameras(image_from_grid: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(N, 4, 4): none, some or all cameras replaced by a projection that sees nothing."""
    kind = rng.random()
    share = 1.0 if kind < config.all_cameras else 0.3 if kind < config.all_cameras + config.some_cameras else 0.0
    lost = rng.random(len(image_from_grid)) < share
    return np.where(lost[:, None, None], UNSEEN, image_from_grid).astype(np.float32)


def jitter(image_from_grid: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(N, 4, 4): every camera turned about the grid's origin and shifted a little, as by a poor calibration."""
    count = len(image_from_grid)
    x, y, z = rng.normal(0, np.radians(config.jitter_degrees), (3, count))
    zero = np.zeros(count)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(count, 3, 3)
    wrong = np.tile(np.eye(4), (count, 1, 1))
    wrong[:, :3, :3] += skew + skew @ skew / 2  # the rotation, to second order of a small angle
    wrong[:, :3, 3] = rng.normal(0, config.jitter_meters, (count, 3))
    return (image_from_grid @ wrong).astype(np.float32)


def augment_images(
    images: torch.Tensor, image_from_grid: torch.Tensor, config: AugmentConfig, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale, shift, mirror and relight images (N, 3, h, w) uint8; adjusts image_from_grid (N, 4, 4) float32 exactly.

    What lies outside the source image is black.
    """
    size = tuple(images.shape[2:])
    changed, matrices = [], []
    for image, matrix in zip(images, image_from_grid):
        if rng.random() < config.images:
            image = _relight(image, rng)
            pixel_from_pixel = _draw_zoom(size, config, rng)
            image = warp_image(image, pixel_from_pixel)
            matrix = torch.from_numpy(pixel_from_pixel).to(matrix) @ matrix
        changed.append(image)
        matrices.append(matrix)
    return torch.stack(changed), torch.stack(matrices)


def augment_kept_images(frame: PreparedFrame, config: AugmentConfig, rng: np.random.Generator) -> PreparedFrame:
    """`augment_images` of a frame that holds its images."""
    if not len(frame.image_from_grid):
        return frame
    images, image_from_grid = augment_images(
        torch.from_numpy(frame.features[0]), torch.from_numpy(frame.image_from_grid), config, rng
    )
    return replace(frame, features=(images.numpy(),), image_from_grid=image_from_grid.numpy())


def _draw_zoom(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(4, 4) float64 map of homogeneous pixels: scale about a random place, perhaps mirrored."""
    scale = (1 + config.zoom) ** rng.uniform(-1, 1)
    pixel_from_pixel = np.diag([scale, scale, 1.0, 1.0])
    pixel_from_pixel[:2, 2] = (1 - scale) * rng.uniform(0, (size[1] - 1, size[0] - 1))
    if rng.random() < config.mirror:
        pixel_from_pixel[0] = (size[1] - 1) * pixel_from_pixel[2] - pixel_from_pixel[0]
    return pixel_from_pixel


def warp_image(image: torch.Tensor, pixel_from_pixel: np.ndarray) -> torch.Tensor:
    """Resample (3, h, w) uint8 so that what was at a pixel moves to where the (4, 4) map takes it; bilinear."""
    height, width = image.shape[1:]
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
    )
    source_from_target = torch.from_numpy(np.linalg.inv(pixel_from_pixel[:3, :3]))
    source = torch.stack([u, v, torch.ones_like(u)], -1) @ source_from_target.T  # (h, w, 3)
    place = (source[..., :2] + 0.5) / torch.tensor([width, height]) * 2 - 1
    warped = F.grid_sample(image[None].float(), place[None].float(), align_corners=False)[0]
    return warped.round().clamp(0, 255).to(torch.uint8)


def _relight(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Another camera's picture of (3, h, w) uint8: random sharpness, saturation, contrast, gamma, brightness, tint."""
    image = image.float() / 255
    if rng.random() < 0.4:
        image = blur(image, rng.uniform(0.3, 1.5))
    gray = image.mean(0, keepdim=True)
    image = gray + (image - gray) * rng.uniform(0.3, 1.4)
    mean = image.mean()
    image = ((image - mean) * rng.uniform(0.7, 1.3) + mean).clamp(0, 1) ** rng.uniform(0.7, 1.4)
    gain = torch.tensor(rng.uniform(0.6, 1.4) * rng.uniform(0.88, 1.12, (3, 1, 1)), dtype=torch.float32)
    return (image * gain * 255).round().clamp(0, 255).to(torch.uint8)


def blur(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """(3, h, w) float32 through a Gaussian of `sigma` pixels."""
    line = torch.exp(-0.5 * (torch.arange(-3, 4) / sigma) ** 2)
    line = (line / line.sum()).expand(3, 1, 1, 7)
    image = F.pad(image[None], (3, 3, 3, 3), mode="replicate")
    return F.conv2d(F.conv2d(image, line, groups=3), line.transpose(2, 3), groups=3)[0]
