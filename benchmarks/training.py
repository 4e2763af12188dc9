"""Training of a row of the study."""

from dataclasses import replace
from pathlib import Path

import torch

from models.objective import Objective
from models.occfusion import FuserOutput
from models.train import Trainer
from models.training_config import TrainConfig

from .rows import TRAIN, Row


class OccupiedObjective(Objective):
    """Refines random voxels that are predicted occupied, as M-CONet is trained, not the most uncertain ones."""

    def chosen(self, output: FuserOutput) -> torch.Tensor:
        """(B, K) coarse voxels whose best label is not empty; others where there are too few."""
        occupied = output.coarse.detach().argmax(2) > 0  # (B, T)
        return (occupied.float() + torch.rand(occupied.shape, device=occupied.device)).topk(self.budget, dim=1).indices


def train_config(row: Row, seed: int, steps: int, drives: int) -> TrainConfig:
    """Settings of the trainer for a row."""
    steps *= row.longer
    return replace(TRAIN, steps=steps, save_every=steps, drives=drives, seed=seed, **row.train)


def train(row: Row, config: TrainConfig, paths: list[Path], out: Path) -> Path:
    """Train a row on prepared frames; returns its weights."""
    trainer = Trainer(config, paths, out, row.model)
    if row.refine_occupied:
        plain = trainer.objective
        trainer.objective = OccupiedObjective(trainer.model, plain.class_weights, plain.budget, plain.precision)
    trainer.run()
    (out / "state.pt").unlink()  # as large as the weights several times over
    return out / "weights.safetensors"
