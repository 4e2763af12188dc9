"""Frames on which exported networks are compared with PyTorch."""

from dataclasses import replace
from pathlib import Path

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import SensorFrame
from synthetic import seeds

SYNTHETIC_SEED = seeds.TESTS[7]
SPACING = 8  # key frames between two synthetic frames


def parity_frames(root: Path | None, count: int, max_cameras: int) -> dict[str, SensorFrame]:
    """`count` frames of a nuScenes data root (of synthetic drives without one), then cases with fewer cameras."""
    frames = nuscenes_frames(root, count) if root else _synthetic(count)
    whole = max(frames.values(), key=lambda frame: len(frame.cameras))
    cases = {"one camera": 1, "every second camera": 2, "no cameras": 0}
    for name, step in cases.items():
        cameras = whole.cameras[:step] if step < 2 else whole.cameras[::step]
        frames[name] = replace(whole, cameras=cameras)
    return {name: replace(frame, cameras=frame.cameras[:max_cameras]) for name, frame in frames.items()}


def nuscenes_frames(root: Path, count: int) -> dict[str, SensorFrame]:
    """Samples spread evenly over a nuScenes data root, in the grid frame."""
    from models.evaluation.nuscenes_frames import NuScenesFrames
    from occfusion_ros.datasets.nuscenes import NuScenesReader

    reader = NuScenesReader(root)
    tokens = [(scene, token) for scene in reader.scenes() for token in reader.samples(scene)]
    if not tokens:
        raise DatasetError(f"no samples in {root}")
    step = max(1, len(tokens) // count)
    recorded = NuScenesFrames(reader)
    return {f"{scene} {token[:8]}": recorded.frame(scene, token) for scene, token in tokens[::step][:count]}


def _synthetic(count: int) -> dict[str, SensorFrame]:
    from synthetic import SyntheticDrive

    drive = SyntheticDrive(SYNTHETIC_SEED, image_size=(450, 800))
    return {f"synthetic {index * SPACING}": drive.frame(index * SPACING).frame for index in range(count)}
