"""Quantize an exported model to INT8: `python -m export.quantize ARTIFACT`.

Adds INT8 files of the fuser, with explicit quantize and dequantize nodes about its convolutions, to an artifact: one
with symmetric activations for TensorRT and OpenVINO, and one with asymmetric ones, with which ONNX Runtime is faster.
Ranges are those of calibration frames: synthetic ones, or samples of any nuScenes data root (--calibrate). Accuracy and
agreement before and after are printed for every backend here; nothing is written unless they keep their limits.
"""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.contract import ModelContract, NetworkFile, NetworkSpec
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.runtime.artifact import CONTRACT_FILE, NETWORKS, Artifact, load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive, seeds

from .contract import write_contract
from .frames import nuscenes_frames, parity_frames, synthetic_frame
from .parity import Reference, examine, labeled_examples, runnable, table
from .to_onnx import file_hash

FILES = {"int8": "fuser.int8.onnx", "int8_onnxruntime": "fuser.int8_onnxruntime.onnx"}
IMAGE_SIZE = (396, 704)
# What keeps float32: convolutions with few products each, which gain nothing, and those that read or write features of
# very unequal ranges.
EXACT_PARTS = ("_conv_stem", "decoder.stem", "decoder.output")
PERCENTILE = 99.999  # of a tensor's values that its range covers: single outliers would cost all others a bit


def calibration_frames(root: Path | None, count: int, contract: ModelContract) -> Iterator[SensorFrame]:
    """Frames to find ranges on: of a nuScenes data root, or one each of so many synthetic drives."""
    if root:
        yield from nuscenes_frames(root, count, contract).values()
    else:
        for seed in seeds.QUANTIZATION[:count]:
            yield synthetic_frame(SyntheticDrive(seed, image_size=IMAGE_SIZE), 4, contract)


def quantize(source: Path, target: Path, inputs: list[dict[str, np.ndarray]], symmetric: bool) -> None:
    """Quantize the convolutions of an ONNX file: activations to 8 bits, weights to 7 (-64 to 64).

    x86 without VNNI keeps the sum of two products of 8 bits in 16 bits and cuts off what does not fit: with 255 times
    64 every sum fits, so that each processor answers the same. With weights of 8 bits, AVX2 lost up to a quarter of
    the occupied labels.

    Args:
        inputs: calibration inputs by name. symmetric: of activations, as TensorRT wants them; else unsigned.
    """
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        """Gives the inputs one by one: all tensors of all frames together would not fit in memory."""

        def __init__(self) -> None:
            self.frames = iter(tqdm(inputs, f"calibrating {target.name}", unit="frame"))
            self.left = 0

        def __len__(self) -> int:
            return len(inputs)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.left = end_index - start_index

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            return next(self.frames, None) if self.left >= 0 else None

    options = {
        "ActivationSymmetric": symmetric,
        "WeightSymmetric": True,
        "QuantizeBias": not symmetric,
        "CalibPercentile": PERCENTILE,
        "CalibStridedMinMax": 1,
    }
    with _quiet():
        quantize_static(
            source,
            target,
            Reader(),
            QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            nodes_to_exclude=exact_nodes(source),
            calibrate_method=CalibrationMethod.Percentile,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            extra_options=options,
        )


def exact_nodes(source: Path) -> list[str]:
    """Names of the convolutions that stay in float32."""
    import onnx

    return [
        node.name
        for node in onnx.load(source).graph.node
        if node.op_type == "Conv" and (_groups(node) > 1 or any(part in node.input[1] for part in EXACT_PARTS))
    ]


def _groups(convolution: Any) -> int:  # onnx.NodeProto
    return next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice, which it prints or gives through the root logger."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        root.setLevel(before)


def with_files(contract: ModelContract, folder: Path) -> ModelContract:
    """The contract with the INT8 files that lie in `folder`; the refiner stays as it is under the new names."""
    added = {variant: NetworkFile(name, file_hash(folder / name)) for variant, name in FILES.items()}
    fuser = NetworkSpec({**contract.fuser.files, **added}, contract.fuser.inputs, contract.fuser.outputs)
    same = dict.fromkeys(added, contract.refiner.files["fp32"])
    return replace(contract, fuser=fuser, refiner=replace(contract.refiner, files={**contract.refiner.files, **same}))


def quantized_copy(artifact: Artifact, folder: Path, inputs: list[dict[str, np.ndarray]]) -> ModelContract:
    """Copy an artifact's networks to `folder` and add INT8 ones with a contract; returns that."""
    names = {file.name for network in NETWORKS for file in artifact.network(network).files.values()}
    for name in names - set(FILES.values()):
        shutil.copy(artifact.folder / name, folder)
    for variant, name in FILES.items():
        source = artifact.contract.fuser.files["fp32"].name
        quantize(folder / source, folder / name, inputs, symmetric=variant == "int8")
    contract = with_files(artifact.contract, folder)
    write_contract(contract, folder)
    return contract


def add_int8(artifact: Artifact, frames: list[SensorFrame], data: Path | None, compared: int) -> None:
    """Quantize, compare, and only then add the files to the artifact's folder.

    Raises:
        ContractError: INT8 loses more than it may.
    """
    pipeline = Pipeline.load(artifact.folder, "torch", settings=BackendSettings(precision="fp32"))
    presampler, contract = pipeline.presampler, artifact.contract
    inputs = [
        {
            "images": presampler.prepare_images(frame).numpy(),
            **{
                name: tensor.numpy() for name, tensor in presampler(frame).network_inputs(contract.fuser_inputs).items()
            },
        }
        for frame in frames
    ]
    reference = Reference(pipeline, parity_frames(data, compared, contract), labeled_examples(data, compared, contract))
    with tempfile.TemporaryDirectory(prefix=".quantize-", dir=artifact.folder) as partial:
        folder = Path(partial)
        quantized_copy(artifact, folder, inputs)
        reports = [
            examine(folder, backend, precision, reference)
            for backend, precision in runnable(folder)
            if precision in ("fp32", "int8")
        ]
        print(table(reports))
        if failures := [failure for report in reports for failure in report.failures]:
            raise ContractError(f"INT8 loses too much, nothing was written: {'; '.join(failures)}")
        for name in (*FILES.values(), CONTRACT_FILE):
            os.replace(folder / name, artifact.folder / name)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m export.quantize", __doc__)
    parser.add_argument("artifact", type=Path, help="folder of an exported model; the files are added to it")
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="ROOT",
        help="nuScenes data root to find ranges on (default: synthetic drives)",
    )
    parser.add_argument("--count", type=int, default=16, help="calibration frames (%(default)s)")
    parser.add_argument("--data", type=Path, help="nuScenes data root to compare on (default: synthetic frames)")
    parser.add_argument("--frames", type=int, default=4, help="frames to compare on (%(default)s)")
    options = parser.parse_args(argv)
    if options.count < 1 or options.frames < 1:
        parser.error(f"--count and --frames: expected 1 or more, got {options.count} and {options.frames}")
    with one_sentence(parser, "quantize"):
        artifact = load_artifact(options.artifact)
        frames = calibration_frames(options.calibrate, options.count, artifact.contract)
        frames = list(tqdm(frames, "calibration frames", options.count))
        add_int8(artifact, frames, options.data, options.frames)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
