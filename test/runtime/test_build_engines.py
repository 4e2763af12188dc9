"""TensorRT-RTX builds every graph for the GPUs of robots; parsing alone would not tell."""

import json

import pytest
from onnx import TensorProto, helper

from occfusion_ros.core.contract import NetworkSpec, TensorSpec
from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.core.shipped import shipped
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends import tensorrt_backend
from occfusion_ros.runtime.build_engines import build_for, main

CAPABILITIES = {"nano": ["SM89"], "small": ["SM86", "SM120"]}  # each takes as long again


@pytest.fixture(scope="module")
def rtx():
    """TensorRT-RTX, which needs no GPU to build."""
    trt = tensorrt_backend.flavor(("tensorrt_rtx",))
    if trt is None:
        pytest.skip("TensorRT-RTX is not installed: pip install tensorrt-rtx-cu13")
    return trt


@pytest.mark.parametrize("name", ["nano", "small"])
def test_every_shipped_graph_builds_in_every_precision(rtx, small_artifact, name):
    artifact = load_artifact(shipped("models/nano", "models/zoo/nano") if name == "nano" else small_artifact)
    precisions = [p for p in tensorrt_backend.VARIANTS if p in artifact.contract.fuser.files]
    assert precisions == ["fp16", "int8", "fp32"] if name == "nano" else ["fp16", "fp32"]
    built = build_for(artifact, CAPABILITIES[name], precisions)
    files = {artifact.network(engine).files[p].name for engine in ("fuser", "refiner") for p in precisions}
    assert {(b.file, b.gpu) for b in built} == {(file, gpu) for file in files for gpu in CAPABILITIES[name]}
    assert all(b.size_mb > 0.05 for b in built)


def model_of(operator: str, **attributes) -> bytes:
    """An ONNX file of one operator on a (2, 3) float input."""
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    kind = TensorProto.INT64 if operator == "NonZero" else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def spec_of(small_artifact) -> NetworkSpec:
    files = load_artifact(small_artifact).contract.fuser.files
    return NetworkSpec(files, (TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "float32", (2, 3)),))


@pytest.mark.parametrize(
    "content, message",
    [
        (model_of("NonZero"), r"e\.onnx: tensorrt_rtx .* cannot (parse|build) it \(.*NonZero"),
        (b"no onnx", r"e\.onnx: tensorrt_rtx .* cannot parse it \("),
    ],
)
def test_what_does_not_build_is_named(rtx, small_artifact, content, message):
    with pytest.raises(BackendError, match=message):
        tensorrt_backend.build_engine(rtx, content, "e.onnx", spec_of(small_artifact), {}, capability="SM89")


def test_a_build_says_how_far_it_is(rtx, small_artifact, monkeypatch, caplog):
    monkeypatch.setattr(tensorrt_backend, "SAY_EVERY_S", 0.0)
    caplog.set_level("INFO")
    build_for(load_artifact(small_artifact), ["SM89"], ["fp16"])
    assert "fuser.fp16.onnx: " in caplog.text and " step 1 of " in caplog.text


def test_the_command_reports_what_it_built(rtx, small_artifact, tmp_path, capsys):
    report = tmp_path / "built.json"
    arguments = [str(small_artifact), "--capability", "SM86", "--precision", "fp16", "--json", str(report)]
    assert main(arguments) == 0
    assert "fuser.fp16.onnx" in capsys.readouterr().out
    assert {one["file"] for one in json.loads(report.read_text())} == {"fuser.fp16.onnx", "refiner.fp16.onnx"}


def test_engines_of_this_machine_need_a_gpu(small_artifact, tmp_path, capsys):
    if not tensorrt_backend.unavailable_reason():
        pytest.skip("TensorRT runs here")
    with pytest.raises(SystemExit):
        main([str(small_artifact), "--cache", str(tmp_path)])
    assert "build_engines: TensorRT " in capsys.readouterr().err


def test_a_damaged_onnx_file_is_not_built(rtx, small_artifact, tmp_path):
    import shutil

    folder = shutil.copytree(small_artifact, tmp_path / "copy")
    (folder / "fuser.fp16.onnx").write_bytes((folder / "fuser.fp16.onnx").read_bytes()[:-7])
    with pytest.raises(ContractError, match=r"fuser\.fp16\.onnx: expected sha256 .* copy the whole artifact"):
        build_for(load_artifact(folder), ["SM89"], ["fp16"])
