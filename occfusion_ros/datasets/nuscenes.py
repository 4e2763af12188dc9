"""nuScenes (any version), and other data in its table format, through the public devkit."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..core.encoded_image import inspect_image
from ..core.errors import DatasetError, InvalidFrameError, one_line
from ..core.frames import CameraImage, SensorFrame
from ..core.labels import IGNORE
from ..core.returns import are_returns
from . import openoccupancy
from .nuscenes_tables import load_table, load_tables

logger = logging.getLogger(__name__)

INTENSITY_MAX = 255.0  # nuScenes' scale; other rigs use others
GRID_HEIGHT = 1.84  # metres, the grid frame's origin above the road

GRID_FROM_VEHICLE = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, -GRID_HEIGHT], [0, 0, 0, 1]])
"""For sweeps in a vehicle frame (x forward, y left, road at z = 0): turned to x right, y forward and lowered."""


@dataclass(frozen=True)
class Pose:
    """A rigid transform as the tables hold it: translation in metres and unit quaternion (w, x, y, z)."""

    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]

    @property
    def matrix(self) -> np.ndarray:
        """(4, 4) float64."""
        from nuscenes.utils.geometry_utils import transform_matrix
        from pyquaternion import Quaternion

        return transform_matrix(np.array(self.translation), Quaternion(self.rotation))


@dataclass(frozen=True)
class SensorRecord:
    """One measurement of one sensor: where its file lies, when it was taken and from where.

    Attributes:
        token: its sample_data token.
        channel: the dataset's name of the sensor, for example ``CAM_FRONT``.
        modality: ``lidar`` or ``camera``.
        stamp_ns: nanoseconds, the sensor's own stamp.
        path: the file.
        map_from_base: vehicle pose at the stamp.
        base_from_sensor: calibration; camera axes are optical (x right, y down, z forward).
        intrinsics: pinhole matrix rows, pixels; empty for a LiDAR.
        size: (height, width) pixels; (0, 0) for a LiDAR.
    """

    token: str
    channel: str
    modality: str
    stamp_ns: int
    path: Path
    map_from_base: Pose
    base_from_sensor: Pose
    intrinsics: tuple[tuple[float, ...], ...]
    size: tuple[int, int]

    @property
    def map_from_sensor(self) -> np.ndarray:
        """(4, 4) float64."""
        return self.map_from_base.matrix @ self.base_from_sensor.matrix


class NuScenesReader:
    """Sensor frames and labels of a data root in the nuScenes table format.

    Args:
        root: the folder that holds the version's tables, ``samples/`` and ``sweeps/``.
        version: name of the tables' folder; may be left out where there is only one.
        lidar: channel of the LiDAR that anchors the frames; may be left out where there is only one.
        occupancy_root: where occupancy labels lie, if not in `root`.
    """

    def __init__(
        self,
        root: Path | str,
        version: str | None = None,
        lidar: str | None = None,
        occupancy_root: Path | str | None = None,
    ) -> None:
        self.root = Path(root)
        self.version = version or _only_version(self.root)
        self.occupancy_root = Path(occupancy_root or root)
        self.tables = load_tables(self.root, self.version)
        self.lidar = lidar or _only_lidar(self.tables.sensor, self.root)

    def scenes(self) -> list[str]:
        """Names of all scenes."""
        return [scene["name"] for scene in self.tables.scene]

    def samples(self, scene: str | None = None) -> Iterator[str]:
        """Sample (key frame) tokens of one scene, or of all, in time order within a scene."""
        for record in self.tables.scene if scene is None else [self._scene(scene)]:
            token = record["first_sample_token"]
            while token:
                yield token
                token = self.tables.get("sample", token)["next"]

    def records(self, scene: str, sweeps: bool = False) -> list[SensorRecord]:
        """LiDAR and camera measurements of a scene in time order: key frames, or with `sweeps` all of them."""
        found = [data for data in self._data_of_scene[self._scene(scene)["token"]] if sweeps or data["is_key_frame"]]
        return sorted((self._record(data["token"]) for data in found), key=lambda record: record.stamp_ns)

    def without_files(self, scene: str, sweeps: bool = False) -> Path | None:
        """The first file of a scene of which not a single one is there, as in a partly downloaded root; else None."""
        paths = [record.path for record in self.records(scene, sweeps)]
        return paths[0] if paths and not any(path.is_file() for path in paths) else None

    def lidar_record(self, sample_token: str) -> SensorRecord:
        """The sweep of a key frame."""
        return self._record(self._lidar_token(sample_token))

    def frame(
        self, sample_token: str, grid_from_lidar: np.ndarray | None = None, intensity_max: float = INTENSITY_MAX
    ) -> SensorFrame:
        """One key frame, every camera placed as it stood at its own stamp relative to the sweep's.

        The points are in the order of the file; what is no return is NaN, which is no point to anybody.

        Args:
            sample_token: token from `samples`.
            grid_from_lidar: (4, 4) float64, for rigs whose LiDAR frame is not the grid frame (`GRID_FROM_VEHICLE`).
            intensity_max: the raw intensity that becomes 1.
        """
        sweep = self.lidar_record(sample_token)
        points = sweep_points(read_sweep(sweep.path), grid_from_lidar, intensity_max)
        lidar_from_grid = np.eye(4) if grid_from_lidar is None else np.linalg.inv(grid_from_lidar)
        frame_id = self.lidar.lower() if grid_from_lidar is None else "grid"
        return SensorFrame(
            sweep.stamp_ns,
            points,
            self._cameras(sample_token, sweep.map_from_sensor @ lidar_from_grid),
            frame_id=frame_id,
            ray_origins=np.zeros((1, 3))
            if grid_from_lidar is None
            else grid_from_lidar[None, :3, 3].astype(np.float64),
        )

    def occupancy(self, sample_token: str) -> np.ndarray | None:
        """Labels of a key frame, (512, 512, 40) uint8 in the grid frame; 255 unobserved; None where there are none.

        Reads ``occupancy/<LiDAR token>.npz`` (array ``semantics``) and OpenOccupancy's own files of rows.
        """
        token = self._lidar_token(sample_token)
        scene = self.tables.get("sample", sample_token)["scene_token"]
        dense = self.occupancy_root / "occupancy" / f"{token}.npz"
        rows = openoccupancy.row_file(self.occupancy_root, scene, token)
        if dense.is_file():
            return openoccupancy.check_labels(openoccupancy.load_array(dense, "semantics"), dense)
        return openoccupancy.read_rows(rows) if rows.is_file() else None

    def lidarseg(self, sample_token: str) -> np.ndarray | None:
        """Class of each point of a key frame's sweep, (N,) uint8; 255 unlabeled; None where there are no labels."""
        token = self._lidar_token(sample_token)
        if not self.has_lidarseg(sample_token):
            return None
        name = self._lidarseg_files[token]
        labels = self._label_of_category[np.frombuffer(_content(self.root / name), np.uint8)]
        points = len(read_sweep(self._record(token).path))
        if len(labels) != points:
            raise DatasetError(f"{name}: expected {points} labels, one for each point, got {len(labels)}")
        return labels

    def has_lidarseg(self, sample_token: str) -> bool:
        """Whether the points of a key frame's sweep have labels."""
        return self._lidar_token(sample_token) in self._lidarseg_files

    def boxes(self, sample_token: str) -> list:
        """Annotated boxes of a key frame, the devkit's ``Box`` (center, wlh, orientation, name), in the LiDAR frame."""
        return self.tables.get_sample_data(self._lidar_token(sample_token))[1]

    def _scene(self, name: str) -> dict:
        for scene in self.tables.scene:
            if scene["name"] == name:
                return scene
        raise DatasetError(f"no scene {name!r} in {self.root}, it has {', '.join(self.scenes())}")

    def _lidar_token(self, sample_token: str) -> str:
        try:
            return self.tables.get("sample", sample_token)["data"][self.lidar]
        except KeyError as missing:
            raise DatasetError(f"sample {sample_token}: expected a {self.lidar} key frame, got none") from missing

    def _record(self, token: str) -> SensorRecord:
        data = self.tables.get("sample_data", token)
        ego = self.tables.get("ego_pose", data["ego_pose_token"])
        calibration = self.tables.get("calibrated_sensor", data["calibrated_sensor_token"])
        return SensorRecord(
            token,
            data["channel"],
            data["sensor_modality"],
            data["timestamp"] * 1000,
            self.root / data["filename"],
            Pose(tuple(ego["translation"]), tuple(ego["rotation"])),
            Pose(tuple(calibration["translation"]), tuple(calibration["rotation"])),
            tuple(map(tuple, calibration["camera_intrinsic"])),
            (data["height"], data["width"]),
        )

    def _cameras(self, sample_token: str, map_from_grid: np.ndarray) -> tuple[CameraImage, ...]:
        tokens = self.tables.get("sample", sample_token)["data"].values()
        cameras = [record for record in map(self._record, tokens) if record.modality == "camera"]
        return tuple(
            CameraImage(
                camera.channel.lower(),
                _read_image(camera),
                np.array(camera.intrinsics, np.float64),
                np.linalg.inv(camera.map_from_sensor) @ map_from_grid,
            )
            for camera in cameras
        )

    @cached_property
    def _data_of_scene(self) -> dict[str, list[dict]]:
        """The sample_data rows of LiDARs and cameras by scene token."""
        scene_of_sample = {sample["token"]: sample["scene_token"] for sample in self.tables.sample}
        by_scene = defaultdict(list)
        for data in self.tables.sample_data:
            if data["sensor_modality"] in ("lidar", "camera"):
                by_scene[scene_of_sample[data["sample_token"]]].append(data)
        return by_scene

    @cached_property
    def _lidarseg_files(self) -> dict[str, str]:
        """Files of point labels, below the root, by sample_data token."""
        table = self.root / self.version / "lidarseg.json"
        return {row["sample_data_token"]: row["filename"] for row in (load_table(table) if table.is_file() else ())}

    @cached_property
    def _label_of_category(self) -> np.ndarray:
        """(256,) uint8: nuScenes-lidarseg's 32 categories to our labels."""
        from nuscenes.eval.lidarseg.utils import LidarsegClassMapper

        categories = self.tables.category
        if not categories or "index" not in categories[0]:
            raise DatasetError(
                f"labels of points need {self.root / self.version / 'category.json'} as it comes with "
                f"nuScenes-lidarseg, which is missing"
            )
        self.tables.lidarseg_name2idx_mapping = {category["name"]: category["index"] for category in categories}
        table = np.full(256, IGNORE, np.uint8)
        for category, label in LidarsegClassMapper(self.tables).fine_idx_2_coarse_idx_mapping.items():
            table[category] = label or IGNORE
        return table


def read_sweep(path: Path) -> np.ndarray:
    """Read a ``.pcd.bin``: (N, 5) float32 x, y, z in metres in the LiDAR frame, raw intensity, ring."""
    data = _content(path)
    if not data or len(data) % 20:
        raise DatasetError(f"{path} is truncated: expected rows of 5 float32 (20 bytes), got {len(data)} bytes")
    return np.frombuffer(data, np.float32).reshape(-1, 5)


def sweep_points(raw: np.ndarray, grid_from_lidar: np.ndarray | None, intensity_max: float) -> np.ndarray:
    """Rows of `read_sweep` as (N, 4) float32 points of a frame; the rest as in `NuScenesReader.frame`."""
    points = np.empty((len(raw), 4), np.float32)
    points[:, :3] = raw[:, :3] if grid_from_lidar is None else _transform(raw[:, :3], grid_from_lidar)
    points[:, 3] = np.clip(raw[:, 3] / intensity_max, 0, 1)
    points[~are_returns(raw[:, :3]), :3] = np.nan  # as the node leaves them out, with rows as they were
    return points


def read_jpeg(path: Path) -> bytes:
    """Read the bytes of a JPEG file that is whole, with whatever follows the image."""
    data = _content(path)
    try:
        kind = inspect_image(data).kind
    except InvalidFrameError as error:
        raise DatasetError(f"{path} is not a whole JPEG file: {error}") from error
    if kind != "jpeg":
        raise DatasetError(f"{path} is not a whole JPEG file: got {kind}")
    return data


def _read_image(camera: SensorRecord) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    import cv2

    encoded = np.frombuffer(read_jpeg(camera.path), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != camera.size:
        raise DatasetError(
            f"{camera.path}: expected a JPEG of (height, width) {camera.size}, got "
            f"{'no image' if image is None else image.shape[:2]}"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _transform(points: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    return points.astype(np.float64) @ target_from_source[:3, :3].T + target_from_source[:3, 3]


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise DatasetError(f"{path} does not exist, but the tables name it")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {one_line(error)}") from error


def _only_version(root: Path) -> str:
    versions = sorted(table.parent.name for table in root.glob("*/sample_data.json"))
    if len(versions) != 1:
        raise DatasetError(f"expected {root} to hold the tables of one version (or name one), got {versions or 'none'}")
    return versions[0]


def _only_lidar(sensors: list[dict], root: Path) -> str:
    channels = sorted(sensor["channel"] for sensor in sensors if sensor["modality"] == "lidar")
    if len(channels) != 1:
        raise DatasetError(f"expected {root} to have one LiDAR (or name one), got {channels or 'none'}")
    return channels[0]
