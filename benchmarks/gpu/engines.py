"""What runs the two networks on the device: how near it comes to float32 on the CPU, how fast, in how much memory."""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from occfusion_ros.core.contract import ModelContract
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.wrappers import networks_of
from occfusion_ros.runtime.backends.protocol import Backend
from occfusion_ros.runtime.backends.torch_backend import TorchBackend
from occfusion_ros.runtime.pipeline import Pipeline

from .device import Device
from .networks import ZOO

Pair = tuple[Backend, Backend]  # fuser and refiner
NETWORKS = ("fuser", "refiner")
WARM_UP = 5
PERCENTILES = (50, 99)


@dataclass(frozen=True)
class Subject:
    """A network, what the robot must know of it, and what it is shown."""

    model: OccFusion
    contract: ModelContract
    frame: SensorFrame


def torch_pair(subject: Subject, device: torch.device, precision: str, graphs: bool) -> Pair:
    """The torch backend on a network's weights; with `graphs` as the node runs it, without them operation by operation.

    CUDA graphs exist on a GPU only.
    """
    specs = (subject.contract.fuser, subject.contract.refiner)
    model = deepcopy(subject.model).to(device)
    pair = tuple(
        TorchBackend(network.to(device), name, spec, precision, device)
        for name, network, spec in zip(NETWORKS, networks_of(model), specs)
    )
    if not graphs:
        for backend in pair:
            backend.graphs = None
    return pair


def onnxruntime_pair(subject: Subject) -> Pair:
    """The shipped ONNX files on ONNX Runtime, which takes its CUDA provider where it has one."""
    from occfusion_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend

    return tuple(
        OnnxRuntimeBackend(content, name, spec, "fp32")
        for content, name, spec in _onnx_files(subject.contract.model_id, "")
    )


def tensorrt_pair(subject: Subject, precision: str) -> Pair:
    """The shipped ONNX files as engines that TensorRT builds now."""
    from occfusion_ros.runtime.backends import tensorrt_backend

    trt, limits = (
        tensorrt_backend.flavor(),
        {"cameras": subject.contract.max_cameras, "parents": subject.contract.refine_budget},
    )
    infix = "" if precision == "fp32" else f".{precision}"
    built = (
        (tensorrt_backend.build_engine(trt, content, name, spec, limits), name, spec)
        for content, name, spec in _onnx_files(subject.contract.model_id, infix)
    )
    return tuple(tensorrt_backend.TensorRTBackend(trt, *engine, precision) for engine in built)


def _onnx_files(model_id: str, infix: str) -> Iterator[tuple[bytes, str, Any]]:
    """Content, name and tensors of both engines' files."""
    from export.to_onnx import engine_spec

    for engine in NETWORKS:
        name = f"{engine}{infix}.onnx" if (ZOO / model_id / f"{engine}{infix}.onnx").exists() else f"{engine}.onnx"
        spec = engine_spec(ZOO / model_id, {"fp32": f"{engine}.onnx"})
        yield (ZOO / model_id / name).read_bytes(), name, spec


class Reference:
    """What PyTorch says on the CPU in float32, operation by operation."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.pair = torch_pair(subject, torch.device("cpu"), "fp32", graphs=False)
        self.pipeline = Pipeline(subject.contract, *self.pair)
        start = time.perf_counter()
        self.labels = self.pipeline(subject.frame).labels
        self.seconds = time.perf_counter() - start
        self.feature = subject.contract.refiner.inputs[0].name  # the decoder's, of all voxels
        self.expected = self.fused(self.pipeline).clone()

    def compare(self, pipeline: Pipeline) -> dict[str, float]:
        """How near another pipeline comes.

        Returns:
            `agreement`, `occupied`: shares of equal labels, of all voxels and of those that either calls occupied;
            `features`: largest difference of the voxels' features, relative to their largest value.
        """
        labels = pipeline(self.subject.frame).labels
        equal, occupied = labels == self.labels, (labels > 0) | (self.labels > 0)
        different = (self.fused(pipeline).cpu() - self.expected).abs().max()
        return {
            "agreement": float(equal.mean()),
            "occupied": float(equal[occupied].mean()),
            "features": float(different / self.expected.abs().max()),
        }

    def fused(self, pipeline: Pipeline) -> torch.Tensor:
        """The features of all voxels that the fuser of a pipeline gives; its next run may overwrite them."""
        presampler, frame, device = self.pipeline.presampler, self.subject.frame, pipeline.fuser.device
        return pipeline.fuse(presampler.prepare_images(frame).to(device), presampler(frame).to(device))[self.feature]


def measure(device: Device, reference: Reference, build: Callable[[], Pair], repeats: int) -> dict[str, Any]:
    """One way of running a network.

    Returns:
        what `Reference.compare` says; `backend`, its name; `stages`, milliseconds by stage and percentile, `wall` being
        the whole call by the host's clock; `load_s`; `peak_mib` of the device's memory.
    """
    device.forget_peak()
    start = time.perf_counter()
    pipeline = Pipeline(reference.subject.contract, *build())
    near = reference.compare(pipeline)
    loaded = time.perf_counter() - start
    runs = []
    for _ in range(WARM_UP + repeats):
        device.wait()
        start = time.perf_counter()
        stages = pipeline(reference.subject.frame).stage_ms
        device.wait()
        runs.append({**stages, "wall": 1e3 * (time.perf_counter() - start)})
    stages = {
        stage: {f"p{p}": float(np.percentile([run[stage] for run in runs[WARM_UP:]], p)) for p in PERCENTILES}
        for stage in runs[0]
    }
    return {**near, "backend": pipeline.backend_name, "stages": stages, "load_s": loaded, "peak_mib": device.peak_mib()}
