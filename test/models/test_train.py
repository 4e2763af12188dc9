"""The training loop on a tiny network: it learns, ranks samples by loss, and goes on where it was killed."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_training import CONFIG, SETTINGS, write_frames
from PIL import Image

from models.train import Trainer
from models.training.augment import AugmentConfig
from models.training.config import TrainConfig
from models.training.objective import TERMS
from models.training.state import load_state, save_state
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.network.checkpoint import load_checkpoint

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("frames") / "prepared")


def rows(out: Path) -> list[dict[str, str]]:
    """The log without the time."""
    with open(out / "log.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "time"} for row in csv.DictReader(file)]


def run_program(*words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "test"), str(REPOSITORY)]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *before, "-m", "helpers.tiny_training", *map(str, words)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def interrupted(trainer: Trainer, at: int) -> Trainer:
    """Ctrl-C before an optimizer step."""
    step = trainer.step

    def deadly_step(batch):
        if trainer.done == at:
            raise KeyboardInterrupt
        return step(batch)

    trainer.step = deadly_step
    return trainer


def test_it_learns_and_trains_the_hard_half_again(paths, tmp_path):
    config = TrainConfig(**{**SETTINGS, "epochs": 14, "window": 0, "batch": 2})
    dense = replace(CONFIG, separables=0, offsets=2, refiner_width=64)  # learns in fewer steps
    trainer = Trainer(config, paths, tmp_path, dense)
    passes, losses = [], []
    train_pass = trainer.train_pass

    def recorded_pass(order, bar):
        train_pass(order, bar)
        passes.append(order)
        losses.append(np.array(trainer.progress.losses))  # of the epoch's first pass, in its order

    trainer.train_pass = recorded_pass
    trainer.run()
    totals = [sum(float(row[name]) for name in TERMS) for row in rows(tmp_path)]
    assert np.mean(totals[-6:]) < 0.8 * np.mean(totals[:6])
    assert [row["pass"] for row in rows(tmp_path)] == ["all", "all", "hard"] * 14
    for every, hard, of_sample in zip(passes[::2], passes[1::2], losses[::2]):
        assert sorted(every) == [0, 1, 2, 3]
        assert set(hard) == set(every[np.argsort(of_sample)[2:]])


def test_a_run_that_is_killed_goes_on_to_the_same_losses_and_weights(paths, tmp_path):
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    Trainer(TrainConfig(**SETTINGS), paths, tmp_path / "whole", CONFIG).run()
    steps = rows(tmp_path / "whole")
    assert len(steps) == 12
    with pytest.raises(KeyboardInterrupt):  # in the second pass of the first epoch
        interrupted(Trainer(TrainConfig(**SETTINGS), paths, tmp_path / "killed", CONFIG), 5).run()
    assert len(rows(tmp_path / "killed")) == 5
    result = run_program(paths[0].parent, tmp_path / "killed", 9)  # in the first pass of the second
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert len(rows(tmp_path / "killed")) == 9
    Trainer(TrainConfig(**SETTINGS), paths, tmp_path / "killed", CONFIG).run()
    assert rows(tmp_path / "killed") == steps
    whole, killed = (load_checkpoint(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "killed"))
    assert whole.config == CONFIG  # of the whole grid, although windows were trained on
    assert all(torch.equal(value, killed.state_dict()[key]) for key, value in whole.state_dict().items())


def test_two_processes_share_the_samples_and_keep_the_same_weights(paths, tmp_path):
    result = run_program(
        paths[0].parent, tmp_path, before=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    )
    assert result.returncode == 0, result.stderr
    first, second = (np.load(tmp_path / f"rank{rank}.npy") for rank in range(2))
    assert np.array_equal(first, second)
    assert [row["pass"] for row in rows(tmp_path)] == ["all", "all", "hard"] * 2  # 4 samples, 2 processes
    start = Trainer(TrainConfig(**SETTINGS), paths, tmp_path / "unused", CONFIG)
    assert not np.array_equal(first, torch.cat([p.detach().flatten() for p in start.model.parameters()]).numpy())


def test_other_settings_do_not_go_on_with_a_run(paths, tmp_path):
    Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, CONFIG).run()
    with pytest.raises(ContractError, match="clip, steps"):
        Trainer(TrainConfig(**SETTINGS, steps=2, clip=1.0), paths, tmp_path, CONFIG).run()
    Trainer(TrainConfig(**{**SETTINGS, "pictures": 0}, steps=1), paths, tmp_path, CONFIG).run()
    assert len(rows(tmp_path)) == 1


def test_neither_does_another_network(paths, tmp_path):
    Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, CONFIG).run()
    aged = replace(CONFIG, presample=replace(CONFIG.presample, preprocessing=Preprocessing(lags=True)))
    with pytest.raises(ContractError, match=r"other settings \(model\)"):
        Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, aged).run()


def test_a_run_goes_on_that_began_before_there_were_some_of_the_settings(paths, tmp_path):
    Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, CONFIG).run()
    state = load_state(tmp_path / "state.pt")
    del state["settings"]["model"], state["settings"]["augment"]["no_past"]
    save_state(tmp_path / "state.pt", state)
    Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, CONFIG).run()
    with pytest.raises(ContractError, match="augment"):
        other = replace(TrainConfig(**SETTINGS, steps=1), augment=AugmentConfig(flip=0.1))
        Trainer(other, paths, tmp_path, CONFIG).run()


def test_a_trained_backbone_learns_from_the_images_and_keeps_its_statistics(tmp_path):
    paths = write_frames(tmp_path / "frames", 2, images=True)
    config = TrainConfig(**{**SETTINGS, "window": 0}, steps=2, train_backbone=True)
    trainer = Trainer(config, paths, tmp_path, CONFIG)
    before = {name: value.clone() for name, value in trainer.model.backbone.state_dict().items()}
    trainer.run()
    changed = {
        name for name, value in trainer.model.backbone.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {"_conv_stem.weight", "_blocks.10._depthwise_conv.weight"} < changed
    assert not any("running" in name for name in changed)
    rates = [group["max_lr"] for group in trainer.optimizer.param_groups]
    assert rates == pytest.approx([config.learning_rate, config.learning_rate / 10])


def test_frames_that_hold_the_wrong_thing_are_refused(paths, tmp_path):
    with pytest.raises(DatasetError, match="holds features of images, which does not fit train_backbone: True"):
        Trainer(TrainConfig(**SETTINGS, train_backbone=True), paths, tmp_path, CONFIG).run()


@pytest.mark.parametrize(
    ("settings", "model", "message"),
    [
        ({"window": 5}, {}, "multiple of 2 coarse voxels, got 5 x 5"),
        ({"refined": 1000}, {}, "refined: expected at most 640"),
        ({}, {"fusion": "lift_splat"}, "lift_splat is tied"),
        ({}, {"backbone": "resnet50"}, "resnet50 must be trained"),
        ({"frozen": ("decodr",)}, {}, "frozen: expected some of backbone.* got decodr"),
    ],
)
def test_settings_that_do_not_fit_the_network_are_refused(paths, tmp_path, settings, model, message):
    with pytest.raises(ContractError, match=message):
        Trainer(TrainConfig(**{**SETTINGS, **settings}), paths, tmp_path, replace(CONFIG, **model))


def test_a_run_goes_on_from_other_weights_and_leaves_frozen_parts_alone(paths, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    Trainer(TrainConfig(**SETTINGS, steps=2), paths, first, CONFIG).run()
    settings = {
        **SETTINGS,
        "steps": 4,
        "init": str(first / "weights.safetensors"),
        "frozen": ("decoder", "coarse_head"),
    }
    Trainer(TrainConfig(**settings), paths, second, CONFIG).run()
    (before, old), (after, new) = (load_checkpoint(folder / "weights.safetensors") for folder in (first, second))
    before, after = before.state_dict(), after.state_dict()
    frozen = [name for name in before if name.startswith(("decoder.", "coarse_head."))]
    assert frozen and all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["fusion.offset.weight"], after["fusion.offset.weight"])
    assert new["trained_on"].startswith(f"{old['trained_on']}; then ") and "decoder" in new["trained_on"]


def test_pictures_show_observed_truth_complete_truth_and_prediction(paths, tmp_path):
    Trainer(TrainConfig(**SETTINGS, steps=1), paths, tmp_path, CONFIG).run()
    picture = np.asarray(Image.open(next((tmp_path / "pictures").glob("*.png"))))
    assert picture.shape == (32, 96, 3)  # a window of 8 coarse voxels
    assert (picture[:, 32:64] != picture[0, 32]).any()


def test_a_frame_of_an_older_version_is_refused(paths, tmp_path):
    with np.load(paths[0]) as file:
        np.savez(tmp_path / "old.npz", **{key: file[key] for key in file if key != "observed"})
    with pytest.raises(DatasetError, match="remove the file"):
        Trainer(TrainConfig(**SETTINGS), [tmp_path / "old.npz"], tmp_path, CONFIG)
