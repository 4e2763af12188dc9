"""Settings of a training run: read from YAML, checked, each one explained."""

from dataclasses import fields
from pathlib import Path

import pytest

from models.training.augment import AugmentConfig
from models.training.config import TrainConfig, load_config
from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.occfusion import ModelConfig

CONFIGS = Path(__file__).resolve().parents[2] / "models/configs"


@pytest.mark.parametrize(
    ("name", "backbone", "image_size"),
    [
        ("nano", "efficientnet_lite0", (256, 704)),
        ("swift", "efficientnet_lite0", (192, 512)),
        ("base", "resnet50", (896, 1600)),
    ],
)
def test_shipped_settings_are_of_the_network_of_their_name(name, backbone, image_size):
    train, model = load_config(CONFIGS / f"{name}.yaml")
    assert train.name == name and train.active_share == 0.7
    assert (model.backbone, model.presample.image_size) == (backbone, image_size)
    assert name != "nano" or model == ModelConfig()


def test_values_come_from_the_file_and_changes_go_before_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "batch: 4\nlearning_rate: 1e-3\nscenes: [a, b]\ndata: root\naugment: {flip: 0, thin: 0.1}\n"
        "model: {width: 16, presample: {points_per_voxel: 2, image_size: [64, 96]}}\n"
    )
    train, model = load_config(path, ["batch=8", "augment.thin=0.2", "model.decoded=8", "frames=some/folder"])
    assert (train.batch, train.learning_rate, train.scenes, train.frames) == (8, 1e-3, ("a", "b"), "some/folder")
    assert train.augment == AugmentConfig(flip=0.0, thin=0.2)
    assert (model.width, model.decoded, model.presample.points_per_voxel) == (16, 8, 2)
    assert model.presample.image_size == (64, 96)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bacth: 4", "unknown bacth; expected some of"),
        ("batch: two", "batch: expected int, got 'two'"),
        ("batch: 2.5", "batch: expected int"),
        ("augment: {flop: 1}", "unknown flop"),
        ("augment: 3", "expected keys and values"),
        ("- batch", "expected keys and values"),
        ("batch: [", "mine.yaml"),
        ("model: {fusion: guess}", "fusion must be one of"),
    ],
)
def test_what_is_not_a_setting_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ContractError, match=message):
        load_config(path)


@pytest.mark.parametrize("change", ["batch", "=3", "augment.flip.x=1", "batch.x=1"])
def test_a_wrong_change_is_refused(tmp_path, change):
    (tmp_path / "mine.yaml").write_text("augment: {flip: 0.5}\nbatch: 2\n")
    with pytest.raises(ContractError, match="mine.yaml"):
        load_config(tmp_path / "mine.yaml", [change])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ContractError, match="missing.yaml"):
        load_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    "wrong",
    [
        {"active_share": 1.5},
        {"batch": 0},
        {"epochs": 0},
        {"window": -1},
        {"learning_rate": 0.0},
        {"precision": "fp8"},
        {"device": "tpu"},
        {"unobserved_keep": 2.0},
        {"scenes": ("a",)},
        {"save_every": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainConfig(**wrong)


@pytest.mark.parametrize("kind", [TrainConfig, AugmentConfig, ModelConfig])
def test_every_setting_is_explained(kind):
    assert [field.name for field in fields(kind) if f" {field.name}: " not in " ".join(kind.__doc__.split())] == []
