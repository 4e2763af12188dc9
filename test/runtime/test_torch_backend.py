"""The torch backend builds the networks that the contract describes from weights, and nothing else."""

import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load, save

from occfusion_ros.core.contract import NetworkFile
from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.runtime.artifact import NETWORKS, Artifact, load_artifact
from occfusion_ros.runtime.backends import registry, torch_backend
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

EMPTY = SensorFrame(0, np.zeros((0, 4), np.float32))
FP32 = BackendSettings(precision="fp32")


class Evil:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return open, ("written", "w")


def with_weights(source: Path, folder: Path, content: bytes) -> Artifact:
    """A copy of an artifact with other weights, for which its contract vouches."""
    import hashlib

    artifact = load_artifact(shutil.copytree(source, folder))
    (folder / "weights.safetensors").write_bytes(content)
    file = NetworkFile("weights.safetensors", hashlib.sha256(content).hexdigest())
    networks = {
        name: replace(artifact.network(name), files={**artifact.network(name).files, "weights": file})
        for name in NETWORKS
    }
    return Artifact(folder, replace(artifact.contract, **networks))


def configured(source: Path, **changes) -> bytes:
    """The weights of an artifact under a header in which some of the configuration is changed."""
    content = (source / "weights.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    config = json.loads(header["config"])
    presample = config["presample"] | changes.pop("presample", {})
    return save(load(content), header | {"config": json.dumps(config | {"presample": presample} | changes)})


def old_artifact(source: Path, folder: Path, *, weights: bool) -> Path:
    """A copy of format 3, which names programs."""
    shutil.copytree(source, folder)
    data = yaml.safe_load((folder / "contract.yaml").read_text()) | {"format": 3, "pytorch": "2.13.0"}
    for network in NETWORKS:
        files = data[network]["files"]
        files["program"] = {"name": f"{network}.pt2", "sha256": "0" * 64}
        if not weights:
            del files["weights"]
    (folder / "contract.yaml").write_text(yaml.safe_dump(data))
    return folder


def test_without_safetensors_it_says_what_to_install_and_others_are_taken(small_artifact, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert torch_backend.unavailable_reason().startswith("safetensors is not installed (")
    with pytest.raises(BackendError, match=r"^backend torch: safetensors is .*: pip install safetensors$"):
        Pipeline.load(small_artifact, "torch")
    monkeypatch.setattr(registry, "ON_CPU", ("torch", "onnxruntime"))
    assert Pipeline.load(small_artifact).backend_name.startswith("onnxruntime")
    assert "not torch: safetensors is not installed" in caplog.text


def test_an_old_artifact_that_names_programs_runs_from_its_weights(small_artifact, tmp_path):
    old = old_artifact(small_artifact, tmp_path / "old", weights=True)
    answers = [Pipeline.load(folder, "torch", settings=FP32)(EMPTY).labels for folder in (old, small_artifact)]
    assert np.array_equal(*answers) and answers[0].any()


def test_an_old_artifact_without_weights_runs_elsewhere_and_says_why(small_artifact, tmp_path, monkeypatch, caplog):
    old = old_artifact(small_artifact, tmp_path / "old", weights=False)
    with pytest.raises(BackendError, match="^model small has no weights for PyTorch: export it again$"):
        Pipeline.load(old, "torch")
    monkeypatch.setattr(registry, "ON_CPU", ("torch", "onnxruntime"))
    assert Pipeline.load(old).backend_name.startswith("onnxruntime") and "has no weights" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "lidar"}, "expected a checkpoint"),  # its weights are others
        ({"presample": {"horizon": 0.5}}, r"expected pre-sampling .*horizon=0\.27.*, got .*horizon=0\.5"),
        ({"presample": {"use_lidar": False}}, "expected pre-sampling .*, got .*use_lidar=False"),
        ({"width": 1 << 40}, "expected a checkpoint"),
        ({"width": 10**30}, "expected a checkpoint"),
        ({"bev": [1 << 40]}, "expected a checkpoint"),
        ({"presample": {"coarse_factor": 1 << 20}}, "expected a checkpoint"),
        ({"presample": {"grid": None}}, "expected a checkpoint"),
        ({"backbone": ["resnet50"]}, "expected a checkpoint"),
        ({"backbone": "vit"}, "expected a checkpoint .*backbone must be one of"),
        ({"surprise": 1}, "expected a checkpoint .*surprise"),
    ],
)
def test_a_configuration_that_is_not_the_contracts_is_refused(small_artifact, tmp_path, changes, message):
    artifact = with_weights(small_artifact, tmp_path / "copy", configured(small_artifact, **changes))
    with pytest.raises(ContractError, match=rf"copy/weights\.safetensors: {message}"):
        torch_backend.load(artifact, "fuser", FP32)


def test_a_network_that_only_exists_to_compare_with_is_refused(small_artifact, tmp_path):
    from helpers.small_model import CONFIG

    from occfusion_ros.network.checkpoint import save_checkpoint
    from occfusion_ros.network.occfusion import OccFusion

    save_checkpoint(tmp_path / "lidar.safetensors", OccFusion(replace(CONFIG, fusion="lidar")), {})
    artifact = with_weights(small_artifact, tmp_path / "copy", (tmp_path / "lidar.safetensors").read_bytes())
    with pytest.raises(ContractError, match="expected fusion point, which the contract has, got lidar: export"):
        torch_backend.load(artifact, "fuser", FP32)


def test_a_contract_with_other_tensors_is_refused(small_artifact):
    artifact = load_artifact(small_artifact)
    refiner = artifact.contract.refiner
    renamed = replace(refiner, outputs=(replace(refiner.outputs[0], name="classes"),))
    with pytest.raises(ContractError, match=r"expected outputs \('classes',\), which the contract has, got"):
        torch_backend.load(Artifact(artifact.folder, replace(artifact.contract, refiner=renamed)), "refiner", FP32)


BROKEN = (b"", b"x" * 100, b"\xff" * 16, pickle.dumps(Evil()), save({}), save({}, {"config": "{"}))


@pytest.mark.parametrize("content", BROKEN)
def test_what_is_no_checkpoint_is_refused_and_never_run(small_artifact, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    artifact = with_weights(small_artifact, tmp_path / "copy", content)
    with pytest.raises(ContractError, match=r"weights\.safetensors: expected a checkpoint written by models\.train"):
        torch_backend.load(artifact, "refiner", FP32)
    assert not Path("written").exists()


def test_it_runs_in_half_precision_too(small_artifact):
    """As on a GPU."""
    artifact, answers = load_artifact(small_artifact), {}
    for precision in ("fp32", "fp16"):
        built = ((torch_backend.build_network(artifact, name), name, artifact.network(name)) for name in NETWORKS)
        networks = (torch_backend.TorchBackend(*network, precision, torch.device("cpu")) for network in built)
        answers[precision] = Pipeline(artifact.contract, *networks)(EMPTY).labels
    assert (answers["fp16"] == answers["fp32"]).mean() > 0.99 and answers["fp32"].any()
