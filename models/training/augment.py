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
from occfusion_ros.core.past_sweeps import PastSweep

from .data import UNSEEN, PreparedFrame

MOST_EVERY = 3  # of the sweeps that a frame is prepared with, every one to every third is drawn
BEAM_DEGREES = (0.2, 41.34 / 31)  # between neighboring beams: of 128 beams near the horizon, of nuScenes' LiDAR


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training frames are changed; shares are probabilities.

    Attributes:
        flip: share mirrored along x, and as many along y.
        turn: share turned about the vertical axis.
        turn_degrees: largest turn.
        stretch: horizontal scale is drawn from 1 +- this.
        thin: largest share of returns lost at random.
        beams: share of frames that lose LiDAR beams, each with a probability of up to three quarters.
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
        no_past: share of frames without earlier sweeps; matters to a network with lags alone, as the next two do.
        drift_meters: standard deviation of a false shift of earlier sweeps along each axis, for each second of lag.
        drift_degrees: the same of a false turn about the vertical axis.
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
    no_past: float = 0.4
    drift_meters: float = 0.03
    drift_degrees: float = 0.1

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
            "no_past",
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


NO_DRIFT = AugmentConfig(drift_meters=0, drift_degrees=0)
"""For frames that are not trained on: earlier sweeps come in random numbers, where they were."""


def augment(frame: PreparedFrame, window: GridSpec, config: AugmentConfig, rng: np.random.Generator) -> PreparedFrame:
    """A random variant of a frame, its truth cut to `window`; all its sweeps lose the same beams and sector."""
    frame = replace(frame, past=draw_past(frame.past, config, rng))
    frame = transform(frame, window, draw_plane(config, rng))
    sweeps = [frame.points, *(sweep.points for sweep in frame.past)]
    ends = np.cumsum([len(points) for points in sweeps])[:-1]
    every = np.concatenate(sweeps)
    kept = np.split(kept_points(every, frame.ray_origin, config, rng), ends)
    every = np.split(scale_intensity(every, draw_intensity(config, rng)), ends)
    now, *before = (points[there] for points, there in zip(every, kept))
    past = tuple(replace(sweep, points=points) for sweep, points in zip(frame.past, before))
    image_from_grid = lose_cameras(jitter(frame.image_from_grid, config, rng), config, rng)
    return replace(frame, points=now, past=past, image_from_grid=image_from_grid)


def draw_past(past: tuple[PastSweep, ...], config: AugmentConfig, rng: np.random.Generator) -> tuple[PastSweep, ...]:
    """None of the sweeps, or a random number of the newest, of every second or every third, with poses that drift."""
    if not past or rng.random() < config.no_past:
        return ()
    every = rng.integers(1, MOST_EVERY + 1)
    chosen = past[every - 1 :: every] or past[-1:]
    speed = rng.normal(0, config.drift_meters, 3)
    turn = rng.normal(0, np.radians(config.drift_degrees))
    return tuple(
        replace(sweep, grid_from_past=drift(speed * sweep.lag_s, turn * sweep.lag_s) @ sweep.grid_from_past)
        for sweep in chosen[: rng.integers(1, len(chosen) + 1)]
    )


def drift(shift: np.ndarray, turn: float) -> np.ndarray:
    """(4, 4) float64: a shift (3,) in metres and a turn about the vertical axis in radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    return np.array([[cos, -sin, 0, shift[0]], [sin, cos, 0, shift[1]], [0, 0, 1, shift[2]], [0, 0, 0, 1]])


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
    """Map the world by `plane` (2, 2) on x and y, each sweep in its own frame; the images stay: projections undo it.

    The truth is gathered by the nearest voxel onto `window`, which must have the same layers as the frame's grid; a
    return's voxel then takes the label that it had, because the nearest voxel may be a neighbor. Outside is unknown.
    """
    grid = frame.grid
    if (grid.voxel_size, grid.low[2], grid.size[2]) != (window.voxel_size, window.low[2], window.size[2]):
        raise DatasetError(f"expected a window of the same voxels and layers as {grid}, got {window}")
    target_from_source = np.eye(4)
    target_from_source[:2, :2] = plane
    source_from_target = np.linalg.inv(target_from_source)
    points, past = mapped(frame.points, plane), []
    for sweep in frame.past:
        pose = target_from_source @ sweep.grid_from_past @ source_from_target
        past.append(replace(sweep, points=mapped(sweep.points, plane), grid_from_past=pose))
    image_from_grid = (frame.image_from_grid @ source_from_target).astype(np.float32)
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
        frame,
        points=points,
        image_from_grid=image_from_grid,
        semantics=semantics,
        observed=observed,
        grid=window,
        ray_origin=np.append(plane @ frame.ray_origin[:2], frame.ray_origin[2]),
        past=tuple(past),
    )


def mapped(points: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """(P, 4) float32 with x and y mapped by `plane` (2, 2)."""
    result = points.copy()
    result[:, :2] = points[:, :2] @ plane.T.astype(np.float32)
    return result


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


def kept_points(points: np.ndarray, origin: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Which returns (P, 4) are not lost: (P,) bool; at random, by beam and by sector of the LiDAR at `origin` (3,)."""
    away = points[:, :3] - origin.astype(np.float32)
    keep = rng.random(len(points), np.float32) >= rng.uniform(0, config.thin)
    if rng.random() < config.beams:
        elevation = np.degrees(np.arctan2(away[:, 2], np.hypot(away[:, 0], away[:, 1])))
        apart = np.exp(rng.uniform(*np.log(BEAM_DEGREES)))
        beam = np.floor((elevation + 90) / apart + rng.random()).astype(int)
        lost = rng.random(int(180 / apart) + 3) < rng.uniform(0, 0.75)
        keep &= ~lost[beam]
    if rng.random() < config.sector:
        azimuth = np.arctan2(away[:, 1], away[:, 0])
        start, width = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi / 2)
        keep &= (azimuth - start) % (2 * np.pi) >= width
    return keep


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
            image = relight(image, rng)
            pixel_from_pixel = draw_zoom(size, config, rng)
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


def draw_zoom(size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
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


def relight(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
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
