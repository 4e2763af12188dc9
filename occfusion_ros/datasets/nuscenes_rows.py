"""Rows of nuScenes' tables that all roots written here have in common."""

from hashlib import md5
from typing import Any

import numpy as np

CATEGORIES = (
    "noise",
    "animal",
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.barrier",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.other",
    "static.vegetation",
    "vehicle.ego",
)


def token(*parts: object) -> str:
    """Make a stable token of 32 digits."""
    return md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def quaternion(transform: np.ndarray) -> list[float]:
    """Give the unit quaternion (w, x, y, z) of a (4, 4) rigid transform: the eigenvector of Bar-Itzhack's matrix."""
    r = transform
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]  # eigh reads the lower triangle
    return (np.array([w, x, y, z]) * (1 if w >= 0 else -1)).tolist()


def fixed_tables() -> dict[str, list[dict[str, Any]]]:
    """Give the tables that are the same in every data root."""
    levels = enumerate(("v0-40", "v40-60", "v60-80", "v80-100"), 1)
    return {
        "attribute": [],
        "category": [
            {"token": token("category", name), "name": name, "description": name, "index": index}
            for index, name in enumerate(CATEGORIES)
        ],
        "visibility": [{"token": str(i), "level": level, "description": level} for i, level in levels],
    }


def linked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add `prev` and `next` tokens to rows in the order of time."""
    for i, row in enumerate(rows):
        row["prev"] = rows[i - 1]["token"] if i else ""
        row["next"] = rows[i + 1]["token"] if i + 1 < len(rows) else ""
    return rows


def empty_map() -> bytes:
    """Give the empty mask, a PNG file, that readers of the format expect."""
    import cv2

    return cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
