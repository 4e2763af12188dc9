"""Networks on OpenVINO, on the CPU."""

import os
import sys
from typing import Any

import torch

from ...core.contract import NetworkSpec
from ...core.errors import BackendError, ContractError, one_line
from ...core.processor import Processor, this_processor
from ..artifact import Artifact
from .protocol import BackendSettings, OutputBuffers, check_inputs, pick_precision

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
KEPT = 4  # compiled sets of lengths
LARGEST_WEIGHT = 64  # with which two products with activations of 8 bits fit into 16 bits
WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")  # what ONEDNN_MAX_CPU_ISA may hold the processor down to


def unavailable_reason() -> str:
    """Why this backend cannot run here; empty where it can."""
    try:
        openvino = imported()
    except ImportError as error:
        return f"OpenVINO is not installed ({error}): pip install openvino"
    return "" if "CPU" in openvino.Core().available_devices else "OpenVINO finds no CPU device that it knows"


def imported() -> Any:
    """Import OpenVINO; unlike its own import, this one sends no report of usage, which takes a child process.

    Raises:
        ImportError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
    import openvino

    return openvino


def precisions(spec: NetworkSpec) -> tuple[str, ...]:
    """What it can calculate a network in here, the best first."""
    return (*(("bf16",) if _fast_bf16() else ()), "fp32", *(("int8",) if "int8" in spec.files else ()))


def load(artifact: Artifact, network: str, settings: BackendSettings) -> "OpenVinoBackend":
    """An network of an artifact, ready to run."""
    spec = artifact.network(network)
    precision = pick_precision("openvino", settings.precision, precisions(spec))
    file = spec.files["int8" if precision == "int8" else "fp32"]
    return OpenVinoBackend(artifact.read(file), file.name, spec, precision, settings.cores)


def _fast_bf16() -> bool:
    """Whether this processor calculates in bfloat16 itself, and OpenVINO knows; emulated it is slower than float32."""
    openvino = imported()
    return this_processor().has_bfloat16 and "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def saturates(model: Any, processor: Processor) -> bool:  # openvino.Model
    """Whether sums of 8-bit products of a quantized model are cut off on a processor, so that it answers wrongly."""
    exact = not processor.saturates and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in WITHOUT_VNNI
    if exact:
        return False
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    weights = (node.data for node in constants if node.get_element_type().get_type_name() == "i8")
    return any(max(int(array.max()), -int(array.min())) > LARGEST_WEIGHT for array in weights if array.size)


class OpenVinoBackend:
    """One ONNX file, compiled for each number of cameras and of refined voxels when it first comes.

    Compiling takes a quarter of a second and buys a tenth of every run against one network for all numbers.
    """

    device = torch.device("cpu")

    def __init__(self, content: bytes, file: str, spec: NetworkSpec, precision: str, threads: int = 0) -> None:
        openvino = imported()
        self.openvino, self.file, self.spec, self.name = openvino, file, spec, f"openvino {precision}"
        self.core = openvino.Core()
        self.config = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self.model = self.core.read_model(content, b"")
        except Exception as error:  # RuntimeError, and what its frontends raise
            raise BackendError(
                f"{file}: OpenVINO {openvino.__version__} cannot read it ({one_line(error)}); export "
                "the model again or update openvino"
            ) from error
        self._check_against_contract()
        if saturates(self.model, processor := this_processor()):
            raise BackendError(
                f"{file}: its weights of 8 bits cannot be calculated right on this processor "
                f"({processor.name}, no VNNI): take precision fp32 or backend onnxruntime, or quantize "
                "it again with export.quantize, which takes 7 bits"
            )
        self.outputs = OutputBuffers(spec, self.device)
        self.requests: dict[tuple[tuple[str, int], ...], Any] = {}  # of openvino.InferRequest

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        lengths = check_inputs(self.file, self.spec, inputs)
        outputs, wrap = self.outputs.get(lengths), self.openvino.Tensor
        try:
            request = self._request(lengths, inputs)
            for name, tensor in inputs.items():
                request.set_tensor(name, wrap(tensor.contiguous().numpy(), shared_memory=True))
            for name, tensor in outputs.items():
                request.set_tensor(name, wrap(tensor.numpy(), shared_memory=True))
            request.infer()
        except RuntimeError as error:
            raise BackendError(f"{self.file}: OpenVINO failed while running: {one_line(error)}") from error
        return outputs

    def _request(self, lengths: dict[str, int], inputs: dict[str, torch.Tensor]) -> Any:  # openvino.InferRequest
        key = tuple(sorted(lengths.items()))
        if key not in self.requests:
            if len(self.requests) == KEPT:
                self.requests.pop(next(iter(self.requests)))
            model = self.model.clone()
            model.reshape({name: list(tensor.shape) for name, tensor in inputs.items()})
            self.requests[key] = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        return self.requests[key]

    def _check_against_contract(self) -> None:
        for side, specs, ports in (
            ("inputs", self.spec.inputs, self.model.inputs),
            ("outputs", self.spec.outputs, self.model.outputs),
        ):
            expected = {(s.name, s.dtype, len(s.shape)) for s in specs}
            got = {(port.get_any_name(), port.element_type.to_dtype().name, len(port.partial_shape)) for port in ports}
            if expected != got:
                raise ContractError(
                    f"{self.file}: its {side} differ from the contract, expected "
                    f"{sorted(map(str, expected))}, got {sorted(map(str, got))}: export it again"
                )
