"""Recorded key frames in the grid frame, whatever the vehicle: the tables say how its LiDAR is mounted."""

from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from occfusion_ros.core.command import number
from occfusion_ros.core.contract import ModelContract
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.past_sweeps import MOST_SWEEPS, PastSweep, brought_to_present, past_points
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.datasets.nuscenes import (
    GRID_FROM_VEHICLE,
    INTENSITY_MAX,
    NuScenesReader,
    SensorRecord,
    read_sweep,
    sweep_points,
)

ALIGNED = 0.9  # cosine from which on two axes are the same
LOWEST_SENSOR = -1.0  # metres, grid frame: no LiDAR is mounted nearer to the road


class NuScenesFrames:
    """Key frames of a data root, and where their LiDAR stood.

    Where the LiDAR's y axis looks forward (nuScenes), its frame is the grid frame; any other sweep is brought there
    through the vehicle's frame. Sweeps whose intensity never exceeds 1 have it normalized already.
    """

    def __init__(
        self, reader: NuScenesReader, past_sweeps: int = 0, ego_radius: float = Preprocessing.ego_radius
    ) -> None:
        """
        Args:
            past_sweeps: sweeps before each key frame that come with it, as far as their files are there: those between
                key frames too.
            ego_radius: metres, of the vehicle that is left out of them.
        """
        self.reader, self.past_sweeps, self.ego_radius = reader, past_sweeps, ego_radius
        self._sweeps_of_scene = lru_cache(maxsize=2)(self._find_sweeps)
        self._all_sweeps_of_scene = lru_cache(maxsize=2)(self._find_all_sweeps)
        self._past_points = lru_cache(maxsize=2 * MOST_SWEEPS)(self._read_past_points)

    @classmethod
    def for_model(cls, reader: NuScenesReader, contract: ModelContract, past_sweeps: int) -> "NuScenesFrames":
        """Frames that come with so many earlier sweeps, for a model that was trained with them.

        Raises:
            ContractError: it was not.
        """
        if not past_sweeps:
            return cls(reader)
        if not contract.preprocessing.lags:
            raise ContractError(f"past sweeps: expected a model with lags, got {contract.model_id}, which has none")
        return cls(reader, past_sweeps, contract.preprocessing.ego_radius)

    def frame(self, scene: str, sample_token: str) -> SensorFrame:
        """One key frame of a scene."""
        sweep = self._sweeps_of_scene(scene)[sample_token]
        frame = self.reader.frame(
            sample_token, _unless_same(grid_from_lidar(sweep.base_from_sensor.matrix)), _intensity_max(sweep)
        )
        past = brought_to_present(self.past(scene, sample_token))
        return replace(frame, ray_origins=self.ray_origin(scene, sample_token)[None], past=past)

    def past(self, scene: str, sample_token: str) -> list[PastSweep]:
        """The sweeps that come with a key frame, the newest first."""
        if not self.past_sweeps:
            return []
        now = self._sweeps_of_scene(scene)[sample_token]
        earlier = [sweep for sweep in self._all_sweeps_of_scene(scene) if sweep.stamp_ns < now.stamp_ns]
        grid_from_map = np.linalg.inv(_map_from_grid(now))
        return [
            PastSweep(
                self._past_points(sweep), grid_from_map @ _map_from_grid(sweep), (now.stamp_ns - sweep.stamp_ns) / 1e9
            )
            for sweep in earlier[: -self.past_sweeps - 1 : -1]
        ]

    def map_from_grid(self, scene: str, sample_token: str) -> np.ndarray:
        """(4, 4) float64, metres: the pose of a key frame's grid."""
        return _map_from_grid(self._sweeps_of_scene(scene)[sample_token])

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

    def _find_all_sweeps(self, scene: str) -> list[SensorRecord]:
        """The LiDAR's sweeps of a scene whose files are there, key frames or not, in time order."""
        records = self.reader.records(scene, sweeps=True)
        return [record for record in records if record.channel == self.reader.lidar and record.path.is_file()]

    def _read_past_points(self, sweep: SensorRecord) -> np.ndarray:
        matrix = _unless_same(grid_from_lidar(sweep.base_from_sensor.matrix))
        return past_points(sweep_points(read_sweep(sweep.path), matrix, _intensity_max(sweep)), self.ego_radius)


def add_past_sweeps(parser: ArgumentParser) -> None:
    """Have a command take how many earlier sweeps a model is told of."""
    parser.add_argument(
        "--past-sweeps",
        type=int,
        default=0,
        choices=range(MOST_SWEEPS + 1),
        metavar="N",
        help=f"earlier sweeps, at most {MOST_SWEEPS}, that a model with lags is told of (%(default)s)",
    )


def split_last(tokens: Iterable[str], share: float) -> tuple[list[str], list[str]]:
    """Samples of a scene in two: all but the last share (0..1) of them, and that share."""
    tokens = list(tokens)
    first = len(tokens) - round(len(tokens) * share)
    return tokens[:first], tokens[first:]


def among_last(share: float) -> str:
    """Where samples were looked for, for a message; nothing to say where all of a scene were."""
    return f" in the last {share:g} of each scene" if share < 1 else ""


def add_last(parser: ArgumentParser) -> None:
    """Have a command look at the last samples of each scene alone: those that a training held back."""
    parser.add_argument(
        "--last",
        type=number(float, 0, 1, above=True),
        default=1.0,
        metavar="SHARE",
        help="only the last share of each scene's samples, for a model that was trained on the first (%(default)s)",
    )


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


def _map_from_grid(sweep: SensorRecord) -> np.ndarray:
    return sweep.map_from_sensor @ np.linalg.inv(grid_from_lidar(sweep.base_from_sensor.matrix))


def _unless_same(matrix: np.ndarray) -> np.ndarray | None:
    return None if (matrix == np.eye(4)).all() else matrix


def _intensity_max(sweep: SensorRecord) -> float:
    """The raw intensity that becomes 1."""
    return 1.0 if read_sweep(sweep.path)[:, 3].max() <= 1 else INTENSITY_MAX
