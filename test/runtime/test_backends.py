"""What all backends share, and each of them on a small exported network."""

import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from occfusion_ros.core.contract import NetworkFile, NetworkSpec, TensorSpec
from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.runtime import backends
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends import openvino_backend, registry, tensorrt_backend, torch_backend
from occfusion_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from occfusion_ros.runtime.backends.openvino_backend import OpenVinoBackend
from occfusion_ros.runtime.backends.protocol import (
    BackendSettings,
    OutputBuffers,
    axis_length,
    check_inputs,
    pick_precision,
    usable_gpu,
)
from occfusion_ros.runtime.backends.registry import BACKENDS, candidates
from occfusion_ros.runtime.pipeline import Pipeline

FILES = {"fp32": NetworkFile("e.onnx", "0" * 64)}
SPEC = NetworkSpec(
    FILES,
    (TensorSpec("image", "uint8", ("n", 3)), TensorSpec("scale", "float32", ("4*n",))),
    (TensorSpec("wide", "float32", ("2*n", 5)),),
)
HERE = [name for name in BACKENDS if not BACKENDS[name]().unavailable_reason()]


def test_auto_takes_what_runs_here_and_says_why(caplog):
    caplog.set_level("INFO")
    assert candidates("auto") == tuple(name for name in registry.ON_CPU if name in HERE)
    assert "backend auto: " in caplog.text and candidates("onnxruntime") == ("onnxruntime",)


def test_auto_leaves_out_what_is_not_installed_and_says_so(monkeypatch, caplog):
    caplog.set_level("INFO")
    missing = "OpenVINO is not installed: pip install openvino"
    monkeypatch.setattr(openvino_backend, "unavailable_reason", lambda: missing)
    assert candidates("auto")[0] == "onnxruntime"
    assert "onnxruntime, the fastest that runs here; not openvino: OpenVINO is not installed" in caplog.text


@pytest.mark.parametrize("name", ["tensorflow", "", "ONNXRUNTIME"])
def test_what_there_is_not_is_refused(name):
    with pytest.raises(BackendError, match="expected one of auto, tensorrt, openvino, onnxruntime, torch, got"):
        candidates(name)


def test_a_backend_that_is_not_installed_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(tensorrt_backend, "flavor", lambda: None)
    with pytest.raises(BackendError, match="^backend tensorrt: TensorRT is not installed: [^.]*$"):
        candidates("tensorrt")


def test_the_next_best_backend_is_taken_where_the_best_one_fails(small_artifact, monkeypatch, caplog):
    def fail(*_):
        raise BackendError("no luck")

    monkeypatch.setattr(openvino_backend, "load", fail)
    monkeypatch.setattr(openvino_backend, "unavailable_reason", lambda: "")
    assert Pipeline.load(small_artifact).backend_name.startswith("onnxruntime")
    assert "backend openvino failed: no luck; taking onnxruntime instead" in caplog.text
    with pytest.raises(BackendError, match="no luck"):
        Pipeline.load(small_artifact, "openvino")


def refuse(*_, **__):
    raise RuntimeError("Found no driver of this version")


@pytest.mark.parametrize(
    "fault",
    [
        "a module that is not there",
        "a library that breaks at import",
        "a network that fails at its first run",
        "out of memory",
    ],
)
def test_whatever_is_this_machines_fault_falls_back(small_artifact, monkeypatch, caplog, fault):
    monkeypatch.setattr(registry, "ON_CPU", ("torch", "onnxruntime"))
    if fault == "a module that is not there":
        monkeypatch.setitem(sys.modules, "occfusion_ros.runtime.backends.torch_backend", None)
        monkeypatch.delattr(backends, "torch_backend")
    elif fault == "a library that breaks at import":
        monkeypatch.setitem(registry.BACKENDS, "torch", refuse)
    elif fault == "a network that fails at its first run":
        monkeypatch.setattr(torch_backend.TorchBackend, "run", refuse)
    else:
        monkeypatch.setattr(torch_backend, "load", lambda *_: [][1])
    assert Pipeline.load(small_artifact).backend_name.startswith("onnxruntime")
    with pytest.raises(BackendError, match="torch|PyTorch"):
        Pipeline.load(small_artifact, "torch")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_what_is_the_artifacts_fault_does_not_fall_back(small_artifact, tmp_path, monkeypatch, damage):
    folder = shutil.copytree(small_artifact, tmp_path / "copy")
    damage(folder / "weights.safetensors")
    monkeypatch.setattr(registry, "ON_CPU", ("torch", "onnxruntime"))
    with pytest.raises(ContractError, match=r"weights\.safetensors: "):
        Pipeline.load(folder)


def test_where_nothing_runs_each_reason_is_named(monkeypatch):
    monkeypatch.setattr(registry, "BACKENDS", dict.fromkeys(BACKENDS, refuse))
    with pytest.raises(BackendError, match=r"none runs here; not openvino: it cannot be imported \(RuntimeErr"):
        candidates("auto")


def test_a_gpu_that_cannot_be_used_is_none(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", refuse)
    assert not usable_gpu() and "cannot use it (Found" in caplog.text
    assert candidates("auto")[0] in registry.ON_CPU


@pytest.mark.parametrize(
    "change, message",
    [
        ({"scale": None}, r"expected inputs \['image', 'scale'\], got \['image'\]"),
        ({"more": torch.zeros(1)}, "got .*'more'"),
        ({"image": torch.zeros((2, 3))}, r"input image: expected uint8 \['n', 3\].*got float32 \[2, 3\]"),
        ({"image": torch.zeros((2, 4), dtype=torch.uint8)}, r"input image: .*got uint8 \[2, 4\]"),
        ({"image": torch.zeros((0, 3), dtype=torch.uint8)}, r"input image: .*got uint8 \[0, 3\]"),
        ({"scale": torch.zeros(9)}, r"input scale: expected float32 \['4\*n'\] with \{'n': 2\}, got float32 \[9\]"),
    ],
)
def test_wrong_inputs_are_named(change, message):
    inputs = {"image": torch.zeros((2, 3), dtype=torch.uint8), "scale": torch.zeros(8)}
    assert check_inputs("e.onnx", SPEC, inputs) == {"n": 2}
    inputs = {name: tensor for name, tensor in {**inputs, **change}.items() if tensor is not None}
    with pytest.raises(BackendError, match=rf"e\.onnx: .*{message}"):
        check_inputs("e.onnx", SPEC, inputs)


def test_axes_are_numbers_names_or_multiples_of_names():
    lengths = {"n": 3}
    assert [axis_length(axis, lengths, 8) for axis in (7, "n", "4*n", "2*m", "m")] == [7, 3, 12, 8, 4]


def test_outputs_are_kept_for_lengths_that_come_again():
    buffers = OutputBuffers(SPEC, torch.device("cpu"))
    one, other = buffers.get({"n": 1}), buffers.get({"n": 2})
    assert one["wide"].shape == (2, 5) and other["wide"].shape == (4, 5)
    assert buffers.get({"n": 1})["wide"] is one["wide"]
    for n in range(3, 10):
        buffers.get({"n": n})
    assert len(buffers.kept) == OutputBuffers.KEPT


def test_precisions_that_are_not_offered_are_refused():
    assert pick_precision("openvino", "auto", ("bf16", "fp32")) == "bf16"
    assert pick_precision("openvino", "fp32", ("bf16", "fp32")) == "fp32"
    with pytest.raises(BackendError, match="precision int8 is not to be had with backend openvino and this model"):
        pick_precision("openvino", "int8", ("bf16", "fp32"))
    with pytest.raises(BackendError, match="precision: expected one of auto, fp32, bf16, fp16, int8, got 'fp64'"):
        BackendSettings(precision="fp64")
    with pytest.raises(BackendError, match="threads: expected 0"):
        BackendSettings(threads=-1)


def example(spec: NetworkSpec, lengths: dict[str, int], value: float = 0) -> dict[str, torch.Tensor]:
    """Inputs of the refiner; `value` stands in all voxel features."""
    return {
        t.name: torch.full(
            [axis_length(axis, dict(lengths)) for axis in t.shape],
            value if t.name == "grid_features" else 0,
            dtype=getattr(torch, t.dtype),
        )
        for t in spec.inputs
    }


@pytest.mark.parametrize("name", HERE)
def test_a_run_depends_on_its_inputs_alone_and_any_number_of_cameras_and_voxels_will_do(small_artifact, name):
    artifact = load_artifact(small_artifact)
    spec = artifact.contract.refiner
    network = BACKENDS[name]().load(artifact, "refiner", BackendSettings(threads=1, precision="fp32"))
    assert network.name.startswith(name)
    first = network.run(example(spec, {"cameras": 2, "parents": 5}, 1.0))["labels"].clone()
    for cameras, parents in ((1, 3), (6, 5), (2, 40), (3, 7), (4, 1)):
        lengths = {"cameras": cameras, "parents": parents}
        assert network.run(example(spec, lengths, -1.0))["labels"].shape == (parents, 64)
    other = network.run(example(spec, {"cameras": 2, "parents": 5}, -1.0))["labels"].clone()
    again = network.run(example(spec, {"cameras": 2, "parents": 5}, 1.0))["labels"]
    assert torch.equal(again, first) and not torch.equal(other, first)
    with pytest.raises(BackendError, match=r"refiner.*: input parent: expected int64"):
        network.run({**example(spec, {"cameras": 1, "parents": 5}), "parent": torch.zeros(5)})


@pytest.mark.parametrize("kind, who", [(OnnxRuntimeBackend, "ONNX Runtime"), (OpenVinoBackend, "OpenVINO")])
def test_a_file_that_is_not_onnx_is_named(small_artifact, kind, who):
    if kind is OpenVinoBackend and openvino_backend.unavailable_reason():
        pytest.skip(openvino_backend.unavailable_reason())
    spec = load_artifact(small_artifact).contract.fuser
    with pytest.raises(BackendError, match=rf"fuser\.onnx: {who} .* cannot (load|read) it .*export the\s+model again"):
        kind(b"not a network", "fuser.onnx", spec, "fp32")


@pytest.mark.parametrize("kind", [OnnxRuntimeBackend, OpenVinoBackend])
def test_an_engine_that_is_not_the_contracts_is_refused(small_artifact, kind):
    if kind is OpenVinoBackend and openvino_backend.unavailable_reason():
        pytest.skip(openvino_backend.unavailable_reason())
    artifact = load_artifact(small_artifact)
    spec = artifact.contract.refiner
    renamed = replace(spec, outputs=(replace(spec.outputs[0], dtype="float32"),))
    with pytest.raises(ContractError, match=r"refiner\.onnx: its outputs differ from the contract"):
        kind(artifact.read(spec.files["fp32"]), "refiner.onnx", renamed, "fp32")


def test_openvino_reports_nothing():
    """Its import does, from a child process, where it finds the package for that."""
    pytest.importorskip("openvino")
    code = """
import multiprocessing, socket, sys
def refuse(*_, **__): raise SystemExit("something is sent")
multiprocessing.Process.start = socket.socket.connect = refuse
from occfusion_ros.runtime.backends import openvino_backend
print(repr(openvino_backend.unavailable_reason()), sys.modules["openvino_telemetry"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "'' None", done.stdout + done.stderr
