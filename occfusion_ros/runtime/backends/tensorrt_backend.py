"""Engines on TensorRT 10 and 11, and on TensorRT-RTX, whose Python interface is the same.

Networks are strongly typed: precision is that of the ONNX file. Engines are built on this machine and cached.
"""

import hashlib
import importlib
import json
import logging
import time
from types import ModuleType
from typing import Any

import torch

from ...core.contract import NetworkSpec
from ...core.errors import BackendError, ContractError, one_line
from ..artifact import Artifact
from .cuda_graphs import CudaGraphs
from .engine_cache import EngineCache
from .protocol import BackendSettings, OutputBuffers, axis_length, check_inputs, pick_precision, usable_gpu

logger = logging.getLogger(__name__)

FLAVORS = ("tensorrt", "tensorrt_rtx")
VARIANTS = ("fp16", "int8", "fp32")
WORKSPACE = 4 << 30  # bytes that a tactic may use at most
TIMING_CACHE = "timing.cache"
SAY_EVERY_S = 5.0  # seconds between two words on a build's progress


def flavor(names: tuple[str, ...] = FLAVORS) -> ModuleType | None:
    """The TensorRT that is installed; the full one goes first."""
    for name in names:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError, RuntimeError):  # what its stubs and missing libraries raise
            continue
    return None


def unavailable_reason() -> str:
    """Why this backend cannot run here; empty where it can."""
    if flavor() is None:
        return "TensorRT is not installed: install it with apt, JetPack or NVIDIA's wheels, or take another backend"
    if not usable_gpu():
        return "TensorRT needs an NVIDIA GPU that PyTorch can use, and there is none"
    return ""


def precisions(spec: NetworkSpec) -> tuple[str, ...]:
    """What it can calculate an engine in, the best first."""
    return tuple(variant for variant in VARIANTS if variant in spec.files)


def load(artifact: Artifact, engine: str, settings: BackendSettings) -> "TensorRTBackend":
    """An engine of an artifact, from the cache or built now."""
    spec = artifact.network(engine)
    precision = pick_precision("tensorrt", settings.precision, precisions(spec))
    file, trt = spec.files[precision], flavor()
    if trt is None:
        raise BackendError(unavailable_reason())
    limits = axis_limits(artifact)
    cache = EngineCache(settings.cache)

    def build() -> bytes:
        logger.info("%s: building an engine for %s; minutes, once", file.name, torch.cuda.get_device_name())
        return build_engine(trt, artifact.read(file), file.name, spec, limits, cache=cache)

    key = engine_key(trt, artifact, file.sha256, precision, limits)
    content = cache.get(f"{artifact.contract.model_id}-{engine}", key, build)
    return TensorRTBackend(trt, content, file.name, spec, precision)


def axis_limits(artifact: Artifact) -> dict[str, int]:
    """Largest length of each dynamic axis."""
    return {"cameras": artifact.contract.max_cameras, "parents": artifact.contract.refine_budget}


def engine_key(
    trt: ModuleType, artifact: Artifact, onnx_sha256: str, precision: str, limits: dict[str, int]
) -> dict[str, str]:
    """Everything that an engine depends on."""
    contract = json.dumps(artifact.contract.to_dict(), sort_keys=True)
    return {
        "onnx": onnx_sha256,
        "contract": hashlib.sha256(contract.encode()).hexdigest(),
        "flavor": trt.__name__,
        "tensorrt": trt.__version__,
        "gpu": torch.cuda.get_device_name(),
        "compute capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "precision": precision,
        "options": json.dumps({"limits": limits, "workspace": WORKSPACE}, sort_keys=True),
    }


def build_engine(
    trt: ModuleType,
    onnx: bytes,
    file: str,
    spec: NetworkSpec,
    limits: dict[str, int],
    cache: EngineCache | None = None,
    capability: str = "",
) -> bytes:
    """Build an engine from an ONNX file; the numbers of cameras and of refined voxels stay dynamic in one profile.

    Args:
        trt: a flavor of TensorRT. spec: tensors of the engine. limits: largest length of each dynamic axis.
        cache: keeps the timing cache. capability: such as SM89, for another GPU than the one here (TensorRT-RTX alone).

    Raises:
        BackendError: TensorRT cannot build it; the message holds what it says.
    """
    log = _Log(trt)
    builder = trt.Builder(log.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(onnx):
        errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BackendError(f"{file}: {trt.__name__} {trt.__version__} cannot parse it ({errors:.500})")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if capability:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    config.add_optimization_profile(_profile(builder, spec, limits))
    config.progress_monitor = progress = _progress(trt, file)  # TensorRT holds no reference of its own
    timings = _timing_cache(config, cache)
    start = time.monotonic()
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise BackendError(f"{file}: {trt.__name__} {trt.__version__} cannot build it ({log.errors():.500})")
    if cache is not None and timings is not None:
        cache.keep_extra(TIMING_CACHE, bytes(timings.serialize()))
    logger.info("%s: built in %.0f s, %d steps", file, time.monotonic() - start, progress.steps)
    return bytes(engine)


def _profile(builder: Any, spec: NetworkSpec, limits: dict[str, int]) -> Any:  # trt.IOptimizationProfile of trt.Builder
    """One profile from one camera and one voxel to the most of each, best at the most."""
    profile = builder.create_optimization_profile()
    for tensor in spec.inputs:
        shortest, longest = (
            [axis_length(axis, dict(lengths)) for axis in tensor.shape]
            for lengths in (dict.fromkeys(limits, 1), limits)
        )
        if shortest != longest:
            profile.set_shape(tensor.name, shortest, longest, longest)
    return profile


def _timing_cache(config: Any, cache: EngineCache | None) -> Any:  # trt.ITimingCache of trt.IBuilderConfig
    """Timings of earlier builds, where this flavor has such a thing."""
    if cache is None or not hasattr(config, "create_timing_cache"):
        return None
    timings = config.create_timing_cache(cache.extra(TIMING_CACHE)) or config.create_timing_cache(b"")
    if timings is not None:
        config.set_timing_cache(timings, ignore_mismatch=False)
    return timings


def _progress(trt: ModuleType, file: str) -> Any:  # trt.IProgressMonitor
    """Says every few seconds how far a build has come."""

    base: Any = trt.IProgressMonitor

    class Monitor(base):
        def __init__(self) -> None:
            super().__init__()
            self.steps, self.spoke = 0, time.monotonic()
            self.sizes: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.sizes[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.steps += 1
            if time.monotonic() - self.spoke > SAY_EVERY_S:
                self.spoke = time.monotonic()
                logger.info("%s: %s, step %d of %d", file, phase_name, step + 1, self.sizes.get(phase_name, 0))
            return True  # go on

        def phase_finish(self, phase_name: str) -> None:
            self.sizes.pop(phase_name, None)

    return Monitor()


class _Log:
    """TensorRT's messages: errors are kept for ours, warnings go to our log."""

    def __init__(self, trt: ModuleType) -> None:
        kept: list[str] = []
        self.kept = kept
        base: Any = trt.ILogger
        worst = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

        class Logger(base):
            def log(self, severity: Any, message: str) -> None:
                if severity in worst:
                    kept.append(message)
                elif severity == trt.ILogger.Severity.WARNING:
                    logger.debug("%s: %s", trt.__name__, message)

        self.logger = Logger()

    def errors(self) -> str:
        """What went wrong so far."""
        return "; ".join(self.kept) or "it does not say why"


class TensorRTBackend:
    """One engine on the current CUDA device; it shares device memory with PyTorch and runs on PyTorch's stream."""

    def __init__(self, trt: ModuleType, content: bytes, file: str, spec: NetworkSpec, precision: str) -> None:
        self.file, self.spec, self.device, self.size = file, spec, torch.device("cuda"), len(content)
        self.name = f"{trt.__name__} {trt.__version__} {precision}"
        self.log = _Log(trt)
        self.runtime = trt.Runtime(self.log.logger)
        self.engine = self.runtime.deserialize_cuda_engine(content)
        if self.engine is None:
            raise BackendError(f"{file}: {trt.__name__} cannot load its engine ({self.log.errors():.300})")
        self._check_against_contract(trt)
        self.context = self.engine.create_execution_context()
        self.outputs, self.graphs = OutputBuffers(spec, self.device), CudaGraphs(self._compute)

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        outputs = self.outputs.get(check_inputs(self.file, self.spec, inputs))
        try:
            self.graphs({name: tensor.contiguous() for name, tensor in inputs.items()}, outputs)
        except RuntimeError as error:  # of CUDA, and of _compute
            raise BackendError(f"{self.file}: TensorRT failed while running: {one_line(error)}") from error
        return outputs

    def _compute(self, inputs: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]) -> None:
        for name, tensor in inputs.items():
            self.context.set_input_shape(name, tuple(tensor.shape))
            self.context.set_tensor_address(name, tensor.data_ptr())
        for name, tensor in outputs.items():
            self.context.set_tensor_address(name, tensor.data_ptr())
        if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise RuntimeError(self.log.errors())

    def _check_against_contract(self, trt: ModuleType) -> None:
        for side, mode, specs in (
            ("inputs", trt.TensorIOMode.INPUT, self.spec.inputs),
            ("outputs", trt.TensorIOMode.OUTPUT, self.spec.outputs),
        ):
            expected = {(s.name, s.dtype) for s in specs}
            names = (self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors))
            got = {
                (name, trt.nptype(self.engine.get_tensor_dtype(name)).__name__)
                for name in names
                if self.engine.get_tensor_mode(name) == mode
            }
            if expected != got:
                raise ContractError(
                    f"{self.file}: the {side} of its engine differ from the contract, expected "
                    f"{sorted(expected)}, got {sorted(got)}: export it again"
                )
