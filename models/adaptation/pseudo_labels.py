"""Occupancy labels of a recording that has none: votes name the returns of each sweep, rays tell free space.

What `datasets.lidarseg_occupancy` makes of labeled sweeps is made here of voted ones. Objects that may move are taken
from the key frame's own sweep alone. Nobody annotated boxes: one is put around each group of their returns, so that
rays of other sweeps, which passed when the object was elsewhere, do not empty what it hides.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.labels import MOVABLE
from occfusion_ros.datasets.lidarseg_occupancy import WINDOW, LabeledSweep, ObjectBox, aggregate, refine_heights
from occfusion_ros.runtime.pipeline import Pipeline

from ..evaluation.nuscenes_frames import NuScenesFrames
from .teacher import Teacher
from .votes import VotedSweep, elect, of_model, of_teachers

BLOCK = 50  # sweeps that are voted on together: memory, and how far poses are trusted
CELL = 0.4  # metres, edge of the cells in which returns of one object touch
REACH = 51.2  # metres to each side in which objects are looked for
FEWEST = 5  # returns of an object; fewer are noise
MARGIN = 0.3  # metres around the returns of an object


def label(
    recorded: NuScenesFrames, scene: str, tokens: Sequence[str], pipeline: Pipeline, teachers: Sequence[Teacher]
) -> Iterator[tuple[str, np.ndarray]]:
    """Key frames `tokens` of a scene, in time order, with their labels (512, 512, 40) uint8, in the grid frame.

    No other sweep is looked at.
    """
    for start in range(0, len(tokens), BLOCK):
        block = tokens[start : start + BLOCK]
        frames = (recorded.frame(scene, token) for token in tqdm(block, "voting", unit="frame"))
        poses = (recorded.map_from_grid(scene, token) for token in block)
        voted = [vote(frame, pose, pipeline, teachers) for frame, pose in zip(frames, poses)]
        origins = [recorded.ray_origin(scene, token) for token in block]
        sweeps = dict(zip(block, as_labeled(voted, elect(voted), origins)))
        for token in tqdm(block, "casting rays", unit="frame"):
            yield token, aggregate(sweeps, token, WINDOW)


def vote(frame: SensorFrame, map_from_grid: np.ndarray, pipeline: Pipeline, teachers: Sequence[Teacher]) -> VotedSweep:
    """Have the model and the teachers vote on the returns of a frame."""
    points = frame.points[np.isfinite(frame.points).all(axis=1), :3].astype(np.float64)
    return VotedSweep(points, of_model(pipeline(frame), points) + of_teachers(frame, points, teachers), map_from_grid)


def as_labeled(
    voted: Sequence[VotedSweep], labels: Sequence[np.ndarray], origins: Sequence[np.ndarray]
) -> list[LabeledSweep]:
    """Sweeps as `aggregate` takes them, with refined pose heights and a box around each object that may move."""
    sweeps = []
    for number, (sweep, names, origin) in enumerate(zip(voted, labels, origins, strict=True)):
        boxes = {f"{number}-{index}": box for index, box in enumerate(objects(sweep.points, names))}
        sweeps.append(LabeledSweep(sweep.points, names, sweep.map_from_grid.copy(), boxes, origin))
    refine_heights(sweeps)
    return sweeps


def objects(points: np.ndarray, labels: np.ndarray) -> list[ObjectBox]:
    """Boxes, along the axes of the grid frame, around the returns of objects that may move; (N, 3) and (N,)."""
    import cv2

    chosen = points[np.isin(labels, MOVABLE) & (np.abs(points[:, :2]) < REACH).all(1)]
    cells = np.floor((chosen[:, :2] + REACH) / CELL).astype(int)
    mask = np.zeros((int(2 * REACH / CELL),) * 2, np.uint8)
    mask[tuple(cells.T)] = 1
    count, group = cv2.connectedComponents(mask, connectivity=8)
    group = group[tuple(cells.T)]
    return [
        _around(chosen[group == number]) for number in range(1, count) if np.count_nonzero(group == number) >= FEWEST
    ]


def _around(points: np.ndarray) -> ObjectBox:
    low, high = points.min(0), points.max(0)
    pose = np.eye(4)
    pose[:3, 3] = (low + high) / 2
    return ObjectBox(pose, (high - low) / 2 + MARGIN)
