"""Export a checkpoint to an artefact folder: `python -m export.onnx CHECKPOINT OUT`.

Writes fuser.onnx, refiner.onnx, contract.yaml and parity.json. The exported engines are first compared with PyTorch on
real frames (--data) or synthetic ones; nothing is written to OUT unless they agree.
"""

import argparse
import hashlib
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from models.checkpoint import load_checkpoint
from models.occfusion import ModelConfig, OccFusion
from occfusion_ros.core.contract import EngineSpec, ModelContract, TensorSpec
from occfusion_ros.core.errors import ContractError, OccFusionError
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.artefact import CONTRACT_FILE
from occfusion_ros.runtime.pipeline import Pipeline

from .frames import parity_frames
from .parity import Comparison, parity_report, print_table
from .wrappers import FuserEngine, RefinerEngine

OPSET = 18
FILES = ("fuser.onnx", "refiner.onnx", "parity.json", CONTRACT_FILE)  # the contract last: it vouches for the others
GRID_FRAME = "origin 1.84 m above the road, x right, y forward, z up (nuScenes LIDAR_TOP)"


def export_engines(model: OccFusion, folder: Path) -> tuple[EngineSpec, EngineSpec]:
    """Write fuser.onnx and refiner.onnx; the number of cameras and of refined voxels are dynamic axes."""
    fuser, refiner = FuserEngine(model).eval(), RefinerEngine(model).eval()
    inputs, children = example_inputs(model.config)
    cameras = Dim("cameras", min=1, max=model.config.presample.max_cameras)
    shapes = {name: {0: cameras} if name == "images" else None for name in inputs}
    export_engine(fuser, inputs, shapes, folder / FILES[0])
    with torch.no_grad():
        fused = dict(zip(fuser.OUTPUTS, fuser(*inputs.values())))
    parents = Dim("parents", min=1, max=model.config.coarse.num_voxels)
    shapes = {"grid_features": None, "image_map": {2: refiner.feature_rows * cameras},
              **{name: {0: parents} for name in children}}
    inputs = {"grid_features": fused["grid_features"], "image_map": fused["image_map"], **children}
    export_engine(refiner, inputs, shapes, folder / FILES[1])
    return engine_spec(folder / FILES[0]), engine_spec(folder / FILES[1])


def example_inputs(config: ModelConfig) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs of the right shapes: the fuser's for two cameras, and a few children for the refiner."""
    presampler = Presampler(config.presample)
    images = torch.zeros((2, 3, *config.presample.image_size), dtype=torch.uint8)
    image_from_grid = torch.eye(4).repeat(2, 1, 1)
    inputs = presampler.prepare_points(np.zeros((0, 4), np.float32), images, image_from_grid)
    children = describe_children(torch.arange(3), presampler, image_from_grid, inputs.returns)
    return inputs.engine_inputs(), children.engine_inputs()


def export_engine(engine: torch.nn.Module, inputs: dict[str, torch.Tensor], shapes: dict[str, Any], path: Path) -> None:
    """Trace one wrapper and write it as a single ONNX file."""
    print(f"exporting {path.name} ...", flush=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision operators that are not used here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch; what matters is checked by the comparison
        program = torch.onnx.export(engine, tuple(inputs.values()), dynamo=True, opset_version=OPSET, verbose=False,
                                    input_names=list(engine.INPUTS), output_names=list(engine.OUTPUTS),
                                    dynamic_shapes=tuple(shapes.values()))
        program.save(path, external_data=False)
    forget_origin(path)


def forget_origin(path: Path) -> None:
    """Drop the exporter's notes, which hold stack traces: a file must not tell, nor depend on, where it was made."""
    import onnx

    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer, *model.functions):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def engine_spec(path: Path) -> EngineSpec:
    """Name, hash and tensors of an ONNX file."""
    import onnx

    graph = onnx.load(path).graph
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return EngineSpec(path.name, digest, tuple(map(_tensor_spec, graph.input)), tuple(map(_tensor_spec, graph.output)))


def _tensor_spec(value: Any) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return TensorSpec(value.name, dtype, tuple(d.dim_param or d.dim_value for d in tensor.shape.dim))


def make_contract(model: OccFusion, metadata: dict[str, Any], checkpoint: Path, engines: tuple[EngineSpec, EngineSpec]
                  ) -> ModelContract:
    """What training fixed, for the robot."""
    config, p = model.config, model.config.presample
    try:
        return ModelContract(
            model_id=metadata["model_id"], grid=p.grid, coarse_factor=p.coarse_factor, grid_frame=GRID_FRAME,
            classes=OPENOCCUPANCY_CLASSES, max_cameras=p.max_cameras, image_size=p.image_size, horizon=p.horizon,
            points_per_voxel=p.points_per_voxel, fusion_queries=p.fusion_queries, refine_budget=config.refine_budget,
            fuser=engines[0], refiner=engines[1], checkpoint_sha256=hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
            trained_on=metadata["trained_on"], accuracy=metadata["accuracy"])
    except KeyError as error:
        raise ContractError(f"{checkpoint}: expected {error} in the checkpoint's metadata, "
                            f"got {sorted(metadata)}") from error


def check_is_method(checkpoint: Path, config: ModelConfig) -> None:
    """Refuse networks that only exist to compare with: the contract cannot tell the robot how to feed them."""
    variant = {"fusion": config.fusion, "sampling": config.presample.sampling, "use_lidar": config.presample.use_lidar}
    wrong = {name: value for name, value in variant.items() if value not in ("point", "both", True)}
    if wrong:
        raise ContractError(f"{checkpoint}: expected fusion point, sampling both and use_lidar true, got {wrong}")


def export(checkpoint: Path, out: Path, data: Path | None, frames: int) -> list[Comparison]:
    """Export, compare, and only then replace what is in `out`.

    Raises:
        ContractError: the checkpoint cannot be used, or the engines disagree with PyTorch.
    """
    import yaml

    model, metadata = load_checkpoint(checkpoint)
    check_is_method(checkpoint, model.config)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as partial:
        folder = Path(partial)
        contract = make_contract(model, metadata, checkpoint, export_engines(model, folder))
        (folder / CONTRACT_FILE).write_text(yaml.safe_dump(contract.to_dict(), sort_keys=False))
        results = parity_report(model, Pipeline.load(folder), parity_frames(data, frames, contract.max_cameras))
        report = {"model": contract.model_id, "passed": all(r.passed for r in results),
                  "comparisons": [r.to_dict() for r in results]}
        (folder / "parity.json").write_text(json.dumps(report, indent=1) + "\n")
        print_table(results)
        failed = [f"{r.quantity} on {r.frame}" for r in results if not r.passed]
        if failed:
            raise ContractError(f"ONNX Runtime and PyTorch disagree, nothing was written: {'; '.join(failed)}")
        for name in FILES:
            os.replace(folder / name, out / name)
    return results


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="weights.safetensors written by models.train")
    parser.add_argument("out", type=Path, help="artefact folder; files in it that are not the export's own stay")
    parser.add_argument("--data", type=Path, help="nuScenes data root for the comparison (default: synthetic frames)")
    parser.add_argument("--frames", type=int, default=4, help="frames to compare on (default %(default)s)")
    options = parser.parse_args(argv)
    if options.frames < 1:
        parser.error(f"--frames: expected 1 or more, got {options.frames}")
    try:
        export(options.checkpoint, options.out, options.data, options.frames)
    except OccFusionError as error:
        parser.exit(2, f"export: {error}\n")
    size = sum((options.out / name).stat().st_size for name in FILES)
    print(f"{options.out}: {', '.join(FILES)}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
