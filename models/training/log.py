"""What a training run writes for people: log.csv, TensorBoard files where that package is installed, and pictures."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.presample.children import from_children
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.viz.birdseye import birds_eye_view

from .data import PreparedFrame
from .distributed import multiplies_bfloat16
from .objective import TERMS
from .predict import labels_of, predict

COLUMNS = ("epoch", "pass", "step", *TERMS, "learning_rate", "time")


class TrainingLog:
    """Opens the log of a run; rows after optimizer step `done` belong to steps that are trained again and go."""

    def __init__(self, out: Path, done: int) -> None:
        self.path = out / "log.csv"
        rows = []
        if self.path.exists():
            with open(self.path, newline="") as file:
                rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[2].isdigit()]
        with replacing(self.path) as partial, open(partial, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *(row for row in rows if int(row[2]) <= done)])
        self.board = _tensorboard(out / "tensorboard", done + 1)

    def write(self, epoch: int, name: str, step: int, terms: Sequence[float], learning_rate: float) -> None:
        """One optimizer step with its mean loss terms."""
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerow(
                [epoch, name, step, *(f"{term:.6g}" for term in terms), f"{learning_rate:.6g}", f"{time.time():.0f}"]
            )
        if self.board:
            for term, value in zip(TERMS, terms):
                self.board.add_scalar(f"loss/{term}", value, step)
            self.board.add_scalar("learning_rate", learning_rate, step)

    def close(self) -> None:
        """Write what is still held back."""
        if self.board:
            self.board.close()


def _tensorboard(folder: Path, first_step: int):  # -> SummaryWriter | None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=first_step)


def draw_picture(model: OccFusion, frame: PreparedFrame, presampler: Presampler) -> np.ndarray:
    """Truth as it is observed, complete truth and prediction side by side from above; (Y, 3 * X, 3) uint8 RGB."""
    config = presampler.config
    result = predict(model, frame, presampler)
    dense = [
        from_children(rows.cpu(), config.grid, config.coarse_factor).numpy()
        for rows in (result.truth, labels_of(model, result))
    ]
    return np.concatenate(
        [_seen_from_above(labels, config.grid) for labels in (dense[0], frame.semantics, dense[1])], axis=1
    )


def _seen_from_above(labels: np.ndarray, grid: GridSpec) -> np.ndarray:
    return birds_eye_view(OccupancyGrid(grid, labels, 0, "grid"), OPENOCCUPANCY_CLASSES)


def save_pictures(
    folder: Path, epoch: int, model: OccFusion, frames: list[PreparedFrame], presampler: Presampler
) -> None:
    """Write one picture (see `draw_picture`) for each frame."""
    from PIL import Image

    training = model.training
    model.eval()
    with torch.autocast(presampler.device.type, torch.bfloat16, enabled=multiplies_bfloat16(presampler.device)):
        for number, frame in enumerate(frames):
            path = folder / f"epoch{epoch:03d}_frame{number}.png"
            picture = Image.fromarray(draw_picture(model, frame, presampler))
            with replacing(path) as partial:
                picture.save(partial, "PNG")
    model.train(training)
