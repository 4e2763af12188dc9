"""Exported graphs keep to what TensorRT builds."""

import onnx
import pytest
from helpers.tensorrt_subset import BUILDABLE, build_engine


@pytest.fixture(params=["fuser", "refiner"])
def model(request, small_artifact) -> onnx.ModelProto:
    return onnx.load(small_artifact / f"{request.param}.onnx")


def test_operators(model):
    assert {node.op_type for node in model.graph.node} <= BUILDABLE
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        assert attributes.get("reduction", b"none") == b"none", node.name


def test_types(model):
    graph = model.graph
    types = {v.name: v.type.tensor_type for v in (*graph.input, *graph.output, *graph.value_info)}
    doors = {v.name for v in (*graph.input, *graph.output)}
    inside = {name for name, t in types.items() if t.elem_type == onnx.TensorProto.UINT8} - doors
    assert not inside  # TensorRT has uint8 at its inputs and outputs only
    for node in graph.node:
        if node.op_type == "GridSample":
            for name in node.input:
                assert types[name].elem_type == onnx.TensorProto.FLOAT and len(types[name].shape.dim) == 4


def test_weights_are_inside_the_file(model):
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


def test_tensorrt_rtx_builds_the_engine(model):
    build_engine(model)
