"""INT8 files are added to an artifact, run, and stay out where they lose too much."""

import shutil

import numpy as np
import onnx
import pytest
from helpers.saturation import lost, quantized_weights
from onnx import numpy_helper

from export import parity, quantize
from export.parity import Limit
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive


@pytest.fixture(scope="module")
def frames() -> list[SensorFrame]:
    return [SyntheticDrive(7, image_size=(90, 160)).frame(index).frame for index in (0, 4)]


@pytest.fixture(scope="module")
def quantized(small_artifact, tmp_path_factory, frames):
    """Folder of an artifact with INT8 files; comparisons are made on one frame, and not with the reference itself."""
    folder = shutil.copytree(small_artifact, tmp_path_factory.mktemp("quantized") / "copy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "parity_frames", lambda *_: {"one": frames[0]})
        patch.setattr(quantize, "runnable", lambda folder: parity.runnable(folder, ("openvino", "onnxruntime")))
        patch.setitem(parity.LIMITS, "int8", Limit(None, 0.1, 0.0))  # a network that was never trained has no margins
        quantize.add_int8(load_artifact(folder), frames, None, 1)
    return folder


def test_int8_files_are_added_and_run(quantized, frames):
    contract = load_artifact(quantized).contract
    assert set(contract.fuser.files) == {"fp32", "fp16", "weights", "int8", "int8_onnxruntime"}
    assert contract.refiner.files["int8"] == contract.refiner.files["fp32"]
    exact, rough = (
        Pipeline.load(quantized, "onnxruntime", settings=BackendSettings(1, precision))
        for precision in ("fp32", "int8")
    )
    one, other = exact(frames[0]).labels, rough(frames[0]).labels
    assert (one == other).mean() > 0.7 and not np.array_equal(one, other)


def test_the_file_for_tensorrt_is_symmetric_and_keeps_its_biases(quantized):
    graph = onnx.load(quantized / "fuser.int8.onnx").graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert nodes and all((values[n.input[2]] == 0).all() and values[n.input[2]].dtype == np.int8 for n in nodes)
    biases = biases_of(graph)
    assert biases == biases_of(onnx.load(quantized / "fuser.onnx").graph)
    assert all(values[bias].dtype == np.float32 for bias in biases)


@pytest.mark.parametrize("name", quantize.FILES.values())
def test_no_sum_saturates_on_any_processor(quantized, name):
    weights = quantized_weights(quantized / name)
    assert weights and {layer: error for layer, array in weights.items() if (error := lost(array))} == {}


def biases_of(graph: onnx.GraphProto) -> list[str]:
    return sorted(n.input[2] for n in graph.node if n.op_type == "Conv" and len(n.input) > 2)


def test_nothing_is_written_where_int8_loses_too_much(small_artifact, quantized, frames, tmp_path, monkeypatch):
    copy = shutil.copytree(small_artifact, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    monkeypatch.setattr(quantize, "parity_frames", lambda *_: {"one": frames[0]})
    monkeypatch.setattr(quantize, "runnable", lambda folder: parity.runnable(folder, ("onnxruntime",)))
    monkeypatch.setattr(
        quantize, "quantize", lambda _, target, *__, **___: shutil.copy(quantized / target.name, target)
    )
    monkeypatch.setitem(parity.LIMITS, "int8", Limit(None, 1.0, 1.0))
    with pytest.raises(ContractError, match="INT8 loses too much, nothing was written: .* int8: "):
        quantize.add_int8(load_artifact(copy), frames, None, 1)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_the_command_says_what_is_wrong(capsys, tmp_path):
    for arguments, message in (
        ([str(tmp_path)], "contract.yaml: no such file"),
        ([str(tmp_path), "--count", "0"], "expected 1 or more"),
    ):
        with pytest.raises(SystemExit) as stop:
            quantize.main(arguments)
        assert stop.value.code == 2 and message in capsys.readouterr().err
