"""The training loop on a tiny network: it learns, ranks samples by loss, and goes on where it stopped."""

import numpy as np
import pytest
import torch
from small_model import CONFIG

from models.checkpoint import load_checkpoint
from models.train import TrainConfig, Trainer

GRID = CONFIG.presample.grid


def write_frame(path, seed: int) -> None:
    """A flat road with a box on it, the points on both, and features that say nothing."""
    rng = np.random.default_rng(seed)
    semantics = np.zeros(GRID.size, np.uint8)
    semantics[:, :, 15] = 11
    corner = rng.integers(5, 45, 2)
    semantics[corner[0]:corner[0] + 10, corner[1]:corner[1] + 10, 16:24] = 4
    voxels = np.flatnonzero(semantics).astype(np.uint32)
    seen = np.stack(np.unravel_index(rng.choice(voxels, 2000), GRID.size), 1)
    points = np.c_[GRID.centres(seen), rng.random(2000)].astype(np.float32)
    height, width = CONFIG.presample.image_size
    levels = {f"features{i}": np.zeros((2, channels, height // stride, width // stride), np.float16)
              for i, (channels, stride) in enumerate(((40, 8), (112, 16), (320, 32)))}
    np.savez(path, points=points, image_from_grid=np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)), voxels=voxels,
             labels=semantics.reshape(-1)[voxels], **levels)


@pytest.fixture
def paths(tmp_path):
    files = [tmp_path / f"{seed}.npz" for seed in range(4)]
    for seed, path in enumerate(files):
        write_frame(path, seed)
    return files


def config(epochs: int) -> TrainConfig:
    return TrainConfig(epochs=epochs, active_share=0.5, refined=20, threads=1, device="cpu")


def losses(out) -> list[list[str]]:
    """Epoch, pass, step and the three loss terms of every step."""
    return [line.split(",")[:6] for line in (out / "log.csv").read_text().splitlines()]


def test_it_learns_and_trains_the_hard_half_again(paths, tmp_path):
    trainer = Trainer(config(20), paths, tmp_path, CONFIG)
    seen = []
    step = trainer.train_pass
    trainer.train_pass = lambda order, rng, name: seen.append((name, set(order), step(order, rng, name))) or seen[-1][2]
    trainer.run()
    rows = losses(tmp_path)
    totals = [sum(map(float, row[3:6])) for row in rows]
    print(totals)
    assert np.mean(totals[-3:]) < 0.7 * np.mean(totals[:3])
    assert [name for name, *_ in seen] == ["all", "hard"] * 20
    assert all(len(hard[1]) == 2 and len(every[1]) == 4 for every, hard in zip(seen[::2], seen[1::2]))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(paths, tmp_path):
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    Trainer(config(2), paths, tmp_path / "whole", CONFIG).run()
    first = Trainer(config(2), paths, tmp_path / "stopped", CONFIG)
    save = first.save
    first.save = lambda: (save(), (_ for _ in ()).throw(KeyboardInterrupt))  # killed after the first epoch
    with pytest.raises(KeyboardInterrupt):
        first.run()
    Trainer(config(2), paths, tmp_path / "stopped", CONFIG).run()
    whole, stopped = (load_checkpoint(tmp_path / name / "weights.safetensors")[0].state_dict()
                      for name in ("whole", "stopped"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)


@pytest.mark.parametrize("wrong", [{"active_share": 1.5}, {"batch": 0}, {"epochs": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainConfig(**wrong)
