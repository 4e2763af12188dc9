"""Frames of the study: prepared synthetic drives, cut to the part of the grid that is measured."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.training.augment import AugmentConfig, transform
from models.training.data import PreparedFrame
from models.training.manifest import claim, made_by
from models.training.prepare import prepare_all

from .variants import NETWORK, TRAIN, WEIGHTS, WINDOW


def cut(path: Path, folder: Path) -> Path:
    """The prepared frame at `path` with its truth cut to `WINDOW`, written to `folder` where it is missing."""
    target = folder / path.name
    if not target.exists():
        transform(PreparedFrame.load(path), WINDOW, np.eye(2)).save(target)
    return target


def window_frames(
    prepared: Path, cut_to: Path, seeds: range, workers: int, augmentation: AugmentConfig | None
) -> list[Path]:
    """Frames of the synthetic drives `seeds`, cut; `prepared` holds them whole and is filled where needed.

    Args:
        augmentation: how images of training frames are changed, None for held-out frames, which are of one rig.
    """
    rig = TRAIN.rig if augmentation else "nuscenes"
    paths = prepare_all(prepared, seeds, NETWORK.presample, workers, augmentation, rig, weights=WEIGHTS)
    claim(cut_to, {"window": asdict(WINDOW), "cut_from": made_by(prepared)})
    return [cut(path, cut_to) for path in tqdm(paths, f"cutting to {cut_to.name}", unit="frame")]
