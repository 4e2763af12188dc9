"""What exported graphs may have, so that TensorRT builds them."""

import onnx
import pytest

# Operators that TensorRT's ONNX parser takes and its builder builds, as far as our graphs have had use for them. Known
# not to build: NonZero, Unique, TopK above 3840, scatter with a reduction.
BUILDABLE = {
    "Add",
    "And",
    "ArgMax",
    "Cast",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "CumSum",
    "Div",
    "Equal",
    "Exp",
    "Expand",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "GridSample",
    "Less",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Pad",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Resize",
    "ScatterElements",
    "ScatterND",
    "Shape",
    "Slice",
    "Softmax",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "TopK",
    "Transpose",
    "Unsqueeze",
    "Where",
}


def build_engine(model: onnx.ModelProto) -> None:
    """Fail unless TensorRT-RTX builds a network, which it does without a GPU; skip where it is not installed."""
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
