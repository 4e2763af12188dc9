"""Drives to measure on: frames in their order, each with its prediction, truth and pose."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.evaluation.nuscenes_frames import NuScenesFrames
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive
from synthetic.seeds import VALIDATION

SYNTHETIC_FRAMES = 8
SYNTHETIC_DRIVES = 2


@dataclass(frozen=True)
class Moment:
    """One frame of a drive.

    Attributes:
        predicted: what the network says of it alone.
        doubtful: the same, with the empty voxels that it does not surely call free told apart, as IGNORE.
        frame: its sweep; images are left out, to save memory.
        truth: (X, Y, Z) uint8, 255 where not observed.
        fixed_from_grid: (4, 4) float64, metres.
        sensors: (N, 3) float64 metres, grid frame: where rays of RayIoU may start.
    """

    predicted: OccupancyGrid
    doubtful: OccupancyGrid
    frame: SensorFrame
    truth: np.ndarray
    fixed_from_grid: np.ndarray
    sensors: np.ndarray


def recorded_drives(pipeline: Pipeline, root: Path) -> Iterator[tuple[str, list[Moment]]]:
    """Name and moments of the scenes of a data root in which every key frame has a truth and something precedes it.

    Raises:
        DatasetError: there is none.
    """
    reader = NuScenesReader(root)
    frames, found = NuScenesFrames(reader), False
    for scene in reader.scenes():
        tokens = list(reader.samples(scene))
        truths = [reader.occupancy(token) for token in tokens]
        if len(tokens) < 2 or any(truth is None for truth in truths):
            continue
        found = True
        moments = []
        for token, truth in zip(tqdm(tokens, scene, unit="frame"), truths):
            frame = frames.frame(scene, token)
            moments.append(
                _moment(
                    pipeline, frame, truth, frames.map_from_grid(scene, token), frames.sensor_positions(scene, token)
                )
            )
        yield scene, moments
    if not found:
        raise DatasetError(f"{root}: expected a scene of two or more key frames that all have an occupancy truth")


def synthetic_drives(pipeline: Pipeline) -> Iterator[tuple[str, list[Moment]]]:
    """Name and moments of held-out synthetic drives, LiDAR and cameras; the truth is complete, hidden voxels too."""
    for seed in VALIDATION[:SYNTHETIC_DRIVES]:
        drive, moments = SyntheticDrive(seed), []
        for index in tqdm(range(SYNTHETIC_FRAMES), f"synthetic {seed}", unit="frame"):
            made = drive.frame(index)
            origin = drive.rig.grid_from_lidar()[None, :3, 3]
            moments.append(_moment(pipeline, made.frame, made.semantics, made.map_from_grid, origin))
        yield f"synthetic {seed}", moments


def _moment(
    pipeline: Pipeline, frame: SensorFrame, truth: np.ndarray, fixed_from_grid: np.ndarray, sensors: np.ndarray
) -> Moment:
    pipeline.free_below = NodeParameters.free_below
    doubtful = pipeline(frame)
    predicted = replace(doubtful, labels=doubtful.labels * (doubtful.labels != IGNORE))
    return Moment(predicted, doubtful, replace(frame, cameras=()), truth, fixed_from_grid, sensors)
