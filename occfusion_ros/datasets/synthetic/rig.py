"""Sensor rigs as data: where the LiDAR and the cameras sit and what they measure."""

from dataclasses import dataclass

import numpy as np


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


@dataclass(frozen=True)
class Camera:
    """A rectified pinhole camera; pixel centres at integer coordinates.

    Attributes:
        name: channel name.
        size: (height, width) pixels.
        intrinsics: (3, 3) float64, pixels.
        base_from_camera: (4, 4) float64 rigid transform, metres; optical axes (x right, y down, z forward).
    """

    name: str
    size: tuple[int, int]
    intrinsics: np.ndarray
    base_from_camera: np.ndarray

    def resized(self, size: tuple[int, int]) -> "Camera":
        """The same camera delivering images of another (height, width)."""
        intrinsics = self.intrinsics.copy()
        for row, (new, old) in enumerate(((size[1], self.size[1]), (size[0], self.size[0]))):
            intrinsics[row, :2] *= new / old
            intrinsics[row, 2] = (self.intrinsics[row, 2] + 0.5) * new / old - 0.5
        return Camera(self.name, tuple(size), intrinsics, self.base_from_camera)


@dataclass(frozen=True)
class Rig:
    """One LiDAR and any number of cameras on a vehicle; base is the ground below the rear axle, x forward, y left.

    Attributes:
        own_parts: parts of the vehicle that the LiDAR sees: (centre, size) of boxes, metres, base frame.
    """

    lidar: Lidar
    cameras: tuple[Camera, ...]
    own_parts: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()


def _yawed(translation: tuple[float, float, float], yaw: float) -> np.ndarray:
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
    lidar = Lidar("LIDAR_TOP", elevations, 1085, _yawed((0.94, 0.0, 1.84), -np.pi / 2))
    cameras = []
    for name, mount, yaw, focal in _NUSCENES_CAMERAS:
        intrinsics = np.array([[focal, 0, 799.5], [0, focal, 489.5], [0, 0, 1.0]])
        cameras.append(Camera(name, (900, 1600), intrinsics, _yawed(mount, np.radians(yaw)) @ _FORWARD_FROM_OPTICAL))
    rack, bonnet = ((0.11, 0.0, 1.2), (0.55, 1.1, 0.58)), ((2.6, 0.0, 0.9), (0.3, 1.0, 0.08))
    return Rig(lidar, tuple(cameras), (rack, bonnet))
