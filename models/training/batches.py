"""Batches of a training pass: which part of the world a step sees, drawn so that nothing depends on what came before.

All random numbers come from (seed, epoch, pass, sample or step), so a run that was killed goes on to the same result.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.presample.presampler import PresampleConfig, Presampler

from .augment import augment, augment_kept_images
from .config import TrainConfig
from .data import PreparedFrame, Sample, make_sample

SAMPLES, STEPS = 0, 1  # what random numbers are for


@dataclass(frozen=True)
class Batch:
    """Samples of one step of one process, and the pre-sampling of their part of the grid."""

    samples: list[Sample]
    presampler: Presampler


def windowed(config: PresampleConfig, train: TrainConfig) -> PresampleConfig:
    """What a network expects, cut to the middle window of training."""
    edge = train.window
    coarse = config.grid.coarse(config.coarse_factor)
    if not edge or edge >= max(coarse.size[:2]):
        return config
    return replace(
        config,
        grid=window_at(config, edge, tuple((size - edge) // 2 for size in coarse.size[:2])),
        fusion_queries=train.window_queries,
    )


def window_at(config: PresampleConfig, edge: int, start: tuple[int, int]) -> GridSpec:
    """The part of the grid with `edge` x `edge` coarse voxels from coarse voxel `start` on, at full height."""
    grid, step = config.grid, config.coarse_factor
    low = (*(at + first * step * grid.voxel_size for at, first in zip(grid.low, start)), grid.low[2])
    return GridSpec(low, grid.voxel_size, (edge * step, edge * step, grid.size[2]))


def draw_window(config: PresampleConfig, train: TrainConfig, rng: np.random.Generator) -> PresampleConfig:
    """Like `windowed`, at a random place around the middle."""
    middle = windowed(config, train)
    if middle == config:
        return config
    coarse = config.grid.coarse(config.coarse_factor)
    room = np.array(coarse.size[:2]) - train.window
    offset = rng.normal(0, train.window_spread / coarse.voxel_size, 2)
    start = np.clip(np.rint(room / 2 + offset), 0, room).astype(int)
    return replace(middle, grid=window_at(config, train.window, tuple(start.tolist())))


class BatchMaker:
    """Loads, augments and pre-samples the batches of one process, the next one while the last one is trained on.

    Args:
        train: settings. config: of the network, whole grid. paths: prepared frames.
        rank, world: this process among all.
    """

    def __init__(
        self,
        train: TrainConfig,
        config: PresampleConfig,
        paths: list[Path],
        device: torch.device,
        rank: int,
        world: int,
    ) -> None:
        self.train, self.config, self.paths, self.device = train, config, paths, device
        self.rank, self.world = rank, world

    def steps(self, samples: int) -> int:
        """Steps of a pass over so many samples."""
        return -(-samples // (self.train.batch * self.world))

    def batches(self, key: tuple[int, int], order: np.ndarray, first: int) -> Iterator[Batch]:
        """This process's batches of a pass from step `first` on.

        Args:
            key: epoch and number of the pass.
            order: indices of the samples; the first ones come again where the last step has too few.
        """
        size, total = self.train.batch, self.steps(len(order))
        filled = np.resize(order, total * size * self.world).reshape(total, self.world, size)
        with ThreadPoolExecutor(1) as background:
            following = None
            for step in range(first, total):
                batch = following or background.submit(self.make, key, step, filled[step, self.rank])
                following = (
                    background.submit(self.make, key, step + 1, filled[step + 1, self.rank])
                    if step + 1 < total
                    else None
                )
                yield batch.result()

    def make(self, key: tuple[int, int], step: int, chosen: np.ndarray) -> Batch:
        """The batch of one step from the samples `chosen` (B,)."""
        config = draw_window(self.config, self.train, self.rng(key, STEPS, step, self.rank))
        presampler = Presampler(config, self.device)
        return Batch([self.sample(key, int(index), presampler) for index in chosen], presampler)

    def sample(self, key: tuple[int, int], index: int, presampler: Presampler) -> Sample:
        """One augmented sample."""
        rng = self.rng(key, SAMPLES, index)
        frame = PreparedFrame.load(self.paths[index])
        if frame.holds_images != self.train.train_backbone:
            held = "images" if frame.holds_images else "features of images"
            raise DatasetError(
                f"{self.paths[index]} holds {held}, which does not fit train_backbone: "
                f"{self.train.train_backbone}; remove the file to have it made again"
            )
        if frame.holds_images:
            frame = augment_kept_images(frame, self.train.augment, rng)
        frame = augment(frame, presampler.config.grid, self.train.augment, rng)
        return make_sample(frame, presampler, self.train.unobserved_keep, rng)

    def rng(self, key: tuple[int, int], *purpose: int) -> np.random.Generator:
        """Random numbers that depend on the arguments and the run's seed alone."""
        return np.random.default_rng([self.train.seed, *key, *purpose])
