"""Preparing frames: a synthetic drive, and a data root in the nuScenes format that is then trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.tiny_nuscenes import TinyRoot
from PIL import Image

from models import train
from models.train import main
from models.training.augment import AugmentConfig
from models.training.config import TrainConfig
from models.training.data import PreparedFrame
from models.training.image_weights import load_imagenet
from models.training.prepare import image_features, named_scenes, prepare_drive, prepare_root
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.network.backbone import EfficientNetLite0
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import ModelConfig
from occfusion_ros.presample.presampler import PresampleConfig, Presampler
from synthetic import SyntheticDrive, rig_of, seeds

CONFIG = PresampleConfig(image_size=(64, 96))
SEED = seeds.TESTS[5]


def test_a_training_frame_of_a_drive_holds_its_sweep_its_truth_and_what_is_observed(tmp_path):
    path = tmp_path / "frame.npz"
    assert prepare_drive((SEED, [path]), CONFIG, AugmentConfig(), "varied") == 1
    assert prepare_drive((SEED, [path]), CONFIG, AugmentConfig(), "varied") == 0
    frame = PreparedFrame.load(path)
    drive = SyntheticDrive(SEED, rig_of("varied", SEED), jitter=True)
    sweep, _ = drive.sweep(8)
    assert np.array_equal(frame.ray_origin, drive.rig.grid_from_lidar()[:3, 3]) and abs(frame.ray_origin[2]) > 0.1
    assert np.array_equal(frame.points, sweep.points)
    assert [level.shape for level in frame.features] == [(5, 40, 8, 12), (5, 112, 4, 6), (5, 320, 2, 3)]
    indices, inside = frame.grid.indices(sweep.points[:, :3])
    known = inside & (sweep.labels != IGNORE)
    at = tuple(indices[known].T)
    assert frame.observed[at].all() and (frame.semantics[at] > 0).all()
    assert (frame.semantics[at] == sweep.labels[known]).mean() > 0.9
    assert (frame.semantics[frame.observed] == 0).mean() > 0.5  # most of what is observed is free
    assert ((frame.semantics > 0) & (frame.semantics < IGNORE) & ~frame.observed).sum() > 10_000


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    """A data root with labels for all samples but the first."""
    root = tmp_path_factory.mktemp("root")
    TinyRoot(root)
    reader = NuScenesReader(root)
    tokens = list(reader.samples())
    (root / "occupancy").mkdir()
    rng = np.random.default_rng(0)
    for token in tokens[1:]:
        truth = np.full(GridSpec().size, IGNORE, np.uint8)
        truth[200:300, 200:300] = 0
        truth[200:300, 200:300, 15:16] = 11
        truth[tuple(rng.integers(200, 300, (2, 500))), 20] = 4
        np.savez_compressed(
            root / "occupancy" / f"{reader.tables.get('sample', token)['data']['LIDAR_TOP']}.npz", semantics=truth
        )
    return root, reader, tokens


def test_labeled_samples_of_a_data_root_are_prepared_as_they_are(labeled, tmp_path):
    root, reader, tokens = labeled
    paths = prepare_root(tmp_path, root, CONFIG)
    assert [path.stem for path in paths] == tokens[1:]
    frame, source = PreparedFrame.load(paths[0]), reader.frame(tokens[1])
    assert np.array_equal(frame.points, source.points)
    assert np.array_equal(frame.semantics, reader.occupancy(tokens[1]))
    assert np.array_equal(frame.observed, frame.semantics != IGNORE)
    presampler = Presampler(CONFIG)
    images, image_from_grid = presampler.prepare_images(source), presampler.projections(source)
    assert np.array_equal(frame.image_from_grid, image_from_grid.numpy())
    backbone = EfficientNetLite0().eval()
    load_imagenet(backbone)
    assert torch.equal(torch.from_numpy(frame.features[0]), image_features(backbone, images)[0])


def test_images_are_kept_where_the_backbone_is_to_be_trained(labeled, tmp_path):
    root, reader, tokens = labeled
    (path,) = prepare_root(tmp_path, root, CONFIG, AugmentConfig(images=1), keep_images=True)
    frame = PreparedFrame.load(path)
    presampler, second = Presampler(CONFIG), reader.frame(tokens[1])
    images, image_from_grid = presampler.prepare_images(second), presampler.projections(second)
    assert frame.holds_images and np.array_equal(frame.features[0], images.numpy())
    assert np.array_equal(frame.image_from_grid, image_from_grid.numpy())


def test_copies_of_a_sample_have_their_images_changed_each_in_its_own_way(labeled, tmp_path):
    first, second = prepare_root(tmp_path / "features", labeled[0], CONFIG, AugmentConfig(images=1), copies=2)
    frames = [PreparedFrame.load(path) for path in (first, second)]
    assert np.array_equal(frames[0].semantics, frames[1].semantics)
    assert not np.array_equal(frames[0].image_from_grid, frames[1].image_from_grid)
    same = prepare_root(tmp_path / "images", labeled[0], CONFIG, AugmentConfig(), keep_images=True, copies=2)
    assert len(same) == 2 and same[0] == same[1]


def test_the_last_share_of_a_scene_is_held_back(labeled, tmp_path):
    root, reader, tokens = labeled
    with pytest.raises(DatasetError, match="among 1 samples"):  # the second of both is the one with labels
        train.prepare(TrainConfig(data=str(root), held_back=0.5), tmp_path, ModelConfig(CONFIG))
    assert [path.stem for path in prepare_root(tmp_path, root, CONFIG)] == tokens[1:]
    with pytest.raises(DatasetError, match="held_back: expected scenes long enough to hold back 0.2"):
        prepare_root(tmp_path, root, CONFIG, held_back=0.2)
    with pytest.raises(ValueError, match="held_back must lie in 0..1"):
        TrainConfig(data=str(root), held_back=1.5)
    with pytest.raises(ValueError, match="belong to data"):
        TrainConfig(held_back=0.5)


def test_synthetic_drives_are_mixed_in(labeled, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(train, "prepare_all", lambda folder, seeds, *_: asked.append((folder, seeds)) or ["made"])
    monkeypatch.setattr(train, "prepare_root", lambda *_: ["recorded"])
    model = ModelConfig(CONFIG)
    config = TrainConfig(data=str(labeled[0]), mixed_drives=3, first_seed=1000)
    assert train.prepare(config, tmp_path, model) == ["recorded", "made"]
    assert asked == [(tmp_path / "frames/synthetic", range(1000, 1003))]
    assert train.prepare(replace(config, mixed_drives=0), tmp_path, model) == ["recorded"]
    with pytest.raises(ValueError, match="mixed_drives belong to data"):
        TrainConfig(mixed_drives=1)


def test_scenes_are_named_one_by_one_or_by_split():
    there = ["scene-0061", "scene-0553", "scene-0103", "scene-9999"]
    assert named_scenes(there, None) == there
    assert named_scenes(there, ["scene-9999", "mini_val"]) == ["scene-9999", "scene-0103"]
    assert named_scenes(there, ["mini_train"]) == ["scene-0061", "scene-0553"]


def test_a_data_root_without_labels_is_refused(tmp_path):
    TinyRoot(tmp_path / "root")
    with pytest.raises(DatasetError, match="no sample with an occupancy truth"):
        prepare_root(tmp_path / "frames", tmp_path / "root", CONFIG)


def test_the_command_trains_on_a_data_root(labeled, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"data: {labeled[0]}\nepochs: 1\nbatch: 1\nwindow: 8\nwindow_queries: 50\nrefined: 10\ndevice: cpu\n"
        "model:\n  width: 16\n  decoded: 8\n  bev: [16, 24]\n  refine_budget: 20\n"
        "  presample: {image_size: [64, 96], fusion_queries: 300,\n"
        "              grid: {low: [-6.4, -6.4, -5.0], voxel_size: 0.2, size: [64, 64, 40]}}\n"
    )
    assert main([str(settings), "--out", str(tmp_path / "out"), "--set", "pictures=1"]) == 0
    model, metadata = load_checkpoint(tmp_path / "out/weights.safetensors")
    assert model.config.presample.grid.size == (64, 64, 40) and metadata["epoch"] == 1
    picture = np.asarray(Image.open(tmp_path / "out/pictures/epoch001_frame0.png"))
    assert picture.shape == (32, 96, 3)
    before = (tmp_path / "out/log.csv").read_text()
    assert main([str(settings), "--out", str(tmp_path / "out"), "--set", "pictures=1"]) == 0  # nothing left to do
    assert (tmp_path / "out/log.csv").read_text() == before
    assert main([str(settings), "--out", str(tmp_path / "out"), "--fresh", "--set", "seed=1"]) == 0
    assert (tmp_path / "out/log.csv").read_text() != before


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "settings.yaml").write_text("bacth: 1\n")
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "settings.yaml"), "--out", str(tmp_path)])
    assert stopped.value.code == 2 and "unknown bacth" in capsys.readouterr().err
