"""Training of a row of the study."""

from dataclasses import replace
from pathlib import Path

from models.train import Trainer
from models.training.config import TrainConfig

from .variants import TRAIN, Variant


def train_config(row: Variant, seed: int, steps: int, drives: int) -> TrainConfig:
    """Settings of the trainer for a row."""
    steps *= row.longer
    return replace(TRAIN, steps=steps, save_every=steps, drives=drives, seed=seed, **row.train)


def train(row: Variant, config: TrainConfig, paths: list[Path], out: Path) -> Path:
    """Train a row on prepared frames; returns its weights."""
    Trainer(config, paths, out, row.model).run()
    (out / "state.pt").unlink()  # as large as the weights several times over
    return out / "weights.safetensors"
