"""The shipped weights are those inside the shipped networks."""

import hashlib
from pathlib import Path

import numpy as np
import yaml

from occfusion_ros.core.confidence import class_entropy
from occfusion_ros.core.contract import FORMAT
from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.network import wrappers
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

NANO = Path(__file__).parents[2] / "models" / "zoo" / "nano"


def test_shipped_weights_are_named_by_the_contract_and_say_what_they_are():
    contract = load_artifact(NANO).contract
    for network in (contract.fuser, contract.refiner):
        assert network.files["weights"].name == "weights.safetensors"
        assert network.files["weights"].sha256 == contract.checkpoint_sha256
    assert hashlib.sha256((NANO / "weights.safetensors").read_bytes()).hexdigest() == contract.checkpoint_sha256
    _, metadata = load_checkpoint(NANO / "weights.safetensors")
    assert metadata == {"model_id": contract.model_id, "trained_on": contract.trained_on, "accuracy": contract.accuracy}


def frame() -> SensorFrame:
    """A made-up sweep, and one camera that looks along y at noise."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-40, -40, -2, 0), (40, 40, 2, 1), (4000, 4)).astype(np.float32)
    camera_from_grid = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    intrinsics = np.array([[350.0, 0, 352], [0, 350, 70], [0, 0, 1]])
    noise = rng.integers(0, 255, (256, 704, 3), np.uint8)
    return SensorFrame(0, points, (CameraImage("ahead", noise, intrinsics, camera_from_grid),))


def test_the_network_from_the_weights_answers_as_the_shipped_files_do():
    settings = BackendSettings(precision="fp32")
    own, answer = (Pipeline.load(NANO, name, settings=settings)(frame()).labels for name in ("torch", "onnxruntime"))
    occupied = (own > 0) | (answer > 0)
    assert occupied.any() and (own == answer)[occupied].mean() > 0.9999


def test_entropy_from_the_best_class_alone_is_near_the_networks_own(monkeypatch):
    kept = []
    original = wrappers.class_byte
    monkeypatch.setattr(wrappers, "class_byte", lambda logits: kept.append(logits.clone()) or original(logits))
    Pipeline.load(NANO, "torch", settings=BackendSettings(precision="fp32"))(frame())
    for logits in kept[-2:]:  # of the fuser, and of the refiner
        occupied = logits.reshape(-1, logits.shape[-1])
        classes = occupied[occupied.softmax(-1)[:, 0] < 0.5][:, 1:].softmax(-1)
        own = -(classes * classes.clamp(min=1e-9).log()).sum(-1).numpy()
        estimated = class_entropy((classes.amax(-1) * 255).round().byte().numpy())
        assert len(own) > 1000 and np.abs(estimated - own).mean() < 0.2 < own.std()


def test_the_shipped_contract_is_of_todays_format_and_says_what_it_was_trained_with():
    data = yaml.safe_load((NANO / "contract.yaml").read_text())
    assert data["format"] == FORMAT and data["preprocessing"]["ego_radius"] == 1.5
