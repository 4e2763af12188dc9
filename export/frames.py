"""Frames on which exported networks are compared with PyTorch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from models.evaluation.nuscenes_frames import NuScenesFrames
from models.training.augment import NO_DRIFT, draw_past
from models.training.past import past_of_drive
from occfusion_ros.core.contract import ModelContract
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.past_sweeps import MOST_SWEEPS, brought_to_present
from occfusion_ros.datasets.nuscenes import NuScenesReader
from synthetic import SyntheticDrive, seeds

SYNTHETIC_SEED = seeds.TESTS[7]
SPACING = 8  # key frames between two synthetic frames
ALL_HAVE_SOME = replace(NO_DRIFT, no_past=0)  # earlier sweeps


def parity_frames(root: Path | None, count: int, contract: ModelContract) -> dict[str, SensorFrame]:
    """`count` frames of a nuScenes data root (of synthetic drives without one), then cases with fewer cameras.

    Here as below a model with lags is told of earlier sweeps.
    """
    frames = nuscenes_frames(root, count, contract) if root else _synthetic(count, contract)
    whole = max(frames.values(), key=lambda frame: len(frame.cameras))
    for name, cameras in {"one camera": 1, "no cameras": 0}.items():
        frames[name] = replace(whole, cameras=whole.cameras[:cameras])
    return {name: replace(frame, cameras=frame.cameras[: contract.max_cameras]) for name, frame in frames.items()}


def recorded_frames(root: Path, contract: ModelContract) -> NuScenesFrames:
    """The frames of a nuScenes data root."""
    return NuScenesFrames.for_model(NuScenesReader(root), contract, MOST_SWEEPS * contract.preprocessing.lags)


def nuscenes_frames(root: Path, count: int, contract: ModelContract) -> dict[str, SensorFrame]:
    """Samples spread evenly over a nuScenes data root, in the grid frame."""
    recorded = recorded_frames(root, contract)
    reader = recorded.reader
    tokens = [(scene, token) for scene in reader.scenes() for token in reader.samples(scene)]
    if not tokens:
        raise DatasetError(f"no samples in {root}")
    step = max(1, len(tokens) // count)
    return {f"{scene} {token[:8]}": recorded.frame(scene, token) for scene, token in tokens[::step][:count]}


def synthetic_frame(drive: SyntheticDrive, index: int, contract: ModelContract) -> SensorFrame:
    """A frame of a drive, with some number of earlier sweeps for a model with lags; frame 0 has none before it."""
    made = drive.frame(index)
    if not contract.preprocessing.lags:
        return made.frame
    rng = np.random.default_rng([drive.seed, index])
    past = past_of_drive(drive, index, made, contract.preprocessing.ego_radius, rng)
    return replace(made.frame, past=brought_to_present(draw_past(past, ALL_HAVE_SOME, rng)))


def _synthetic(count: int, contract: ModelContract) -> dict[str, SensorFrame]:
    drive = SyntheticDrive(SYNTHETIC_SEED, image_size=(450, 800))
    first = int(contract.preprocessing.lags)
    return {
        f"synthetic {n * SPACING}": synthetic_frame(drive, n * SPACING, contract) for n in range(first, first + count)
    }
