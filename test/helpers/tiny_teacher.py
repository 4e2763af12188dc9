"""Teachers small enough to know what they say: ONNX files made by hand."""

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

SIZE = (64, 96)  # height, width
TABLE = {"size": list(SIZE), "classes": {0: "driveable_surface", 1: "car", 2: "manmade"}}


def write_teacher(path: Path, table: dict = TABLE, form: str = "logits") -> Path:
    """A network that calls bright red pixels class 0, green ones 1 and blue ones 2, with its table beside it.

    Args:
        form: of what comes out: "logits" (1, 3, h, w); "half", the same at half the size; "last" (1, h, w, 3);
            "indices" (1, h, w); "bytes", logits from (1, h, w, 3) uint8.
    """
    height, width = table["size"]
    if form == "bytes":
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])
        nodes = [
            helper.make_node("Cast", ["image"], ["bright"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["bright"], ["scores"], perm=[0, 3, 1, 2]),
        ]
    else:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])
        nodes = [helper.make_node("Mul", ["image", "ten"], ["scores"])]
    last = {
        "half": helper.make_node("AveragePool", ["scores"], ["out"], kernel_shape=[2, 2], strides=[2, 2]),
        "last": helper.make_node("Transpose", ["scores"], ["out"], perm=[0, 2, 3, 1]),
        "indices": helper.make_node("ArgMax", ["scores"], ["out"], axis=1, keepdims=0),
    }.get(form, helper.make_node("Identity", ["scores"], ["out"]))
    kind = TensorProto.INT64 if form == "indices" else TensorProto.FLOAT
    out = helper.make_tensor_value_info("out", kind, None)
    ten = numpy_helper.from_array(np.float32(10), "ten")
    graph = helper.make_graph([*nodes, last], "teacher", [image], [out], [ten] if form != "bytes" else [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(table))
    return path
