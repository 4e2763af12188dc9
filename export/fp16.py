"""ONNX in float16 inside and float32 at its doors, for TensorRT, which takes precision from the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What keeps float32: sampling positions and what they sample (half a pixel would be lost), sums over a feature map,
# and logarithms of probabilities.
LOGARITHMS = ("Exp", "Log", "LogSoftmax", "ReduceLogSumExp")
EXACT_OPERATORS = ("GridSample", "ReduceMean", "ReduceSum", "Sqrt", "Softmax", *LOGARITHMS)
MATRIX_OPERATORS = ("MatMul", "Gemm", "Conv")
FLOAT, UINT8, FLOAT16 = 1, 2, 10  # in onnx.TensorProto


def write_half(source: Path, target: Path) -> None:
    """Write the float32 ONNX file `source` in float16 as `target`."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    half = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=list(EXACT_OPERATORS), node_block_list=list(exact_nodes(model))
    )
    skip_detours(half, {node.name for node in model.graph.node})
    onnx.save(half, target)


def skip_detours(model: Any, before: set[str]) -> None:  # onnx.ModelProto
    """Take values that are rounded to float16 on their way from one float32 node to the next from where they come.

    Args:
        before: names of the nodes that were there before the conversion, whose casts do more than round.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    half, single = (
        [n for n in model.graph.node if n.op_type == "Cast" and n.attribute[0].i == kind and n.name not in before]
        for kind in (FLOAT16, FLOAT)
    )
    rounded = {node.output[0] for node in half}
    origins = {node.output[0]: makers[node.input[0]].input[0] for node in single if node.input[0] in rounded}
    doors = {output.name for output in model.graph.output}
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = origins.get(name, name)
    used = {name for node in model.graph.node for name in node.input} | doors
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.output[0] not in used]:
        model.graph.node.remove(node)


def exact_nodes(model: Any) -> Iterator[str]:  # onnx.ModelProto
    """Names of the nodes that work out where to sample, and of those that count bytes at the doors.

    They are what GridSample's positions and the outputs in bytes depend on, back to a product.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    waiting = [node.input[1] for node in model.graph.node if node.op_type == "GridSample"]
    waiting += [output.name for output in model.graph.output if output.type.tensor_type.elem_type == UINT8]
    seen = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in seen and node.op_type not in MATRIX_OPERATORS:
            seen.add(node.name)
            waiting += node.input
            yield node.name
