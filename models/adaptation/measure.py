"""What a model scores on recordings before and after: by rays and by teachers, and by labels where a root has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, IGNORE
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.pipeline import Pipeline

from ..evaluation.metrics import ConfusionMatrix
from ..evaluation.nuscenes_frames import NuScenesFrames
from ..evaluation.point_groups import PointGroups, in_a_group, labels_at
from ..evaluation.sensor_consistency import Consistency, beyond_vehicle
from .teacher import Teacher
from .votes import VotedSweep, elect, of_teachers

LABELED_BY_MODEL = "manifest.json"  # what `label_bags` leaves in a root whose occupancy is a model's own answer
Frames = Mapping[str, Sequence[str]]  # sample tokens by scene


@dataclass
class Figures:
    """What one model scores.

    Attributes:
        rays: how far its occupancy agrees with returns and rays. teachers: returns that get the teachers' group.
        points: returns that get their true group. occupancy: against true occupancy. Both are truth, which no training
            has read.
        last: the answer to the last frame, to look at.
    """

    rays: Consistency = field(default_factory=Consistency)
    teachers: PointGroups = field(default_factory=PointGroups)
    points: PointGroups = field(default_factory=PointGroups)
    occupancy: ConfusionMatrix = field(default_factory=ConfusionMatrix)
    last: OccupancyGrid | None = None

    def as_json(self) -> dict[str, Any]:
        """Only what could be measured."""
        rays = {"returns": self.rays.returns, "passed": self.rays.passed}
        found: dict[str, Any] = {name: share.value for name, share in rays.items() if share.whole}
        for name, groups in (("teachers", self.teachers), ("points", self.points)):
            if groups.matrix.counts.any():
                found[name] = groups.as_json()
        if self.occupancy.counts.any():
            found |= {"iou": self.occupancy.iou(), "miou": self.occupancy.miou()}
        return found


def measure(
    pipelines: Mapping[str, Pipeline], recorded: NuScenesFrames, frames: Frames, teachers: Sequence[Teacher]
) -> dict[str, Figures]:
    """Figures of each pipeline on the same key frames."""
    result = {name: Figures() for name in pipelines}
    tokens = [(scene, token) for scene, some in frames.items() for token in some]
    for scene, token in tqdm(tokens, "measuring", unit="frame"):
        frame = recorded.frame(scene, token)
        finite = np.isfinite(frame.points).all(axis=1)
        points = frame.points[finite, :3].astype(np.float64)
        named = elect([VotedSweep(points, of_teachers(frame, points, teachers), np.eye(4))])[0]
        true, truth = recorded.reader.lidarseg(token), true_occupancy(recorded.reader, token)
        for name, pipeline in pipelines.items():
            answer, figures = pipeline(frame), result[name]
            inside, labels = labels_at(answer, points)
            figures.teachers.add(labels, named[inside])
            if true is not None:
                figures.points.add(labels, true[finite][inside])
            if truth is not None and answer.spec == GridSpec():
                figures.occupancy.add(answer.labels, truth)
            figures.rays.add_rays(
                answer.labels, beyond_vehicle(frame.points), answer.spec, recorded.ray_origin(scene, token)
            )
            figures.last = answer
    return result


def of_labels(labels: NuScenesReader, recorded: NuScenesFrames, frames: Frames) -> dict[str, float] | None:
    """How good labels are that were trained on; None without lidarseg labels to compare with.

    Args:
        labels: reads the labels, of the key frames of `recorded`.

    Returns:
        `named`: share of the returns of the seven groups that lie in a voxel with a class; `right`: share of those
        whose group is the true one.
    """
    groups, returns = PointGroups(), 0
    for scene, tokens in frames.items():
        for token in tokens:
            true, answer = recorded.reader.lidarseg(token), labels.occupancy(token)
            if true is None or answer is None:
                continue
            points = recorded.frame(scene, token).points[:, :3]
            inside, got = labels_at(OccupancyGrid(GridSpec(), answer, 0, "", (), ""), points)
            named = (got != EMPTY) & (got != IGNORE)
            groups.add(got[named], true[inside][named])
            returns += int(in_a_group(true[inside]).sum())
    return {"named": groups.matrix.counts.sum() / returns, "right": groups.right} if returns else None


def true_occupancy(reader: NuScenesReader, token: str) -> np.ndarray | None:
    """Occupancy labels of a key frame, see `NuScenesReader.occupancy`; None where they are a model's answers."""
    return None if (reader.root / LABELED_BY_MODEL).exists() else reader.occupancy(token)
