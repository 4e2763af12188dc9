"""A data root in nuScenes' exact layout, small enough to check by hand.

The vehicle drives along the map's x axis at 10 m/s. One landmark stands at `LANDMARK` in the map; every sweep's first
point is its return, so it must project to where each camera sees it.
"""

import json
from pathlib import Path

import cv2
import numpy as np

SCENE = "scene-0001"
START_US = 1_600_000_000_123_456
LANDMARK = np.array([40.0, 2.0, 1.5])  # metres, map frame
SIZE = (120, 160)  # height, width
FOCAL, CENTER = 100.0, (79.5, 49.5)
LIDAR_MOUNT, LIDAR_ROTATION = [1.0, 0.0, 1.84], [0.5**0.5, 0.0, 0.0, -(0.5**0.5)]  # x right, y forward
FRONT_MOUNT, FRONT_ROTATION = [1.5, 0.0, 1.5], [0.5, -0.5, 0.5, -0.5]  # optical axes, looking forward
BACK_MOUNT, BACK_ROTATION = [-0.5, 0.0, 1.5], [0.5, -0.5, -0.5, 0.5]  # looking backward
FIRST_SAMPLE = {"CAM_FRONT": -35_000, "CAM_BACK": -10_000, "LIDAR_TOP": 0, "RADAR_FRONT": 1_000}  # microseconds
SWEEP_US, SAMPLE_US = 50_000, 100_000
CATEGORIES = ["noise", "animal", "vehicle.car", "flat.driveable_surface", "static.vegetation"]
CAR = 2


def vehicle_x(stamp_us: int) -> float:
    """Metres along the map's x axis."""
    return 10.0 + (stamp_us - START_US) * 1e-5


def landmark_in_lidar(stamp_us: int) -> list[float]:
    """By hand: x right, y forward, z up from the LiDAR."""
    return [-LANDMARK[1], LANDMARK[0] - vehicle_x(stamp_us) - LIDAR_MOUNT[0], LANDMARK[2] - LIDAR_MOUNT[2]]


def landmark_in_front_image(stamp_us: int) -> list[float]:
    """By hand: column and row in pixels."""
    depth = LANDMARK[0] - vehicle_x(stamp_us) - FRONT_MOUNT[0]
    return [CENTER[0] - FOCAL * LANDMARK[1] / depth, CENTER[1] + FOCAL * (FRONT_MOUNT[2] - LANDMARK[2]) / depth]


def sweep(stamp_us: int) -> np.ndarray:
    """(5, 5) float32 as in a .pcd.bin file: the landmark, then road points; intensity 0-255, ring."""
    road = [[x, 5.0, -1.84, 255.0, 2.0] for x in (-3.0, -1.0, 1.0, 3.0)]
    return np.array([[*landmark_in_lidar(stamp_us), 51.0, 7.0], *road], np.float32)


class TinyRoot:
    """Writes the root on construction.

    Args:
        root: folder to fill.
        recalibrated: the front camera's calibration differs from sample to sample.
        samples: how many there are.
    """

    def __init__(self, root: Path, recalibrated: bool = False, samples: int = 2) -> None:
        self.root, self._recalibrated, self._samples = root, recalibrated, samples
        self.tables = {
            name: []
            for name in (
                "attribute",
                "visibility",
                "sample_annotation",
                "instance",
                "sample",
                "sample_data",
                "ego_pose",
                "calibrated_sensor",
                "lidarseg",
            )
        }
        self.tables |= {
            "category": [{"token": name, "name": name, "index": i} for i, name in enumerate(CATEGORIES)],
            "sensor": [
                {"token": name, "channel": name, "modality": kind}
                for name, kind in [
                    ("LIDAR_TOP", "lidar"),
                    ("CAM_FRONT", "camera"),
                    ("CAM_BACK", "camera"),
                    ("RADAR_FRONT", "radar"),
                ]
            ],
            "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": ""}],
            "map": [{"token": "map", "category": "", "filename": "maps/empty.png", "log_tokens": ["log"]}],
            "scene": [
                {
                    "token": "scene",
                    "log_token": "log",
                    "nbr_samples": samples,
                    "first_sample_token": "sample0",
                    "last_sample_token": f"sample{samples - 1}",
                    "name": SCENE,
                    "description": "",
                }
            ],
        }
        self._file("maps/empty.png", cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes())
        for index in range(samples):
            self._sample(index)
        self._data("LIDAR_TOP", "sample0", START_US + SWEEP_US, key_frame=False)
        self.save()

    def save(self) -> None:
        """Write the tables, for example after a change."""
        for name, rows in self.tables.items():
            self._file(f"v1.0-mini/{name}.json", json.dumps(rows).encode())

    def path(self, channel: str, index: int = 0) -> Path:
        """The channel's file of a key frame."""
        return self.root / next(
            data["filename"]
            for data in self.tables["sample_data"]
            if data["is_key_frame"]
            and data["sample_token"] == f"sample{index}"
            and data["filename"].split("/")[1] == channel
        )

    def _sample(self, index: int) -> None:
        stamp, token = START_US + index * SAMPLE_US, f"sample{index}"
        self.tables["sample"].append(
            {
                "token": token,
                "timestamp": stamp,
                "scene_token": "scene",
                "prev": f"sample{index - 1}" if index else "",
                "next": f"sample{index + 1}" if index + 1 < self._samples else "",
            }
        )
        for channel, offset in FIRST_SAMPLE.items():
            self._data(channel, token, stamp + offset, key_frame=True)
        lidar = f"LIDAR_TOP{stamp}"
        self.tables["lidarseg"].append(
            {"token": lidar, "sample_data_token": lidar, "filename": f"lidarseg/v1.0-mini/{lidar}_lidarseg.bin"}
        )
        self._file(f"lidarseg/v1.0-mini/{lidar}_lidarseg.bin", bytes([CAR, 3, 3, 3, 0]))
        self.tables["instance"].append({"token": f"car{index}", "category_token": "vehicle.car"})
        self.tables["sample_annotation"].append(
            {
                "token": f"box{index}",
                "sample_token": token,
                "instance_token": f"car{index}",
                "visibility_token": "",
                "attribute_tokens": [],
                "translation": LANDMARK.tolist(),
                "size": [1.0, 2.0, 3.0],
                "rotation": [1, 0, 0, 0],
                "prev": "",
                "next": "",
                "num_lidar_pts": 1,
                "num_radar_pts": 0,
            }
        )

    def _data(self, channel: str, sample: str, stamp: int, key_frame: bool) -> None:
        token, kind = f"{channel}{stamp}", channel.split("_")[0]
        suffix = {"LIDAR": "pcd.bin", "CAM": "jpg", "RADAR": "pcd"}[kind]
        filename = f"{'samples' if key_frame else 'sweeps'}/{channel}/tiny__{channel}__{stamp}.{suffix}"
        camera = kind == "CAM"
        self.tables["ego_pose"].append(
            {
                "token": token,
                "timestamp": stamp,
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "translation": [vehicle_x(stamp), 0.0, 0.0],
            }
        )
        self.tables["sample_data"].append(
            {
                "token": token,
                "sample_token": sample,
                "ego_pose_token": token,
                "timestamp": stamp,
                "fileformat": suffix,
                "calibrated_sensor_token": self._calibration(channel, sample),
                "is_key_frame": key_frame,
                "prev": "",
                "next": "",
                "height": SIZE[0] if camera else 0,
                "width": SIZE[1] if camera else 0,
                "filename": filename,
            }
        )
        image = np.random.default_rng(stamp).integers(0, 255, (*SIZE, 3), np.uint8)
        self._file(filename, cv2.imencode(".jpg", image)[1].tobytes() if camera else sweep(stamp).tobytes())

    def _calibration(self, channel: str, sample: str) -> str:
        mounts = {"CAM_FRONT": (FRONT_MOUNT, FRONT_ROTATION), "CAM_BACK": (BACK_MOUNT, BACK_ROTATION)}
        translation, rotation = mounts.get(channel, (LIDAR_MOUNT, LIDAR_ROTATION))
        if self._recalibrated and channel == "CAM_FRONT" and sample == "sample1":
            translation = [translation[0] + 0.01, *translation[1:]]
        intrinsics = [[FOCAL, 0.0, CENTER[0]], [0.0, FOCAL, CENTER[1]], [0.0, 0.0, 1.0]]
        row = {
            "token": f"{channel}-{sample}",
            "sensor_token": channel,
            "translation": translation,
            "rotation": rotation,
            "camera_intrinsic": intrinsics if channel in mounts else [],
        }
        if row not in self.tables["calibrated_sensor"]:
            self.tables["calibrated_sensor"].append(row)
        return row["token"]

    def _file(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
