"""What is written of a sweep: its labels in every form, and what it and its images were, for a nuScenes root."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage

from ..core.encoded_image import inspect_image
from ..core.frames import CameraImage, OccupancyGrid
from ..core.labels import EMPTY, IGNORE, SemanticClass
from ..datasets.nuscenes import INTENSITY_MAX
from ..datasets.nuscenes_rows import token
from ..datasets.openoccupancy import row_file, rows_of
from .answer_bag import answer_bag, serialized
from .bag_frames import Moment
from .hindsight import Sweep
from .plan import Settings
from .store import Store

LIDAR = "LIDAR_TOP"
JPEG_QUALITY = 95


class SweepFiles:
    """Writes the files of the sweeps of one recording.

    Attributes:
        faults: what could not be written as it should, by cause.
    """

    def __init__(self, store: Store, recording: str, settings: Settings, classes: tuple[SemanticClass, ...]) -> None:
        self._store, self._recording, self._settings, self._classes = store, recording, settings, classes
        self._seen, self.faults = 0, Counter[str]()
        self._messages: list[tuple[int, bytes]] = []  # a megabyte each

    def add_inputs(self, moment: Moment) -> dict[str, Any]:
        """Write sweep and images where a nuScenes root is wanted; returns the beginning of the sweep's record."""
        frame = moment.frame
        every = self._settings.picture_every
        record = {"stamp_ns": frame.stamp_ns, "token": token("data", self._recording, LIDAR, frame.stamp_ns)}
        if every and self._seen % every == 0:
            record["images"] = {camera.name: camera.image for camera in frame.cameras}  # until it is drawn
        self._seen += 1
        record["cameras"] = [camera.name for camera in frame.cameras]
        if "nuscenes" in self._settings.formats:
            record |= self._add_sensor_data(moment)
        return record

    def _add_sensor_data(self, moment: Moment) -> dict[str, Any]:
        if moment.fixed_from_grid is None:
            self.faults["left out of the nuScenes root: no pose"] += 1
            return {}
        frame = moment.frame
        rows = np.concatenate([frame.points, np.zeros((len(frame.points), 1), np.float32)], 1)
        rows[:, 3] *= INTENSITY_MAX
        self._store.write(sample_file(self._recording, LIDAR, frame.stamp_ns), rows.astype("<f4").tobytes())
        kept = [camera for camera in frame.cameras if camera.lens is None]
        self.faults["image left out of the nuScenes root: not rectified"] += len(frame.cameras) - len(kept)
        return {
            "map_from_grid": moment.fixed_from_grid.tolist(),
            "sensors": {camera.name: self._add_image(camera, moment) for camera in kept},
        }

    def _add_image(self, camera: CameraImage, moment: Moment) -> dict[str, Any]:
        """Write an image, as it came where that is a JPEG file; returns its record."""
        message, channel = moment.images[camera.name], camera.name.upper()
        data = bytes(message.data) if isinstance(message, CompressedImage) else b""
        file = sample_file(self._recording, channel, moment.frame.stamp_ns)
        self._store.write(file, data if data and inspect_image(data).kind == "jpeg" else _jpeg(camera.image))
        return {
            "channel": channel,
            "file": file,
            "size": list(camera.image.shape[:2]),
            "intrinsics": camera.intrinsics.tolist(),
            "camera_from_grid": camera.camera_from_grid.tolist(),
        }

    def add_labels(self, sweep: Sweep, grid: OccupancyGrid) -> dict[str, Any]:
        """Write the labels of a sweep; returns its record."""
        record = dict(sweep.record)
        images = record.pop("images", None)
        name = record["token"]
        if "npz" in self._settings.formats:
            self._store.write(f"occupancy/{name}.npz", _npz(grid))
        if "rows" in self._settings.formats:
            path = row_file(Path(), token("scene", self._recording), name)
            self._store.write(path.as_posix(), _npy(rows_of(grid.labels)))
        if "mcap" in self._settings.formats:
            self._messages.append((sweep.frame.stamp_ns, serialized(grid)))
        if images is not None:
            self._store.write(f"pictures/{self._recording}/{sweep.frame.stamp_ns}.png", self._picture(grid, images))
        return {**record, "voxels": self._counts(grid)}

    def close(self, part: str) -> None:
        """Write what is one file for the whole slice, which is called `part`."""
        if self._messages:
            self._store.write(f"mcap/{part}.mcap", answer_bag(self._messages))

    def _counts(self, grid: OccupancyGrid) -> dict[str, int]:
        counts = np.bincount(grid.labels.ravel(), minlength=256)
        by_class = {each.name: int(counts[each.label]) for each in self._classes}
        return {
            **by_class,
            "free": int(counts[EMPTY]),
            "unknown": int(counts[IGNORE]),
            "of these remembered": len(grid.remembered),
        }

    def _picture(self, grid: OccupancyGrid, images: dict[str, np.ndarray]) -> bytes:
        from PIL import Image

        from ..viz.picture import frame_picture

        buffer = io.BytesIO()
        Image.fromarray(frame_picture(grid, self._classes, images)).save(buffer, "PNG")
        return buffer.getvalue()


def sample_file(recording: str, channel: str, stamp_ns: int) -> str:
    """Name the file of a sweep or an image below the root."""
    ending = "pcd.bin" if channel == LIDAR else "jpg"
    return f"samples/{channel}/{recording}__{channel}__{stamp_ns // 1000}.{ending}"


def _npz(grid: OccupancyGrid) -> bytes:
    """`semantics` (X, Y, Z) uint8, 0 free, 255 unknown; `remembered` (M,) flat voxels, z fastest; and where the model
    says how sure it is, `occupancy` and `class_confidence`, (X, Y, Z) uint8, 0..255 for 0..1."""
    arrays = {"semantics": grid.labels, "remembered": grid.remembered.astype(np.int32)}
    if grid.occupancy is not None:
        arrays |= {"occupancy": grid.occupancy, "class_confidence": grid.class_confidence}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _jpeg(image: np.ndarray) -> bytes:
    import cv2

    return cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
