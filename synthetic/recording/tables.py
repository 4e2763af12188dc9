"""The tables of the nuScenes format for synthetic drives."""

import numpy as np

from occfusion_ros.datasets.nuscenes_rows import CATEGORIES, fixed_tables, linked, quaternion, token

from ..drive import SyntheticDrive

VERSION = "v1.0-mini"
MAP_FILE = "maps/empty.png"
_EPOCH = 1_600_000_000_000_000  # microseconds
_CATEGORY_OF_LABEL = (
    "noise",
    "movable_object.barrier",
    "vehicle.bicycle",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.motorcycle",
    "human.pedestrian.adult",
    "movable_object.trafficcone",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.vegetation",
)

LIDARSEG_INDEX = np.zeros(256, np.uint8)  # label to nuScenes-lidarseg's index; what has no label becomes noise
LIDARSEG_INDEX[:17] = [CATEGORIES.index(name) for name in _CATEGORY_OF_LABEL]


def scene_name(seed: int) -> str:
    """Name of the scene of a drive."""
    return f"synthetic-{seed:06d}"


def stamp(seed: int, index: int, hz: float) -> int:
    """Microseconds of a frame; drives are 1000 s apart."""
    return _EPOCH + seed % 400_000 * 1_000_000_000 + round(index * 1e6 / hz)


def scene_token(seed: int) -> str:
    """Token of the scene of a drive."""
    return token("scene", seed)


def data_token(seed: int, channel: str, time: int) -> str:
    """sample_data token of a measurement."""
    return token("data", seed, channel, time)


def sample_file(seed: int, channel: str, time: int) -> str:
    """Path of a measurement below the root."""
    ending = "pcd.bin" if channel.startswith("LIDAR") else "jpg"
    return f"samples/{channel}/{scene_name(seed)}__{channel}__{time}.{ending}"


def lidarseg_file(lidar_token: str) -> str:
    """Path of a sweep's point labels below the root."""
    return f"lidarseg/{VERSION}/{lidar_token}_lidarseg.bin"


def all_tables(records: list[dict], drive: SyntheticDrive) -> dict[str, list[dict]]:
    """Every table by name, from the records of all frames in order and a drive that has the rig."""
    scenes: dict[int, list[dict]] = {}
    for record in records:
        scenes.setdefault(record["seed"], []).append(record)
    sizes = {drive.rig.lidar.name: (0, 0)} | {camera.name: camera.size for camera in drive.cameras}
    result = fixed_tables() | _rig_tables(drive) | _log_tables(list(scenes))
    for name in ("scene", "sample", "sample_data", "ego_pose", "lidarseg", "instance", "sample_annotation"):
        result[name] = []
    for seed, frames in scenes.items():
        result["scene"].append(_scene(seed, frames))
        result["sample"] += _samples(seed, frames)
        for channel, size in sizes.items():
            data, poses = _measurements(seed, frames, channel, size)
            result["sample_data"] += data
            result["ego_pose"] += poses
        tokens = [data_token(seed, drive.rig.lidar.name, frame["stamp"]) for frame in frames]
        result["lidarseg"] += [{"token": t, "sample_data_token": t, "filename": lidarseg_file(t)} for t in tokens]
        instances, annotations = _objects(seed, frames)
        result["instance"] += instances
        result["sample_annotation"] += annotations
    return result


def _rig_tables(drive: SyntheticDrive) -> dict[str, list[dict]]:
    """sensor and calibrated_sensor rows."""
    mounts = {drive.rig.lidar.name: (drive.rig.lidar.base_from_lidar, [])}
    mounts |= {camera.name: (camera.base_from_camera, camera.intrinsics.tolist()) for camera in drive.cameras}
    sensors, calibrations = [], []
    for channel, (pose, intrinsics) in mounts.items():
        sensor = token("sensor", channel)
        sensors.append({"token": sensor, "channel": channel, "modality": "camera" if intrinsics else "lidar"})
        calibrations.append(
            {
                "token": token("calibration", channel),
                "sensor_token": sensor,
                "translation": pose[:3, 3].tolist(),
                "rotation": quaternion(pose),
                "camera_intrinsic": intrinsics,
            }
        )
    return {"sensor": sensors, "calibrated_sensor": calibrations}


def _log_tables(seeds: list[int]) -> dict[str, list[dict]]:
    """log and map rows."""
    common = {"vehicle": "synthetic", "date_captured": "2020-09-13", "location": "synthetic"}
    logs = [{"token": token("log", seed), "logfile": scene_name(seed), **common} for seed in seeds]
    tokens = [log["token"] for log in logs]
    return {
        "log": logs,
        "map": [
            {"token": token("map"), "category": "semantic_prior", "filename": MAP_FILE, "log_tokens": tokens},
        ],
    }


def _samples(seed: int, frames: list[dict]) -> list[dict]:
    """sample rows of one scene."""
    scene = scene_token(seed)
    stamps = [frame["stamp"] for frame in frames]
    return linked([{"token": token("sample", seed, t), "timestamp": t, "scene_token": scene} for t in stamps])


def _scene(seed: int, frames: list[dict]) -> dict:
    return {
        "token": scene_token(seed),
        "log_token": token("log", seed),
        "nbr_samples": len(frames),
        "name": scene_name(seed),
        "first_sample_token": token("sample", seed, frames[0]["stamp"]),
        "last_sample_token": token("sample", seed, frames[-1]["stamp"]),
        "description": f"procedural drive, seed {seed}",
    }


def _measurements(seed: int, frames: list[dict], channel: str, size: tuple[int, int]) -> tuple[list[dict], list[dict]]:
    """sample_data and ego_pose rows of one sensor in one scene."""
    data, poses = [], []
    for frame in frames:
        time, pose = frame["stamp"], np.array(frame["map_from_base"])
        mine = data_token(seed, channel, time)
        data.append(
            {
                "token": mine,
                "sample_token": token("sample", seed, time),
                "ego_pose_token": mine,
                "calibrated_sensor_token": token("calibration", channel),
                "timestamp": time,
                "is_key_frame": True,
                "fileformat": "jpg" if size[0] else "pcd",
                "height": size[0],
                "width": size[1],
                "filename": sample_file(seed, channel, time),
            }
        )
        poses.append(
            {"token": mine, "timestamp": time, "translation": pose[:3, 3].tolist(), "rotation": quaternion(pose)}
        )
    return linked(data), poses


def _objects(seed: int, frames: list[dict]) -> tuple[list[dict], list[dict]]:
    """instance and sample_annotation rows of one scene."""
    seen: dict[str, list[dict]] = {}
    category = {}
    for frame in frames:
        for box in frame["boxes"]:
            row = {
                "token": token("annotation", seed, frame["stamp"], box["identity"]),
                "sample_token": token("sample", seed, frame["stamp"]),
                "instance_token": token("instance", seed, box["identity"]),
                "visibility_token": "4" if box["points"] else "1",
                "attribute_tokens": [],
                "translation": box["center"],
                "size": box["size"],
                "rotation": box["rotation"],
                "num_lidar_pts": box["points"],
                "num_radar_pts": 0,
            }
            seen.setdefault(box["identity"], []).append(row)
            category[box["identity"]] = token("category", _CATEGORY_OF_LABEL[box["label"]])
    instances = [
        {
            "token": rows[0]["instance_token"],
            "category_token": category[identity],
            "nbr_annotations": len(rows),
            "first_annotation_token": rows[0]["token"],
            "last_annotation_token": rows[-1]["token"],
        }
        for identity, rows in seen.items()
    ]
    return instances, [row for rows in seen.values() for row in linked(rows)]
