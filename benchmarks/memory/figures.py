"""Figures of the answers to a drive."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.evaluation.metrics import RangeBands
from models.evaluation.ray_iou import RayIoU, choose_origins
from occfusion_ros.core.labels import EMPTY, IGNORE, MOVABLE

from .drives import Moment


def accuracy(moments: Sequence[Moment], answers: Sequence[np.ndarray]) -> dict[str, Any]:
    """IoU and mIoU over a drive, IoU by range, flicker and ghosts; answers are (X, Y, Z) uint8 labels."""
    bands = RangeBands(moments[0].predicted.spec)
    for moment, labels in zip(moments, answers):
        bands.add(np.where(labels == IGNORE, EMPTY, labels), moment.truth)
    total, (changed, appeared) = bands.total(), flicker(moments, answers)
    return {
        "iou": total.iou(),
        "miou": total.miou(),
        "bands": {name: matrix.iou() for name, matrix in zip(bands.names, bands.matrices)},
        "flicker": changed,
        "appeared": appeared,
        "ghosts": sum(ghosts(moment.truth, labels) for moment, labels in zip(moments, answers)),
    }


def ray_iou(moments: Sequence[Moment], answers: Sequence[np.ndarray]) -> float | None:
    """RayIoU over a drive; None where no ray counts. It takes long."""
    grid = moments[0].predicted.spec
    rays = RayIoU(grid)
    for moment, labels in zip(moments, answers):
        rays.add(np.where(labels == IGNORE, EMPTY, labels), moment.truth, choose_origins(grid, moment.sensors))
    mean = rays.report()["mean"]
    return None if mean is None or np.isnan(mean) else mean


def flicker(moments: Sequence[Moment], answers: Sequence[np.ndarray]) -> tuple[float, float]:
    """Share of static voxels whose occupancy or class changes from a frame to the next, and of those that appear.

    Counted are voxels that are static and occupied by the truth of the later frame, and whose center lies in the grid
    of the earlier one.
    """
    changed = appeared = counted = 0
    for (before, earlier), (after, later) in zip(zip(moments, answers), list(zip(moments, answers))[1:]):
        grid = after.predicted.spec
        static = np.argwhere((after.truth != EMPTY) & (after.truth != IGNORE) & ~np.isin(after.truth, MOVABLE))
        matrix = np.linalg.inv(before.fixed_from_grid) @ after.fixed_from_grid
        places, inside = grid.indices(grid.centers(static) @ matrix[:3, :3].T + matrix[:3, 3])
        now, then = later[tuple(static[inside].T)], earlier[tuple(places[inside].T)]
        changed += np.count_nonzero(now != then)
        appeared += np.count_nonzero((then == EMPTY) & (now != EMPTY))
        counted += len(now)
    return (changed / counted, appeared / counted) if counted else (float("nan"), float("nan"))


def ghosts(truth: np.ndarray, labels: np.ndarray) -> int:
    """How many voxels are answered to hold something movable that are free by the truth."""
    return int(np.count_nonzero((truth == EMPTY) & np.isin(labels, MOVABLE)))


def known_space(moments: Sequence[Moment], answers: Sequence[np.ndarray]) -> dict[str, float]:
    """How much is known, and how often what is called free, or unknown, is occupied by the truth."""
    known = free = free_wrong = unknown = unknown_occupied = total = 0
    for moment, labels in zip(moments, answers):
        observed, occupied = moment.truth != IGNORE, (moment.truth != EMPTY) & (moment.truth != IGNORE)
        known += np.count_nonzero(labels != IGNORE)
        total += labels.size
        free += np.count_nonzero(observed & (labels == EMPTY))
        free_wrong += np.count_nonzero(occupied & (labels == EMPTY))
        unknown += np.count_nonzero(observed & (labels == IGNORE))
        unknown_occupied += np.count_nonzero(occupied & (labels == IGNORE))
    return {
        "known": known / total,
        "free_that_is_occupied": free_wrong / max(free, 1),
        "unknown_that_is_occupied": unknown_occupied / max(unknown, 1),
    }


def changed_poses(moments: Sequence[Moment], kind: str) -> list[np.ndarray | None]:
    """Poses of a drive, (4, 4) each, with a fault; None where a pose is missing.

    Args:
        kind: ``yaw`` (normal, 1 degree), ``position`` (normal, 10 cm along each axis), ``missing`` (every second one)
            or ``late`` (of 50 ms later, by the motion to the next frame).
    """
    rng, poses = np.random.default_rng(0), [moment.fixed_from_grid for moment in moments]
    if kind == "missing":
        return [None if i % 2 else pose for i, pose in enumerate(poses)]
    changed = []
    for i, pose in enumerate(poses):
        pose = pose.copy()
        if kind == "yaw":
            c, s = np.cos(angle := np.radians(rng.normal())), np.sin(angle)
            pose[:3, :3] = pose[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        elif kind == "position":
            pose[:3, 3] += rng.normal(0, 0.1, 3)
        else:
            a, b = (i, i + 1) if i + 1 < len(poses) else (i - 1, i)
            seconds = (moments[b].frame.stamp_ns - moments[a].frame.stamp_ns) / 1e9
            pose[:3, 3] += (poses[b][:3, 3] - poses[a][:3, 3]) * 0.05 / seconds
        changed.append(pose)
    return changed
