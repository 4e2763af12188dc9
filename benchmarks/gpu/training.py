"""A short training of a network on the device: throughput and memory."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.training.batches import BatchMaker, windowed
from models.training.config import TrainConfig
from models.training.data import PreparedFrame
from models.training.objective import Objective, class_weights
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.presample.presampler import Presampler

from . import street
from .device import Device

FRAMES = 4
WARM_UP = 3
TRAIN = {
    "nano": TrainConfig(train_backbone=True, pictures=0),
    "swift": TrainConfig(name="swift", train_backbone=True, pictures=0),
    "base": TrainConfig(
        name="base", batch=1, window=0, unobserved_keep=0.0, train_backbone=True, refined=4096, pictures=0
    ),
}
"""As models/configs/*.yaml, apart from the image backbones of nano and swift, which are frozen there."""


def prepared(config: ModelConfig, folder: Path) -> list[Path]:
    """Frames of the street as training keeps them."""
    paths, presampler = [], Presampler(config.presample)
    for seed in range(FRAMES):
        frame, labels = street.frame(seed=seed), street.truth(config.presample.grid, seed)
        images, matrices = presampler.prepare_images(frame), presampler.projections(frame)
        paths.append(folder / f"{seed}.npz")
        PreparedFrame(
            frame.points,
            matrices.numpy(),
            (images.numpy(),),
            labels,
            np.ones(labels.shape, bool),
            config.presample.grid,
        ).save(paths[-1])
    return paths


def measure(device: Device, config: ModelConfig, train: TrainConfig, folder: Path, steps: int) -> dict[str, Any]:
    """Steps of the training of `models.train`: draw a batch, loss, gradients, optimizer.

    Returns:
        `step_ms` with batches at hand, `drawn_step_ms` with batches that are drawn meanwhile, frames a second by the
        latter, `peak_mib`, `parameters` in millions, `loss` at the first and the last step.
    """
    torch.manual_seed(0)
    paths = prepared(config, folder)
    model = OccFusion(replace(config, presample=windowed(config.presample, train)))
    model = model.to(device.torch, memory_format=torch.channels_last).train()
    model.backbone.eval()  # its batch norms stay as they are
    objective = Objective(model, class_weights([PreparedFrame.load(paths[0])]), train.refined, train.precision)
    objective = objective.to(device.torch)
    optimizer = torch.optim.AdamW(model.parameters(), train.learning_rate / 10, weight_decay=train.weight_decay)
    maker = BatchMaker(train, config.presample, paths, device.torch, 0, 1)

    def step(batch: Any) -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = objective(batch.samples, batch.presampler).sum(1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
        optimizer.step()
        return loss.item()

    device.forget_peak()
    order = np.arange((WARM_UP + steps) * train.batch) % len(paths)
    losses, starts = [], []
    for batch in maker.batches((0, 0), order, 0):
        starts.append(time.perf_counter())
        losses.append(step(batch))
    drawn = (time.perf_counter() - starts[WARM_UP]) / steps
    batch = maker.make((1, 0), 0, order[: train.batch])
    at_hand = device.seconds(lambda: step(batch), steps)
    return {
        "step_ms": 1e3 * at_hand,
        "drawn_step_ms": 1e3 * drawn,
        "frames_per_s": train.batch / drawn,
        "batch": train.batch,
        "peak_mib": device.peak_mib(),
        "loss": [losses[0], losses[-1]],
        "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
    }
