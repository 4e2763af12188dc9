"""Exported graphs keep to what TensorRT builds."""

import onnx
import pytest
from helpers.tensorrt_subset import BUILDABLE


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
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: engines were not built")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString()), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    profile, settings = builder.create_optimization_profile(), builder.create_builder_config()
    lengths = {"cameras": (1, 3, 6), "parents": (1, 40, 40)}
    for tensor in model.graph.input:
        dims = [d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim]
        if any(isinstance(d, str) for d in dims):
            shapes = [[_length(d, lengths, which) for d in dims] for which in range(3)]
            profile.set_shape(tensor.name, *shapes)
    settings.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, settings) is not None


def _length(dim: int | str, lengths: dict[str, tuple[int, int, int]], which: int) -> int:
    """A dynamic axis is named, or a multiple of a named one such as ``8*cameras``."""
    if isinstance(dim, int):
        return dim
    factor, _, name = dim.rpartition("*")
    return int(factor or 1) * lengths[name][which]
