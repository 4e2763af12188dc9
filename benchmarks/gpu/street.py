"""A street of boxes, cast with NumPy alone: a sensor frame and its truth where nothing else is installed.

For figures of speed and for comparing devices; it is no training data.
"""

from dataclasses import dataclass

import numpy as np

from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import Label

COLORS = {
    Label.DRIVEABLE_SURFACE: (90, 90, 95),
    Label.SIDEWALK: (150, 145, 140),
    Label.MANMADE: (190, 170, 150),
    Label.CAR: (40, 70, 160),
    Label.TRUCK: (170, 60, 40),
    Label.PEDESTRIAN: (200, 180, 60),
    Label.VEGETATION: (50, 110, 50),
}
SKY = (170, 200, 230)
GROUND, CURB = -1.84, 7.0  # metres: height of the road, and half its width
REACH = 90.0  # metres
BEAMS, LOWEST, HIGHEST = 32, -30.67, 10.67  # of nuScenes' LiDAR, degrees
COARSE = 4  # a ray for so many pixels along each axis


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes: low and high corners (B, 3) float64 metres in the grid frame, labels (B,)."""

    low: np.ndarray
    high: np.ndarray
    label: np.ndarray


def street(seed: int = 0) -> Boxes:
    """Houses and trees along a road, cars, trucks and people on it."""
    rng, low, high, labels = np.random.default_rng(seed), [], [], []

    def put(label: int, center: tuple[float, float], size: tuple[float, float, float], base: float = GROUND) -> None:
        half = np.array(size[:2]) / 2
        low.append([*(np.array(center) - half), base])
        high.append([*(np.array(center) + half), base + size[2]])
        labels.append(label)

    for side in (-1, 1):
        for y in np.arange(-60, 60, 15.0):
            put(Label.MANMADE, (side * rng.uniform(16, 20), y), (8, 12, rng.uniform(4, 9)))
            put(Label.VEGETATION, (side * 9.5, y + 7), (2.4, 2.4, 2.6), base=0.0)
            put(Label.PEDESTRIAN, (side * 8.2, y + rng.uniform(-5, 5)), (0.5, 0.5, 1.75))
    for y in (-38, -24, -12, 9, 21, 34, 47):
        big = rng.random() < 0.25
        put(
            Label.TRUCK if big else Label.CAR,
            (rng.choice([-4.5, -1.5, 3.5]), y),
            (2.5, 7.0, 3.2) if big else (1.9, 4.4, 1.6),
        )
    return Boxes(np.array(low), np.array(high), np.array(labels))


def cast(boxes: Boxes, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First hits of rays: distance (R,) metres, inf for the sky, and label (R,) with 0 for the sky.

    Slab method (Kay and Kajiya, "Ray tracing complex scenes", 1986); origin (3,) and unit directions (R, 3) float64.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = (GROUND - origin[2]) / directions[:, 2]
        distance = np.where((ground > 0) & (ground < REACH), ground, np.inf)
        label = np.where(np.isfinite(distance), _ground_label((origin + directions * distance[:, None])[:, 0]), 0)
        for low, high, kind in zip(boxes.low, boxes.high, boxes.label):
            one, other = (low - origin) / directions, (high - origin) / directions
            near, far = np.minimum(one, other).max(1), np.maximum(one, other).min(1)
            nearer = (near > 0) & (near < far) & (near < distance) & (near < REACH)
            distance, label = np.where(nearer, near, distance), np.where(nearer, kind, label)
    return distance, label


def frame(points: int = 34_688, cameras: int = 6, size: tuple[int, int] = (900, 1600), seed: int = 0) -> SensorFrame:
    """A sweep of about so many rays and images all around.

    Args:
        size: (height, width) pixels, multiples of 4.
    """
    boxes, rng = street(seed), np.random.default_rng(seed)
    elevation = np.radians(np.linspace(LOWEST, HIGHEST, BEAMS))
    azimuth = np.linspace(0, 2 * np.pi, points // BEAMS, endpoint=False)
    up, around = (angle.ravel() for angle in np.meshgrid(elevation, azimuth))
    rays = np.c_[np.cos(up) * np.sin(around), np.cos(up) * np.cos(around), np.sin(up)]
    distance, label = cast(boxes, np.zeros(3), rays)
    hit = np.isfinite(distance)
    distance = distance[hit] + rng.normal(0, 0.02, hit.sum())
    sweep = np.c_[rays[hit] * distance[:, None], 0.1 + 0.05 * label[hit]].astype(np.float32)
    views = tuple(_camera(boxes, 2 * np.pi * index / cameras, size, index, rng) for index in range(cameras))
    return SensorFrame(0, sweep, views)


def truth(spec: GridSpec, seed: int = 0) -> np.ndarray:
    """(X, Y, Z) uint8 labels of the street's surfaces; boxes are solid."""
    boxes, labels = street(seed), np.zeros(spec.size, np.uint8)
    x = np.asarray(spec.low[0]) + (np.arange(spec.size[0]) + 0.5) * spec.voxel_size
    layer = int((GROUND - spec.low[2]) // spec.voxel_size)
    labels[:, :, layer] = _ground_label(x)[:, None]
    for low, high, kind in zip(boxes.low, boxes.high, boxes.label):
        first, last = (np.floor((corner - spec.low) / spec.voxel_size).astype(int) for corner in (low, high))
        first, last = np.clip(first, 0, spec.size), np.clip(last + 1, 0, spec.size)
        labels[first[0] : last[0], first[1] : last[1], first[2] : last[2]] = kind
    return labels


def _ground_label(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < CURB, Label.DRIVEABLE_SURFACE, Label.SIDEWALK)


def _camera(boxes: Boxes, yaw: float, size: tuple[int, int], index: int, rng: np.random.Generator) -> CameraImage:
    """A camera 1.6 m above the road that looks along the horizon; colors by label, shaded by distance, noisy."""
    height, width = size
    intrinsics = np.array([[0.8 * width, 0, width / 2 - 0.5], [0, 0.8 * width, height * 0.45], [0, 0, 1]])
    camera_from_grid, (c, s) = np.eye(4), (np.cos(yaw), np.sin(yaw))
    camera_from_grid[:3, :3] = [[c, -s, 0], [0, 0, -1], [s, c, 0]]  # yaw 0 looks along y
    place = np.array([0.3 * s, 0.3 * c, -0.24])
    camera_from_grid[:3, 3] = -camera_from_grid[:3, :3] @ place
    rows, columns = np.mgrid[COARSE // 2 : height : COARSE, COARSE // 2 : width : COARSE]
    rays = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(-1, 3) @ np.linalg.inv(intrinsics).T
    rays = (rays / np.linalg.norm(rays, axis=1, keepdims=True)) @ camera_from_grid[:3, :3]
    distance, label = cast(boxes, place, rays)
    palette = np.array([COLORS.get(kind, SKY) for kind in range(max(COLORS) + 1)], np.float64)
    shade = np.where(np.isfinite(distance), 1 - np.minimum(distance, REACH) / (1.5 * REACH), 1.0)
    small = (palette[label] * shade[:, None]).reshape(height // COARSE, width // COARSE, 3)
    image = small.repeat(COARSE, 0).repeat(COARSE, 1) + rng.normal(0, 6, (height, width, 1))
    return CameraImage(f"camera_{index}", np.clip(image, 0, 255).astype(np.uint8), intrinsics, camera_from_grid)
