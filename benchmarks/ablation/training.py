"""Train a variant of the study."""

from dataclasses import replace
from pathlib import Path

from models.train import Trainer
from models.training.config import TrainConfig

from .variants import TRAIN, Variant


def train_config(variant: Variant, seed: int, steps: int, drives: int) -> TrainConfig:
    """Return the settings of the trainer for a variant."""
    return replace(TRAIN, steps=steps, save_every=steps, drives=drives, seed=seed, **variant.train)


def train(variant: Variant, config: TrainConfig, paths: list[Path], out: Path) -> Path:
    """Train a variant on prepared frames; return its weights."""
    Trainer(config, paths, out, variant.model).run()
    (out / "state.pt").unlink()  # as large as the weights several times over
    return out / "weights.safetensors"
