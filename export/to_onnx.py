"""Export a checkpoint to an artifact folder: `python -m export.to_onnx CHECKPOINT OUT`.

Writes the weights, the networks in every form that a backend takes, contract.yaml and parity.json. The networks are
first compared with PyTorch, on every backend that runs here, on real frames (--data) or synthetic ones; nothing is
written to OUT unless they agree, but for half precision, which is left out where it does not.
"""

import hashlib
import logging
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim

from occfusion_ros.core.atomic import write_text
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.contract import ModelContract, NetworkFile, NetworkSpec, TensorSpec
from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.network.wrappers import networks_of
from occfusion_ros.runtime.artifact import CONTRACT_FILE

from .contract import example_inputs, make_contract, write_contract
from .fp16 import write_half
from .frames import parity_frames
from .parity import Reference, Report, as_json, eager_pipeline, examine, labeled_examples, runnable, table

OPSET = 18
PARITY_FILE = "parity.json"
WEIGHTS_FILE = "weights.safetensors"
TOLD = ("model_id", "trained_on", "accuracy")  # of a checkpoint; settings of the training have places on its machine
HALF = "fp16"
LABELED = 8  # frames with an occupancy truth that accuracy is compared on


def engine_files(network: str) -> dict[str, str]:
    """Names of the files of a network that an export writes, by variant."""
    return {
        "fp32": f"{network}.onnx",
        HALF: f"{network}.fp16.onnx",
        "weights": WEIGHTS_FILE,
    }


def export_engines(model: OccFusion, folder: Path) -> tuple[NetworkSpec, NetworkSpec]:
    """Write all files of fuser and refiner; the number of cameras and of refined voxels are dynamic axes."""
    fuser, refiner = networks_of(model)
    inputs, children = example_inputs(model.config, fuser)
    cameras = Dim("cameras", min=1, max=model.config.presample.max_cameras)
    shapes = {name: {0: cameras} if name == "images" else None for name in inputs}
    specs = [export_engine(fuser, inputs, shapes, folder, "fuser")]
    with torch.no_grad():
        fused = dict(zip(fuser.OUTPUTS, fuser(*inputs.values())))
    parents = Dim("parents", min=1, max=model.config.coarse.num_voxels)
    shapes = {
        **dict.fromkeys(fuser.FEATURES),
        "image_map": {2: refiner.feature_rows * cameras},
        **{name: {0: parents} for name in children},
    }
    inputs = {**{name: fused[name] for name in fuser.FEATURES}, **children}
    return specs[0], export_engine(refiner, inputs, shapes, folder, "refiner")


def export_engine(
    network: torch.nn.Module, inputs: dict[str, torch.Tensor], shapes: dict[str, Any], folder: Path, name: str
) -> NetworkSpec:
    """Trace one wrapper and write it as ONNX in float32 and in float16."""
    names = engine_files(name)
    print(f"exporting {', '.join(names.values())} ...", flush=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # torchvision operators that are not used here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch; what matters is checked by the comparison
        program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes=tuple(shapes.values()))
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
            dynamic_shapes=tuple(shapes.values()),
            input_names=list(network.INPUTS),
            output_names=list(network.OUTPUTS),
        )
        onnx.save(folder / names["fp32"], external_data=False)
    forget_origin(folder / names["fp32"])
    write_half(folder / names["fp32"], folder / names[HALF])
    return engine_spec(folder, names)


def forget_origin(path: Path) -> None:
    """Drop the exporter's notes, which hold stack traces: a file must not tell, nor depend on, where it was made."""
    import onnx

    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
        *model.functions,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def engine_spec(folder: Path, names: dict[str, str]) -> NetworkSpec:
    """Files of a network in a folder, by variant, with their hashes; tensors as in the float32 one."""
    import onnx

    graph = onnx.load(folder / names["fp32"]).graph
    files = {variant: NetworkFile(name, file_hash(folder / name)) for variant, name in names.items()}
    return NetworkSpec(files, tuple(map(tensor_spec, graph.input)), tuple(map(tensor_spec, graph.output)))


def tensor_spec(value: Any) -> TensorSpec:  # onnx.ValueInfoProto
    """Name, dtype and shape of an input or output of an ONNX graph."""
    import onnx

    tensor = value.type.tensor_type
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return TensorSpec(value.name, dtype, tuple(d.dim_param or d.dim_value for d in tensor.shape.dim))


def write_artifact(model: OccFusion, metadata: dict[str, Any], folder: Path) -> ModelContract:
    """Export a network to a folder with its weights and contract, without comparing anything."""
    told = {name: value for name, value in metadata.items() if name in TOLD}
    save_checkpoint(folder / WEIGHTS_FILE, model, told)
    contract = make_contract(model, metadata, file_hash(folder / WEIGHTS_FILE), export_engines(model, folder))
    write_contract(contract, folder)
    return contract


def check_is_method(checkpoint: Path, config: ModelConfig) -> None:
    """Refuse networks that only exist to compare with: the contract cannot tell the robot how to feed them."""
    variant = {"fusion": config.fusion, "sampling": config.presample.sampling, "use_lidar": config.presample.use_lidar}
    wrong = {name: value for name, value in variant.items() if value not in ("point", "both", True)}
    if wrong:
        raise ContractError(f"{checkpoint}: expected fusion point, sampling both and use_lidar true, got {wrong}")


def export(checkpoint: Path, out: Path, data: Path | None, frames: int) -> tuple[ModelContract, list[Report]]:
    """Export, compare with PyTorch on everything that runs here, and only then replace what is in `out`.

    Half precision, which only GPUs gain by, is left out where it misses its limits.

    Raises:
        ContractError: the checkpoint cannot be used, or the networks disagree with PyTorch.
    """
    model, metadata = load_checkpoint(checkpoint)
    check_is_method(checkpoint, model.config)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as partial:
        folder = Path(partial)
        contract = write_artifact(model, metadata, folder)
        reference = Reference(
            eager_pipeline(model, contract),
            parity_frames(data, frames, contract),
            labeled_examples(data, LABELED, contract),
        )
        reports = [examine(folder, backend, precision, reference) for backend, precision in runnable(folder)]
        write_text(folder / PARITY_FILE, as_json(contract.model_id, reports))
        print(table(reports))
        failures = [failure for report in reports if report.precision != HALF for failure in report.failures]
        if failures:
            raise ContractError(f"these disagree with PyTorch, nothing was written: {'; '.join(failures)}")
        if failures := [failure for report in reports for failure in report.failures]:
            print(f"left out, so that GPUs run in float32: {'; '.join(failures)}")
            contract = without(contract, HALF)
            write_contract(contract, folder)
        for name in written_files(contract):
            os.replace(folder / name, out / name)
    return contract, reports


def without(contract: ModelContract, variant: str) -> ModelContract:
    """A contract that knows nothing of one of the variants of its networks."""

    def rest(spec: NetworkSpec) -> NetworkSpec:
        return replace(spec, files={name: file for name, file in spec.files.items() if name != variant})

    return replace(contract, fuser=rest(contract.fuser), refiner=rest(contract.refiner))


def written_files(contract: ModelContract) -> list[str]:
    """Names of all files of an export; the contract comes last, because it vouches for the others."""
    networks = dict.fromkeys(file.name for spec in (contract.fuser, contract.refiner) for file in spec.files.values())
    return [*networks, PARITY_FILE, CONTRACT_FILE]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m export.to_onnx", __doc__)
    parser.add_argument("checkpoint", type=Path, help="weights.safetensors written by models.train")
    parser.add_argument("out", type=Path, help="artifact folder; files in it that are not the export's own stay")
    parser.add_argument("--data", type=Path, help="nuScenes data root for the comparison (default: synthetic frames)")
    parser.add_argument("--frames", type=int, default=4, help="frames to compare on (default %(default)s)")
    options = parser.parse_args(argv)
    if options.frames < 1:
        parser.error(f"--frames: expected 1 or more, got {options.frames}")
    with one_sentence(parser, "export"):
        contract, _ = export(options.checkpoint, options.out, options.data, options.frames)
    names = written_files(contract)
    size = sum((options.out / name).stat().st_size for name in names)
    print(f"{options.out}: {', '.join(names)}, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
