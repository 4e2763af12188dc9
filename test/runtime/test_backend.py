from dataclasses import replace

import pytest
import torch

from occfusion_ros.core.contract import EngineSpec, TensorSpec
from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.runtime.artefact import load_artefact
from occfusion_ros.runtime.backend import BACKENDS, check_inputs, choose_backend
from occfusion_ros.runtime.onnxruntime import OnnxRuntimeBackend

SPEC = EngineSpec("e.onnx", "", (TensorSpec("image", "uint8", ("n", 3)), TensorSpec("scale", "float32", ("n",))), ())


def test_auto_is_a_backend_of_this_version():
    assert choose_backend("auto") in BACKENDS and choose_backend("onnxruntime") == "onnxruntime"


@pytest.mark.parametrize("name", ["tensorrt", "openvino", "torch", "", "ONNXRUNTIME"])
def test_what_this_version_lacks_is_refused(name):
    with pytest.raises(BackendError, match="is not part of this version, expected one of auto, onnxruntime"):
        choose_backend(name)


@pytest.mark.parametrize("change, message", [
    ({"scale": None}, r"expected inputs \['image', 'scale'\], got \['image'\]"),
    ({"more": torch.zeros(1)}, "got .*'more'"),
    ({"image": torch.zeros((2, 3))}, r"input image: expected uint8 \['n', 3\].*got float32 \[2, 3\]"),
    ({"image": torch.zeros((2, 4), dtype=torch.uint8)}, r"input image: .*got uint8 \[2, 4\]"),
    ({"image": torch.zeros((0, 3), dtype=torch.uint8)}, r"input image: .*got uint8 \[0, 3\]"),
    ({"scale": torch.zeros(3)}, r"input scale: expected float32 \['n'\] with \{'n': 2\}, got float32 \[3\]"),
])
def test_wrong_inputs_are_named(change, message):
    inputs = {"image": torch.zeros((2, 3), dtype=torch.uint8), "scale": torch.zeros(2)}
    check_inputs(SPEC, inputs)
    inputs = {name: tensor for name, tensor in {**inputs, **change}.items() if tensor is not None}
    with pytest.raises(BackendError, match=rf"e\.onnx: .*{message}"):
        check_inputs(SPEC, inputs)


def test_a_file_that_is_not_onnx_is_named(small_artefact):
    spec = load_artefact(small_artefact).contract.fuser
    with pytest.raises(BackendError, match=r"fuser\.onnx: ONNX Runtime .* cannot load it .*export the model again"):
        OnnxRuntimeBackend(b"not an engine", spec)


def test_an_engine_that_is_not_the_contracts_is_refused(small_artefact):
    artefact = load_artefact(small_artefact)
    spec = artefact.contract.refiner
    renamed = replace(spec, outputs=(replace(spec.outputs[0], dtype="float32"),))
    with pytest.raises(ContractError, match=r"refiner\.onnx: its outputs differ from the contract"):
        OnnxRuntimeBackend(artefact.read(spec), renamed)


def test_outputs_outlive_the_next_run(small_artefact):
    artefact = load_artefact(small_artefact)
    spec = artefact.contract.refiner
    engine = OnnxRuntimeBackend(artefact.read(spec), spec, threads=1)

    def run(value: float) -> torch.Tensor:
        shapes = {t.name: [{"8*cameras": 8, "parents": 5}.get(d, d) for d in t.shape] for t in spec.inputs}
        return engine.run({t.name: torch.full(shapes[t.name], value if t.name == "grid_features" else 0,
                                              dtype=getattr(torch, t.dtype)) for t in spec.inputs})["labels"]

    first = run(1.0)
    kept = first.clone()
    assert not torch.equal(run(-1.0), kept) and torch.equal(first, kept)
