"""Sensor rigs as data: where the LiDAR and the cameras sit and what they measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from occfusion_ros.core.lens import Lens

GRID_HEIGHT = 1.84  # metres of the grid's origin above the road
_TURN_JITTER, _MOVE_JITTER, _FOCAL_JITTER = 1.5, 0.05, 0.03  # degrees, metres, share


@dataclass(frozen=True)
class Lidar:
    """A spinning LiDAR.

    Attributes:
        name: channel name.
        elevations: degrees, one per beam.
        azimuth_steps: firings per turn.
        max_range, min_range: metres.
        range_noise: metres, standard deviation.
        dropout: share of the returns lost at random.
        ghosts: share of the rays without a return that are reported within 0.6 m of the sensor all the same.
        reflectance: intensity of a white surface that is hit straight, before it is cut off at 1.
        base_from_lidar: (4, 4) float64 rigid transform, metres.
    """

    name: str
    elevations: tuple[float, ...]
    azimuth_steps: int
    base_from_lidar: np.ndarray
    max_range: float = 100.0
    min_range: float = 0.6
    range_noise: float = 0.02
    dropout: float = 0.03
    ghosts: float = 0.6
    reflectance: float = 0.35


@dataclass(frozen=True)
class Camera:
    """A camera; pixel centers at integer coordinates.

    Attributes:
        name: channel name.
        size: (height, width) pixels.
        intrinsics: (3, 3) float64, pixels, of the rectified image.
        base_from_camera: (4, 4) float64 rigid transform, metres; optical axes (x right, y down, z forward).
        lens: what its images are taken through; None: they are rectified.
    """

    name: str
    size: tuple[int, int]
    intrinsics: np.ndarray
    base_from_camera: np.ndarray
    lens: Lens | None = None

    def resized(self, size: tuple[int, int]) -> "Camera":
        """The same camera delivering images of another (height, width)."""

        def scaled(matrix: np.ndarray) -> np.ndarray:
            result = matrix.copy()
            for row, (new, old) in enumerate(((size[1], self.size[1]), (size[0], self.size[0]))):
                result[row, :2] *= new / old
                result[row, 2] = (matrix[row, 2] + 0.5) * new / old - 0.5
            return result

        lens = self.lens
        if lens:
            lens = replace(lens, matrix=tuple(scaled(np.reshape(lens.matrix, (3, 3))).ravel().tolist()))
        return replace(self, size=tuple(size), intrinsics=scaled(self.intrinsics), lens=lens)


@dataclass(frozen=True)
class Rig:
    """One LiDAR and any number of cameras on a vehicle; base is the ground below the rear axle, x forward, y left.

    Attributes:
        base_from_grid: (4, 4) float64, the frame that points and cameras of a frame are given in: x right, y forward,
            z up, 1.84 m above the road; None where the LiDAR's own frame is that.
        own_parts: parts of the vehicle that the LiDAR sees: (center, size) of boxes, metres, base frame.
    """

    lidar: Lidar
    cameras: tuple[Camera, ...]
    base_from_grid: np.ndarray | None = None
    own_parts: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()

    def base_from_frame(self) -> np.ndarray:
        """(4, 4) float64: the frame that points and cameras of a frame are given in."""
        return self.lidar.base_from_lidar if self.base_from_grid is None else self.base_from_grid

    def grid_from_lidar(self) -> np.ndarray:
        """(4, 4) float64, exactly the identity where the LiDAR's own frame is the grid frame."""
        if self.base_from_grid is None:
            return np.eye(4)
        return np.linalg.inv(self.base_from_grid) @ self.lidar.base_from_lidar

    def jittered(self, rng: np.random.Generator) -> "Rig":
        """The same rig mounted by another mechanic: turned by up to 1.5 degrees, moved by up to 5 cm; focal lengths
        off by up to 3 %. The result knows its true calibration."""
        lidar = replace(self.lidar, base_from_lidar=_nudged(self.lidar.base_from_lidar, rng))
        return replace(self, lidar=lidar, cameras=tuple(_remounted(camera, rng) for camera in self.cameras))


def _remounted(camera: Camera, rng: np.random.Generator) -> Camera:
    intrinsics = camera.intrinsics.copy()
    intrinsics[[0, 1], [0, 1]] *= 1 + rng.uniform(-_FOCAL_JITTER, _FOCAL_JITTER)
    return replace(camera, intrinsics=intrinsics, base_from_camera=_nudged(camera.base_from_camera, rng))


def _nudged(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pose (4, 4) of a mount, turned and moved a little about its own origin."""
    roll, pitch, yaw = np.radians(rng.uniform(-_TURN_JITTER, _TURN_JITTER, 3))
    turn = np.eye(4)
    for angle, (i, j) in zip((roll, pitch, yaw), ((1, 2), (2, 0), (0, 1))):
        c, s = np.cos(angle), np.sin(angle)
        step = np.eye(4)
        step[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        turn = turn @ step
    result = pose @ turn
    result[:3, 3] += rng.uniform(-_MOVE_JITTER, _MOVE_JITTER, 3)
    return result


def raised(camera: Camera, rise: float) -> Camera:
    """The same camera `rise` metres higher."""
    pose = camera.base_from_camera.copy()
    pose[2, 3] += rise
    return replace(camera, base_from_camera=pose)


def yawed(translation: Sequence[float], yaw: float) -> np.ndarray:
    """Transform of a frame at `translation` whose x axis is turned by `yaw` radians about z."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, translation[0]], [s, c, 0, translation[1]], [0, 0, 1, translation[2]], [0, 0, 0, 1.0]])


_FORWARD_FROM_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])

# channel, mount (metres), yaw (degrees), focal length (pixels at 900 x 1600)
_NUSCENES_CAMERAS = (
    ("CAM_FRONT", (1.70, 0.0, 1.51), 0, 1266.0),
    ("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55, 1261.0),
    ("CAM_BACK_RIGHT", (1.02, -0.48, 1.56), -110, 1259.0),
    ("CAM_BACK", (0.03, 0.0, 1.57), 180, 809.0),
    ("CAM_BACK_LEFT", (1.04, 0.48, 1.59), 110, 1257.0),
    ("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55, 1272.0),
)


def nuscenes_rig() -> Rig:
    """A rig like nuScenes': one 32-beam LiDAR (x right, y forward, 1.84 m above the road) and six cameras."""
    elevations = tuple(np.linspace(-30.67, 10.67, 32))
    lidar = Lidar("LIDAR_TOP", elevations, 1085, yawed((0.94, 0.0, GRID_HEIGHT), -np.pi / 2))
    cameras = []
    for name, mount, yaw, focal in _NUSCENES_CAMERAS:
        intrinsics = np.array([[focal, 0, 799.5], [0, focal, 489.5], [0, 0, 1.0]])
        cameras.append(Camera(name, (900, 1600), intrinsics, yawed(mount, np.radians(yaw)) @ _FORWARD_FROM_OPTICAL))
    rack, bonnet = ((0.11, 0.0, 1.2), (0.55, 1.1, 0.58)), ((2.6, 0.0, 0.9), (0.3, 1.0, 0.08))
    return Rig(lidar, tuple(cameras), own_parts=(rack, bonnet))


# channel, mount (metres), yaw (degrees), focal length (pixels at 960 x 1280)
_VAN_CAMERAS = (
    ("CAM_FRONT", (2.05, 0.05, 1.95), 0, 930.0),
    ("CAM_RIGHT", (1.75, -0.88, 1.82), -68, 690.0),
    ("CAM_BACK_RIGHT", (-0.70, -0.86, 2.02), -142, 640.0),
    ("CAM_BACK_LEFT", (-0.70, 0.86, 2.02), 142, 640.0),
    ("CAM_LEFT", (1.75, 0.88, 1.82), 68, 690.0),
)


def van_rig() -> Rig:
    """A van: one 64-beam LiDAR (x forward, y left, 2.31 m above the road) and five cameras."""
    elevations = tuple(np.concatenate([np.linspace(-24.8, -8.2, 26), np.linspace(-7.8, 14.6, 38)]))
    lidar = Lidar("LIDAR_ROOF", elevations, 900, yawed((1.35, 0.12, 2.31), 0.0), max_range=120.0, range_noise=0.03)
    cameras = []
    for name, mount, yaw, focal in _VAN_CAMERAS:
        intrinsics = np.array([[focal, 0, 639.5], [0, focal, 459.5], [0, 0, 1.0]])
        cameras.append(Camera(name, (960, 1280), intrinsics, yawed(mount, np.radians(yaw)) @ _FORWARD_FROM_OPTICAL))
    roof = ((-0.4, 0.0, 1.85), (2.4, 1.5, 0.1))
    return Rig(lidar, tuple(cameras), yawed((1.35, 0.0, GRID_HEIGHT), -np.pi / 2), (roof,))


RIGS: dict[str, Callable[[], Rig]] = {"nuscenes": nuscenes_rig, "van": van_rig}
