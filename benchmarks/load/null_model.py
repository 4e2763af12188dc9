"""A model that costs nothing: everything around the networks runs in full, the networks themselves do next to nothing.

Its engines have the inputs of a real model's. Voxels with a return, of earlier sweeps too where `like` knows them,
are occupied, their class is made up from their height, all are equally uncertain, and the refiner keeps what has a
return.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.contract import write_contract
from export.to_onnx import OPSET, tensor_spec
from occfusion_ros.core.contract import ModelContract, NetworkFile, NetworkSpec, TensorSpec

IR_VERSION = 8  # any ONNX Runtime of the last years reads it
CLASS = 15  # manmade


def write_null_model(folder: Path, like: ModelContract) -> Path:
    """Write an artifact with the doors of `like`, for ONNX Runtime."""
    folder.mkdir(parents=True, exist_ok=True)
    engines = {"fuser": _fuser(like), "refiner": _refiner(like)}
    contract = replace(
        like,
        model_id="null",
        trained_on="nothing",
        accuracy={},
        **{name: _write(model, folder / f"{name}.onnx") for name, model in engines.items()},
    )
    write_contract(contract, folder)
    return folder


def _fuser(like: ModelContract) -> Any:
    """Sub-voxels with a return, from the voxel features; see `FusedVoxels` for the inputs."""
    from onnx import TensorProto, helper

    total, children = like.coarse_grid.num_voxels, like.coarse_factor**3
    height = np.arange(total) % like.coarse_grid.size[2]
    constants = {
        "last": np.array([total - 1]),
        "children": np.array([children]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "column": np.array([1]),
        "corner": np.zeros(3, np.int64),
        "pixel": np.ones(3, np.int64),
        "image_axes": np.array([1, 2, 3]),
        "all": np.array([total, children]),
        "voxels": np.array([total]),
        "features": np.array([1, total, 1]),
        "sure": np.array([255], np.uint8),
        "classes": (1 + height % len(like.classes)).astype(np.uint8),
    }
    nothing = helper.make_tensor("value", TensorProto.UINT8, [1], [0])
    nodes = [
        helper.make_node("Slice", ["voxel_features", "zero", "children", "column"], ["returned"]),
        helper.make_node("Ceil", ["returned"], ["of_any_age"]),
        helper.make_node("Cast", ["of_any_age"], ["ones"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["ones", "sure"], ["flags"]),
        helper.make_node("Min", ["voxel_index", "last"], ["inside"]),
        helper.make_node("Unsqueeze", ["inside", "one"], ["rows"]),
        helper.make_node("ConstantOfShape", ["all"], ["empty"], value=nothing),
        helper.make_node("ScatterND", ["empty", "rows", "flags"], ["occupancy"]),
        helper.make_node("Identity", ["classes"], ["semantic"]),
        helper.make_node("Identity", ["classes"], ["semantic_confidence"]),
        helper.make_node("ConstantOfShape", ["voxels"], ["uncertainty"]),
        helper.make_node("ConstantOfShape", ["features"], ["grid_features"]),
        helper.make_node("Slice", ["images", "corner", "pixel", "image_axes"], ["pixels"]),
        helper.make_node("Cast", ["pixels"], ["shades"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["shades"], ["image_map"], perm=[1, 2, 0, 3]),
    ]
    outputs = (
        TensorSpec("occupancy", "uint8", (total, children)),
        TensorSpec("semantic", "uint8", (total,)),
        TensorSpec("semantic_confidence", "uint8", (total,)),
        TensorSpec("uncertainty", "float32", (total,)),
        TensorSpec("grid_features", "float32", (1, total, 1)),
        TensorSpec("image_map", "float32", (1, 1, "cameras", 1)),
    )
    return _model("fuser", nodes, like.fuser.inputs, outputs, constants)


def _refiner(like: ModelContract) -> Any:
    """Children with a return; see `ChildInputs` for the inputs."""
    from onnx import TensorProto, helper

    total, children = like.coarse_grid.num_voxels, like.coarse_factor**3
    nodes = [
        helper.make_node("Cast", ["child_return"], ["flags"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["flags", "class"], ["labels"]),
        *(helper.make_node("Mul", ["flags", "sure"], [name]) for name in ("occupancy", "class_confidence")),
    ]
    doors = {"grid_features": (1, total, 1), "image_map": (1, 1, "cameras", 1)}
    inputs = tuple(replace(spec, shape=doors.get(spec.name, spec.shape)) for spec in like.refiner.inputs)
    names = ("labels", "occupancy", "class_confidence")
    outputs = tuple(TensorSpec(name, "uint8", ("parents", children)) for name in names)
    constants = {"class": np.array([CLASS], np.uint8), "sure": np.array([255], np.uint8)}
    return _model("refiner", nodes, inputs, outputs, constants)


def _model(
    name: str,
    nodes: list,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    constants: dict[str, np.ndarray],
) -> Any:
    from onnx import checker, helper, numpy_helper

    def door(spec: TensorSpec) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        return helper.make_tensor_value_info(spec.name, kind, list(spec.shape))

    graph = helper.make_graph(
        nodes,
        name,
        [door(i) for i in inputs],
        [door(o) for o in outputs],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model


def _write(model: Any, path: Path) -> NetworkSpec:
    content = model.SerializeToString()
    path.write_bytes(content)
    file = NetworkFile(path.name, hashlib.sha256(content).hexdigest())
    return NetworkSpec(
        {"fp32": file}, tuple(map(tensor_spec, model.graph.input)), tuple(map(tensor_spec, model.graph.output))
    )
