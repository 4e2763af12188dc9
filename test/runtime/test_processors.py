"""Backends answer alike on every processor, or say that they cannot; and take no more threads than there are cores."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from occfusion_ros.core.contract import NetworkFile, NetworkSpec, TensorSpec
from occfusion_ros.core.errors import BackendError
from occfusion_ros.core.processor import Processor
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends import openvino_backend, protocol
from occfusion_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from occfusion_ros.runtime.backends.openvino_backend import OpenVinoBackend
from occfusion_ros.runtime.backends.protocol import BackendSettings, axis_length
from occfusion_ros.runtime.backends.registry import BACKENDS

CHANNELS = 32
AVX2 = Processor("An Older One", "x86_64", frozenset(["avx2"]))
VNNI = Processor("A Newer One", "x86_64", frozenset(["avx2", "avx512f", "avx512_vnni"]))
ARM = Processor("A Board", "aarch64", frozenset(["asimd"]))
SPEC = NetworkSpec(
    {"fp32": NetworkFile("e.onnx", "0" * 64)},
    (TensorSpec("x", "float32", (1, CHANNELS, 8, 8)),),
    (TensorSpec("y", "float32", (1, CHANNELS, 8, 8)),),
)
HERE = [name for name in BACKENDS if not BACKENDS[name]().unavailable_reason()]
needs_openvino = pytest.mark.skipif("openvino" not in HERE, reason="OpenVINO is not installed")


def quantized_network(weight: int) -> tuple[bytes, float]:
    """One convolution with quantize and dequantize nodes about it, all weights alike; and what it gives for ones."""
    total = weight * CHANNELS
    values = {
        "xs": np.float32(1 / 255),
        "xz": np.uint8(0),
        "w": np.full((CHANNELS, CHANNELS, 1, 1), weight, np.int8),
        "ws": np.float32(1),
        "wz": np.int8(0),
        "ys": np.float32(abs(total) / 200),
        "yz": np.uint8(0 if weight > 0 else 255),
    }
    steps = (
        ("QuantizeLinear", "x xs xz", "xq"),
        ("DequantizeLinear", "xq xs xz", "xd"),
        ("DequantizeLinear", "w ws wz", "wd"),
        ("Conv", "xd wd", "c"),
        ("QuantizeLinear", "c ys yz", "cq"),
        ("DequantizeLinear", "cq ys yz", "y"),
    )
    nodes = [helper.make_node(kind, inputs.split(), [output]) for kind, inputs, output in steps]
    doors = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, CHANNELS, 8, 8))] for name in "xy")
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "network", *doors, constants),
        ir_version=9,
        opset_imports=[helper.make_opsetid("", 18)],
    )
    return model.SerializeToString(), total


def answer(network: protocol.Backend) -> float:
    values = network.run({"x": torch.ones((1, CHANNELS, 8, 8))})["y"]
    assert values.min() == values.max()
    return values.max().item()


@pytest.mark.parametrize("weight", [127, -127, 64, -64, 1])
def test_onnxruntime_is_right_with_weights_of_seven_and_of_eight_bits(weight):
    content, total = quantized_network(weight)
    assert answer(OnnxRuntimeBackend(content, "e.onnx", SPEC, "int8", 1)) == pytest.approx(total, rel=0.01)


@needs_openvino
@pytest.mark.parametrize("processor", [AVX2, VNNI, ARM])
def test_openvino_takes_weights_of_seven_bits_on_every_processor(monkeypatch, processor):
    monkeypatch.setattr(openvino_backend, "this_processor", lambda: processor)
    for weight in (64, -64, 1):
        content, total = quantized_network(weight)
        assert answer(OpenVinoBackend(content, "e.onnx", SPEC, "int8", 1)) == pytest.approx(total, rel=0.01)


@needs_openvino
@pytest.mark.parametrize("weight", [65, 127, -128])
def test_openvino_refuses_weights_of_eight_bits_where_they_saturate(monkeypatch, weight):
    content, _ = quantized_network(weight)
    for processor in (VNNI, ARM):
        monkeypatch.setattr(openvino_backend, "this_processor", lambda processor=processor: processor)
        OpenVinoBackend(content, "e.onnx", SPEC, "int8", 1)
    monkeypatch.setattr(openvino_backend, "this_processor", lambda: AVX2)
    with pytest.raises(BackendError, match=r"^e\.onnx: its weights of 8 bits .*\(An Older One, no VNNI\): .* fp32 or"):
        OpenVinoBackend(content, "e.onnx", SPEC, "int8", 1)


@needs_openvino
@pytest.mark.parametrize("limit", ["AVX2", "avx512_core"])
def test_a_limit_of_instructions_counts(monkeypatch, limit):
    monkeypatch.setattr(openvino_backend, "this_processor", lambda: VNNI)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    with pytest.raises(BackendError, match="weights of 8 bits"):
        OpenVinoBackend(quantized_network(127)[0], "e.onnx", SPEC, "int8", 1)


@needs_openvino
def test_bfloat16_is_taken_only_from_processors_that_have_it(small_artifact, monkeypatch):
    artifact = load_artifact(small_artifact)
    monkeypatch.setattr(openvino_backend, "this_processor", lambda: VNNI)
    assert openvino_backend.precisions(artifact.contract.fuser)[0] == "fp32"
    with pytest.raises(BackendError, match="precision bf16 .*on this machine, which offer fp32"):
        openvino_backend.load(artifact, "refiner", BackendSettings(1, "bf16"))


@pytest.mark.parametrize("cores", [1, 3])
def test_engines_get_as_many_threads_as_there_are_cores_to_use(small_artifact, monkeypatch, cores):
    monkeypatch.setattr(protocol, "usable_cores", lambda: cores)
    assert BackendSettings().cores == cores and BackendSettings(threads=5).cores == 5
    artifact, settings = load_artifact(small_artifact), BackendSettings(precision="fp32")
    networks = {name: BACKENDS[name]().load(artifact, "refiner", settings) for name in HERE}
    assert networks["onnxruntime"].session.get_session_options().intra_op_num_threads == cores
    assert networks["torch"].threads == cores
    if "openvino" in networks:
        assert networks["openvino"].config["INFERENCE_NUM_THREADS"] == cores


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("tiny", [1e-41, -3e-45, 1e-38])
def test_numbers_too_small_to_be_normal_are_as_good_as_zero(small_artifact: Path, name: str, tiny: float):
    artifact = load_artifact(small_artifact)
    network = BACKENDS[name]().load(artifact, "refiner", BackendSettings(1, "fp32"))
    lengths = {"cameras": 2, "parents": 5}
    answers = [
        network.run(
            {
                t.name: torch.full(
                    [axis_length(axis, lengths) for axis in t.shape],
                    value if t.dtype == "float32" else 0,
                    dtype=getattr(torch, t.dtype),
                )
                for t in artifact.contract.refiner.inputs
            }
        )["labels"].clone()
        for value in (0.0, tiny)
    ]
    assert torch.equal(*answers)
