"""The shipped weights are those inside the shipped networks."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.confidence.entropy import EntropyErrors
from occfusion_ros.core.contract import FORMAT
from occfusion_ros.core.frames import CameraImage, PastPoints, SensorFrame
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

ZOO = Path(__file__).parents[2] / "models" / "zoo"
NANO, MULTISWEEP, SWIFT = (ZOO / name for name in ("nano", "nano_multisweep", "swift"))
of_each_model = pytest.mark.parametrize(
    "model", [path.parent for path in sorted(ZOO.glob("*/contract.yaml"))], ids=lambda path: path.name
)


@of_each_model
def test_shipped_weights_are_named_by_the_contract_and_say_what_they_are(model):
    contract = load_artifact(model).contract
    assert contract.model_id == model.name and json.loads((model / "parity.json").read_text())["passed"]
    for network in (contract.fuser, contract.refiner):
        assert network.files["weights"].name == "weights.safetensors"
        assert network.files["weights"].sha256 == contract.checkpoint_sha256
    assert hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest() == contract.checkpoint_sha256
    _, metadata = load_checkpoint(model / "weights.safetensors")
    assert metadata == {"model_id": contract.model_id, "trained_on": contract.trained_on, "accuracy": contract.accuracy}


def frame() -> SensorFrame:
    """A made-up sweep, and one camera that looks along y at noise."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-40, -40, -2, 0), (40, 40, 2, 1), (4000, 4)).astype(np.float32)
    camera_from_grid = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[350.0, 0, 352], [0, 350, 70], [0, 0, 1]])
    noise = rng.integers(0, 255, (256, 704, 3), np.uint8)
    return SensorFrame(0, points, (CameraImage("ahead", noise, intrinsics, camera_from_grid),))


def past_of(present: SensorFrame) -> PastPoints:
    """An earlier sweep that saw the same, a little beside."""
    return PastPoints(present.points + np.float32([0.5, 1, 0, 0]), np.full(len(present.points), 0.1, np.float32))


@of_each_model
def test_the_network_from_the_weights_answers_as_the_shipped_files_do(model):
    settings, present = BackendSettings(precision="fp32"), replace(frame(), past=past_of(frame()))
    own, answer = (Pipeline.load(model, name, settings=settings)(present).labels for name in ("torch", "onnxruntime"))
    occupied = (own > 0) | (answer > 0)
    assert occupied.any() and (own == answer)[occupied].mean() > 0.9999


def test_entropy_from_the_best_class_alone_is_near_the_networks_own():
    compared = EntropyErrors(Pipeline.load(NANO, "torch", settings=BackendSettings(precision="fp32")))
    compared.add(frame())
    for network, rows in compared.of.items():
        own, believed, _ = np.concatenate(rows).T
        assert len(own) > 1000 and np.abs(believed - own).mean() < 0.2 < own.std(), network


def test_the_contract_of_nano_says_what_it_was_trained_with_and_its_format_knows_no_earlier_sweeps():
    data = yaml.safe_load((NANO / "contract.yaml").read_text())
    assert data["format"] == 5 < FORMAT and data["preprocessing"]["ego_radius"] == 1.5
    assert not load_artifact(NANO).contract.preprocessing.lags


@pytest.mark.parametrize(("model", "same"), [(NANO, True), (MULTISWEEP, False), (SWIFT, False)])
def test_earlier_sweeps_count_where_the_model_was_trained_with_them_alone(model, same):
    pipeline, alone = Pipeline.load(model, "torch", settings=BackendSettings(precision="fp32")), frame()
    one, other = pipeline(alone), pipeline(replace(alone, past=past_of(alone)))
    assert np.array_equal(one.labels, other.labels) == np.array_equal(one.occupancy, other.occupancy) == same
