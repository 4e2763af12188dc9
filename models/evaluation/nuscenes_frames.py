"""Recorded key frames in the grid frame, whatever the vehicle: the tables say how its LiDAR is mounted."""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.datasets.nuscenes import GRID_FROM_VEHICLE, INTENSITY_MAX, NuScenesReader, SensorRecord, read_sweep

ALIGNED = 0.9  # cosine from which on two axes are the same
LOWEST_SENSOR = -1.0  # metres, grid frame: no LiDAR is mounted nearer to the road


class NuScenesFrames:
    """Key frames of a data root, and where their LiDAR stood.

    Where the LiDAR's y axis looks forward (nuScenes), its frame is the grid frame; any other sweep is brought there
    through the vehicle's frame. Sweeps whose intensity never exceeds 1 have it normalized already.
    """

    def __init__(self, reader: NuScenesReader) -> None:
        self.reader = reader
        self._sweeps_of_scene = lru_cache(maxsize=2)(self._find_sweeps)

    def frame(self, scene: str, sample_token: str) -> SensorFrame:
        """One key frame of a scene."""
        sweep = self._sweeps_of_scene(scene)[sample_token]
        matrix = grid_from_lidar(sweep.base_from_sensor.matrix)
        normalized = read_sweep(sweep.path)[:, 3].max() <= 1
        frame = self.reader.frame(
            sample_token, None if (matrix == np.eye(4)).all() else matrix, 1.0 if normalized else INTENSITY_MAX
        )
        return replace(frame, ray_origins=self.ray_origin(scene, sample_token)[None])

    def map_from_grid(self, scene: str, sample_token: str) -> np.ndarray:
        """(4, 4) float64, metres: the pose of a key frame's grid."""
        sweep = self._sweeps_of_scene(scene)[sample_token]
        return sweep.map_from_sensor @ np.linalg.inv(self.grid_from_lidar(scene, sample_token))

    def grid_from_lidar(self, scene: str, sample_token: str) -> np.ndarray:
        """(4, 4) float64 of a key frame."""
        return grid_from_lidar(self._sweeps_of_scene(scene)[sample_token].base_from_sensor.matrix)

    def ray_origin(self, scene: str, sample_token: str) -> np.ndarray:
        """(3,) float64 metres, grid frame: where the rays of a key frame start."""
        sweep = self._sweeps_of_scene(scene)[sample_token]
        return (self.grid_from_lidar(scene, sample_token) @ np.append(ray_origin(sweep), 1))[:3]

    def sensor_positions(self, scene: str, sample_token: str) -> np.ndarray:
        """(N, 3) float64 metres: where rays start in each key frame of the scene, in the grid frame of one of them."""
        sweeps = self._sweeps_of_scene(scene)
        matrix = self.grid_from_lidar(scene, sample_token)
        grid_from_map = matrix @ np.linalg.inv(sweeps[sample_token].map_from_sensor)
        return np.array(
            [(grid_from_map @ sweep.map_from_sensor @ np.append(ray_origin(sweep), 1))[:3] for sweep in sweeps.values()]
        )

    def _find_sweeps(self, scene: str) -> dict[str, SensorRecord]:
        """The LiDAR's key frames of a scene by sample token, in time order."""
        samples = list(self.reader.samples(scene))
        sweeps = [record for record in self.reader.records(scene) if record.channel == self.reader.lidar]
        if len(samples) != len(sweeps):
            raise DatasetError(
                f"scene {scene}: expected a {self.reader.lidar} key frame for each of "
                f"{len(samples)} samples, got {len(sweeps)}"
            )
        return dict(zip(samples, sweeps))


def grid_from_lidar(base_from_lidar: np.ndarray) -> np.ndarray:
    """(4, 4) float64 from a LiDAR's mounting (4, 4) on the vehicle (x forward, y left, road at z = 0).

    The grid's origin lies on the vehicle's axis, as far ahead as the LiDAR.
    """
    forward, up = base_from_lidar[0, 1], base_from_lidar[2, 2]
    if min(forward, up) > ALIGNED:
        return np.eye(4)
    beside = base_from_lidar.copy()
    beside[0, 3] = 0
    return GRID_FROM_VEHICLE @ beside


def ray_origin(sweep: SensorRecord) -> np.ndarray:
    """(3,) float64 metres, LiDAR frame: where a sweep's rays start.

    A sweep given in the vehicle's frame does not tell where its sensors stand. Its rays are taken to start at the grid
    frame's origin, on the vehicle's vertical axis at the height of a roof.
    """
    matrix = grid_from_lidar(sweep.base_from_sensor.matrix)
    return np.zeros(3) if matrix[2, 3] > LOWEST_SENSOR else np.linalg.inv(matrix)[:3, 3]
