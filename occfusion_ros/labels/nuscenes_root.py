"""The tables of a nuScenes root, from what was written of all sweeps."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..datasets.nuscenes import GRID_FROM_VEHICLE
from ..datasets.nuscenes_rows import empty_map, fixed_tables, linked, quaternion, token
from .store import Store
from .sweep_files import LIDAR, sample_file

VERSION = "v1.0-labels"
MAP_FILE = "maps/empty.png"
Row = dict[str, Any]


def write_tables(store: Store, sweeps: Iterable[tuple[str, Row]]) -> None:
    """Write all tables.

    Args:
        sweeps: recording and record (see `SweepFiles`) of each, in the order of time within a recording; those without
            a pose are left out.
    """
    scenes: dict[str, list[Row]] = {}
    for recording, record in sweeps:
        if "map_from_grid" in record:
            scenes.setdefault(recording, []).append(record)
    tables = fixed_tables() | {
        name: []
        for name in (
            "scene sample sample_data ego_pose sensor calibrated_sensor log map instance sample_annotation".split()
        )
    }
    channels = {LIDAR} | {
        camera["channel"] for part in scenes.values() for each in part for camera in each["sensors"].values()
    }
    for channel in sorted(channels):
        kind = "lidar" if channel == LIDAR else "camera"
        tables["sensor"].append({"token": token("sensor", channel), "channel": channel, "modality": kind})
    for name, records in scenes.items():
        _add_scene(tables, name, records)
    logs = [row["token"] for row in tables["log"]]
    tables["map"] = [{"token": token("map"), "category": "semantic_prior", "filename": MAP_FILE, "log_tokens": logs}]
    store.write(MAP_FILE, empty_map())
    for name, rows in tables.items():
        store.write(f"{VERSION}/{name}.json", json.dumps(rows, indent=0).encode())


def _add_scene(tables: dict[str, list[Row]], name: str, records: list[Row]) -> None:
    scene, data = token("scene", name), {}
    samples = [
        {"token": token("sample", name, record["stamp_ns"]), "timestamp": _micro(record), "scene_token": scene}
        for record in records
    ]
    tables["sample"] += linked(samples)
    tables["log"].append(
        {"token": token("log", name), "logfile": name, "vehicle": "", "date_captured": "", "location": ""}
    )
    tables["scene"].append(
        {
            "token": scene,
            "log_token": token("log", name),
            "nbr_samples": len(samples),
            "name": name,
            "first_sample_token": samples[0]["token"],
            "last_sample_token": samples[-1]["token"],
            "description": "",
        }
    )
    for record, sample in zip(records, samples):
        pose = np.array(record["map_from_grid"]) @ GRID_FROM_VEHICLE
        tables["ego_pose"].append({"token": record["token"], "timestamp": _micro(record), **_pose(pose)})
        for row, calibration in _measurements(name, record, sample["token"]):
            data.setdefault(calibration["sensor_token"], []).append(row)
            tables["calibrated_sensor"].append(calibration)
    for rows in data.values():
        tables["sample_data"] += linked(rows)


def _measurements(name: str, record: Row, sample: str) -> list[tuple[Row, Row]]:
    """sample_data and calibrated_sensor rows of a sweep and its images.

    The images are placed as they stood at their own stamps, so that all poses of a sample are that of its sweep.
    """
    vehicle_from_grid = np.linalg.inv(GRID_FROM_VEHICLE)
    sweep = sample_file(name, LIDAR, record["stamp_ns"])
    found = [(LIDAR, sweep, (0, 0), [], vehicle_from_grid)]
    for camera in record["sensors"].values():
        mount = vehicle_from_grid @ np.linalg.inv(np.array(camera["camera_from_grid"]))
        found.append((camera["channel"], camera["file"], camera["size"], camera["intrinsics"], mount))
    rows = []
    for channel, file, size, intrinsics, mount in found:
        own = record["token"] if channel == LIDAR else token("data", name, channel, record["stamp_ns"])
        row = {
            "token": own,
            "sample_token": sample,
            "ego_pose_token": record["token"],
            "calibrated_sensor_token": own,
            "timestamp": _micro(record),
            "is_key_frame": True,
            "fileformat": "pcd" if channel == LIDAR else "jpg",
            "height": size[0],
            "width": size[1],
            "filename": file,
        }
        calibration = {
            "token": own,
            "sensor_token": token("sensor", channel),
            **_pose(mount),
            "camera_intrinsic": intrinsics,
        }
        rows.append((row, calibration))
    return rows


def _pose(matrix: np.ndarray) -> Row:
    return {"translation": matrix[:3, 3].tolist(), "rotation": quaternion(matrix)}


def _micro(record: Row) -> int:
    return record["stamp_ns"] // 1000
