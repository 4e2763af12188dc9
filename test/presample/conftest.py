"""A small rig that all tests of pre-sampling share."""

import numpy as np
import pytest
from hypothesis import settings

from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.presample.presampler import PresampleConfig

settings.register_profile("no deadline", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("no deadline")

FORWARD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # optical axes of a camera that looks along y


def camera(name: str, yaw: float, size: tuple[int, int] = (90, 160), seed: int = 0) -> CameraImage:
    """A camera at the origin that looks along y, turned by `yaw` radians about z."""
    c, s = np.cos(yaw), np.sin(yaw)
    camera_from_grid = np.eye(4)
    camera_from_grid[:3, :3] = FORWARD @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    camera_from_grid[:3, 3] = [0.1, -0.2, 0.3]
    intrinsics = np.array([[0.8 * size[1], 0, size[1] / 2], [0, 0.8 * size[1], size[0] / 2], [0, 0, 1]])
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return CameraImage(name, image, intrinsics, camera_from_grid)


@pytest.fixture(scope="session")
def config() -> PresampleConfig:
    grid = GridSpec((-6.4, -6.4, -2.0), 0.2, (64, 64, 40))
    return PresampleConfig(grid, points_per_voxel=3, fusion_queries=300, image_size=(64, 128), max_cameras=4)


@pytest.fixture(scope="session")
def frame() -> SensorFrame:
    rng = np.random.default_rng(1)
    points = np.c_[rng.normal(0, 3, (2000, 2)), rng.normal(-1, 0.3, 2000), rng.uniform(0, 1, 2000)]
    cameras = tuple(camera(f"c{i}", yaw, seed=i) for i, yaw in enumerate((0.0, 2.1, -2.1)))
    return SensorFrame(5, points.astype(np.float32), cameras)
