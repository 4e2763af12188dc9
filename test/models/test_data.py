"""Targets follow OpenOccupancy's majority rule where the truth is observed, and a drawn share of the rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG
from helpers.tiny_training import GRID, make_frame

from models.training.data import UNSEEN, PreparedFrame, make_sample, make_targets, stack
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.presample.presampler import Presampler

CHILDREN = torch.zeros((5, 64), dtype=torch.uint8)
CHILDREN[0, :3], CHILDREN[0, 3:5] = 11, 4
CHILDREN[1] = 255
CHILDREN[2, 0] = 255
CHILDREN[3, :10], CHILDREN[3, 10:] = 16, 255
CHILDREN[4, 0] = 7


def test_coarse_target_is_the_majority_of_the_non_empty_children():
    everything = torch.ones(CHILDREN.shape, dtype=torch.bool)
    targets = make_targets(CHILDREN, everything)
    assert targets.coarse.tolist() == [11, 255, 0, 16, 7]
    assert torch.equal(targets.children, CHILDREN)


def test_what_is_not_observed_is_ignored_but_a_parent_with_an_observed_child_keeps_its_whole_majority():
    observed = torch.zeros(CHILDREN.shape, dtype=torch.bool)
    observed[0, 3] = observed[4, 5] = True
    targets = make_targets(CHILDREN, observed)
    assert targets.coarse.tolist() == [11, 255, 255, 255, 7]
    assert (targets.children != IGNORE).nonzero().tolist() == [[0, 3], [4, 5]]
    assert targets.children[0, 3] == 4 and targets.children[4, 5] == 0


def test_a_share_of_what_is_not_observed_keeps_its_truth():
    children = torch.full((4000, 64), 13, dtype=torch.uint8)
    observed = torch.zeros(children.shape, dtype=torch.bool)
    observed[:1000] = True
    targets = make_targets(children, observed, 0.25, np.random.default_rng(0))
    assert (targets.children[:1000] == 13).all() and (targets.coarse[:1000] == 13).all()
    assert (targets.children[1000:] == 13).float().mean() == pytest.approx(0.25, abs=0.01)
    assert (targets.coarse[1000:] == 13).float().mean() == pytest.approx(0.25, abs=0.03)
    again = make_targets(children, observed, 0.25, np.random.default_rng(0))
    assert torch.equal(targets.children, again.children) and torch.equal(targets.coarse, again.coarse)


def test_a_frame_comes_back_from_disk_as_it_was(tmp_path):
    frame = make_frame(0)
    frame.save(tmp_path / "frame.npz")
    loaded = PreparedFrame.load(tmp_path / "frame.npz")
    assert loaded.grid == GRID
    for name in ("points", "image_from_grid", "semantics", "observed"):
        assert np.array_equal(getattr(loaded, name), getattr(frame, name)), name
    assert all(np.array_equal(a, b) for a, b in zip(loaded.features, frame.features))
    assert [path.name for path in tmp_path.iterdir()] == ["frame.npz"]


def test_a_damaged_frame_is_refused(tmp_path):
    make_frame(0).save(tmp_path / "frame.npz")
    whole = (tmp_path / "frame.npz").read_bytes()
    (tmp_path / "frame.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="frame.npz"):
        PreparedFrame.load(tmp_path / "frame.npz")


def test_a_sample_with_fewer_cameras_gets_blind_ones():
    frame, presampler = make_frame(0), Presampler(CONFIG.presample)
    alone = replace(frame, image_from_grid=frame.image_from_grid[:1], features=tuple(f[:1] + 1 for f in frame.features))
    blind = replace(alone, image_from_grid=frame.image_from_grid[:0])  # no camera, a gray image
    for samples in ([frame, alone], [frame, blind], [alone, blind]):
        count = max(len(sample.features[0]) for sample in samples)
        batch, features = stack([make_sample(sample, presampler) for sample in samples])
        assert batch["image_from_grid"].shape == (2, count, 4, 4)
        assert [len(level) for level in features] == [2 * count] * 3
        added = batch["image_from_grid"][1, len(samples[1].image_from_grid) :]
        assert torch.equal(added, torch.from_numpy(UNSEEN).expand(len(added), 4, 4))
    assert (batch["point_camera"][1] == -1).all()
