"""Votes on what each return of a sweep is: of teachers by every camera that shows it, and of the model itself.

Votes are counted again by voxel in a frame that stands still, over all sweeps of a block: a wall that one image names
wrongly is named rightly by others, and where a car has been, only its own sweep speaks of it, as the voxel is empty
before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS

from .sight import AT_BORDER, at_borders, visible
from .teacher import Teacher

VOXEL = 0.2  # metres, edge of the voxels in which votes are counted over time
NEAR = 0.4  # metres, edge of those in which the returns of one sweep support each other
OWN, TIME, BESIDE = 1.0, 2.0, 1.0  # weights of a return's own votes, of its voxel's over time, of those beside it
MODEL = 1.0  # weight of the model's own answer, times its confidence, relative to a teacher's
SURE = 0.6  # share of all votes that a class needs to become a label


@dataclass(frozen=True)
class VotedSweep:
    """A sweep with votes.

    Attributes:
        points: (N, 3) float64 metres, grid frame. votes: (N, 17) float32, 0 or more; those for `EMPTY` are 0.
        map_from_grid: (4, 4) float64.
    """

    points: np.ndarray
    votes: np.ndarray
    map_from_grid: np.ndarray


def of_teachers(frame: SensorFrame, points: np.ndarray, teachers: Sequence[Teacher]) -> np.ndarray:
    """Votes (N, 17) float32 of teachers on points (N, 3), by each camera of the frame that shows them."""
    votes = np.zeros((len(points), NUM_LABELS), np.float32)
    for teacher in teachers:
        for camera in frame.cameras:
            view = teacher.look(camera)
            which, pixels = visible(points, view.image_from_grid, view.size)
            height, width = view.classes.shape
            at = pixels[:, 1] * height // view.size[0], pixels[:, 0] * width // view.size[1]
            sure = np.where(at_borders(view.classes), AT_BORDER, 1) * view.sure
            votes[which] += teacher.votes[view.classes[at]] * sure[at][:, None]
    return votes


def of_model(answer: OccupancyGrid, points: np.ndarray, weight: float = MODEL) -> np.ndarray:
    """Votes (N, 17) float32 of a model's answer on points (N, 3): the class of their voxel, by its confidence."""
    votes = np.zeros((len(points), NUM_LABELS), np.float32)
    index, inside = answer.spec.indices(points)
    at = tuple(index[inside].T)
    labels = answer.labels[at]
    sure = np.ones(len(labels)) if answer.class_confidence is None else answer.class_confidence[at] / 255
    known = (labels != EMPTY) & (labels != IGNORE)
    votes[np.flatnonzero(inside)[known], labels[known]] = weight * sure[known]
    return votes


def elect(sweeps: Sequence[VotedSweep], sure: float = SURE) -> list[np.ndarray]:
    """The label of every return, (N,) uint8 for each sweep; 255 where no class has the share `sure` of the votes."""
    if not sweeps:
        return []
    lengths = [len(sweep.points) for sweep in sweeps]
    own = np.concatenate([sweep.votes for sweep in sweeps])
    in_map = np.concatenate([_moved(sweep.map_from_grid, sweep.points) for sweep in sweeps])
    over_time = _shares(own, _cells(in_map, VOXEL))
    parts = np.split(np.arange(len(own)), np.cumsum(lengths)[:-1])
    beside = np.concatenate([_shares(own[part], _cells(in_map[part], NEAR)) for part in parts])
    score = OWN * _normalized(own) + TIME * over_time + BESIDE * beside
    total = score.sum(1)
    best = score.argmax(1)
    won = (total > 0) & (score[np.arange(len(score)), best] >= sure * total)
    return np.split(np.where(won, best, IGNORE).astype(np.uint8), np.cumsum(lengths)[:-1])


def _cells(points: np.ndarray, edge: float) -> np.ndarray:
    """(N,) int64, a number for the cell of each point (N, 3); cells lie within 2**19 edges of the origin."""
    x, y, z = (np.floor(points / edge).astype(np.int64) + (1 << 19)).T
    return (x << 40) | (y << 20) | z


def _shares(votes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """(N, 17) float32: shares of the votes (N, 17) in the cell (N,) of each row."""
    _, cell = np.unique(cells, return_inverse=True)
    counts = np.stack([np.bincount(cell, column) for column in votes.T], 1).astype(np.float32)
    return _normalized(counts)[cell]


def _normalized(votes: np.ndarray) -> np.ndarray:
    """Rows that sum up to 1, or to 0 where nobody voted."""
    return votes / np.maximum(votes.sum(1, keepdims=True), 1e-6)


def _moved(target_from_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ target_from_source[:3, :3].T + target_from_source[:3, 3]
