"""Train a tiny network on tiny frames; as a program `python -m helpers.tiny_training FRAMES OUT [KILL_AT_STEP]`."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from helpers.small_model import CONFIG
from models.train import Trainer, join_processes
from models.training.config import TrainConfig
from models.training.data import PreparedFrame

GRID = CONFIG.presample.grid
SETTINGS = {
    "epochs": 2,
    "active_share": 0.5,
    "refined": 20,
    "threads": 1,
    "device": "cpu",
    "window": 8,
    "window_queries": 100,
    "window_spread": 1.5,
    "save_every": 2,
    "pictures": 1,
    "batch": 1,
}


def make_frame(seed: int) -> PreparedFrame:
    """A flat road with a box on it, the points on both, observed on one side, and features that say nothing."""
    rng = np.random.default_rng(seed)
    semantics = np.zeros(GRID.size, np.uint8)
    semantics[:, :, 15] = 11
    corner = rng.integers(5, 45, 2)
    semantics[corner[0] : corner[0] + 10, corner[1] : corner[1] + 10, 16:24] = 4
    voxels = np.flatnonzero(semantics)
    seen = np.stack(np.unravel_index(rng.choice(voxels, 2000), GRID.size), 1)
    points = np.c_[GRID.centers(seen), rng.random(2000)].astype(np.float32)
    height, width = CONFIG.presample.image_size
    features = tuple(
        np.zeros((2, channels, height // stride, width // stride), np.float16)
        for channels, stride in ((40, 8), (112, 16), (320, 32))
    )
    observed = np.zeros(GRID.size, bool)
    observed[:48] = True
    return PreparedFrame(points, np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)), features, semantics, observed, GRID)


def with_images(frame: PreparedFrame) -> PreparedFrame:
    """The same frame holding random images instead of features."""
    images = np.random.default_rng(0).integers(0, 255, (2, 3, *CONFIG.presample.image_size), np.uint8)
    return replace(frame, features=(images,))


def write_frames(folder: Path, count: int = 4, images: bool = False) -> list[Path]:
    """Prepared frames in `folder`."""
    folder.mkdir()
    for seed in range(count):
        frame = make_frame(seed)
        (with_images(frame) if images else frame).save(folder / f"{seed}.npz")
    return sorted(folder.glob("*.npz"))


def main() -> None:
    """Train to the end, or until this process kills itself before an optimizer step; keep each process's weights."""
    frames, out, *kill = sys.argv[1:]
    join_processes("cpu")
    trainer = Trainer(TrainConfig(**SETTINGS), sorted(Path(frames).glob("*.npz")), Path(out), CONFIG)
    step = trainer.step

    def deadly_step(batch):
        if kill and trainer.done == int(kill[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batch)

    trainer.step = deadly_step
    trainer.run()
    parameters = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    np.save(Path(out) / f"rank{trainer.rank}.npy", parameters.numpy())
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
