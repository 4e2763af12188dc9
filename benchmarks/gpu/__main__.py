"""Measure everything about a GPU in one call of eight minutes: `python -m benchmarks.gpu`.

Pre-sampling against the CPU, bit for bit; the networks `nano` and `swift` (shipped weights) and `base` (random ones) on
every backend that is here, with and without CUDA graphs: how near they come to float32 on the CPU, milliseconds by
stage, and memory; what each stage needs at least; short trainings. It needs torch, numpy, onnx, onnxruntime and
safetensors alone, takes the versions that are there, goes on past what fails, and keeps what it has after every part.
Figures go to docs/gpu.json, and the section of docs/performance.md is written from them.
"""

import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import processor, versions
from occfusion_ros.core.atomic import WriteError, write_json
from occfusion_ros.core.command import parser_of
from occfusion_ros.network.occfusion import ModelConfig

from . import street
from .device import PUBLISHED, Ceilings, Device
from .engines import Reference, Subject, measure, onnxruntime_pair, tensorrt_pair, torch_pair
from .floor import network_floor, stage_floor
from .networks import CONFIGS, contract, network
from .page import put, section_of
from .presampling import cases, compare, times
from .training import TRAIN
from .training import measure as measure_training

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "gpu.json"
PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13")
WAYS = [("fp32", False), ("fp32", True), ("fp16", False), ("fp16", True)]  # precision, CUDA graphs


class Skip(Exception):
    """A part that cannot be measured here; the message says why."""


class Run:
    """Parts that are measured one after the other; each is kept, or why there is nothing to keep."""

    def __init__(self, device: Device, out: Path, minutes: float, repeats: int) -> None:
        self.device, self.out, self.repeats = device, out, repeats
        self.deadline, self.frame = time.monotonic() + 60 * minutes, street.frame()
        self.figures: dict[str, Any] = {
            "device": device.name,
            "cuda": torch.version.cuda,
            "machine": processor(),
            "versions": versions(*PACKAGES),
            "repeats": repeats,
            "parts": {},
        }

    def part(self, name: str, call: Callable[[], Any]) -> Any:
        """What `call` gives, None where it fails or there is no time left for it."""
        start, result, kept = time.monotonic(), None, {}
        print(f"{name} ...", end=" ", flush=True)
        try:
            if start > self.deadline:
                raise Skip("no time was left")
            result = call()
            kept = result if isinstance(result, dict) else {}
        except Skip as reason:
            kept = {"skipped": str(reason)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are wanted
            kept = {"error": f"{type(error).__name__}: {error!s:.500}"}
            traceback.print_exc()
        seconds = time.monotonic() - start
        self.figures["parts"][name] = {**kept, "seconds": round(seconds, 2)}
        print(kept.get("error") or kept.get("skipped") or f"{seconds:.1f} s", flush=True)
        try:
            write_json(self.out, self.figures)
        except WriteError as error:  # the next part may find room again
            print(error, flush=True)
        return result

    def ceilings(self) -> None:
        """What the device does at most; the data sheet's figures where it cannot be measured."""
        size = {} if self.device.is_gpu else {"edge": 256, "size": 1 << 22}
        found = self.part("ceilings", lambda: asdict(self.device.ceilings(**size)))
        self.most = Ceilings(**found) if found else PUBLISHED

    def presampling(self, name: str, config: ModelConfig) -> None:
        """Bits and times of pre-sampling."""
        frames = cases(self.frame, street.frame(points=100_000, cameras=1))
        self.part(
            f"{name}: pre-sampling",
            lambda: {**compare(self.device, config, frames), "ms": times(self.device, config, frames, self.repeats)},
        )

    def engines(self, name: str, config: ModelConfig) -> None:
        """The network on everything that runs here."""
        model = self.part(f"{name}: weights", lambda: network(name, config))
        if model is None:
            return
        subject = Subject(model, contract(name, model), self.frame)
        reference = self.part(f"{name}: reference", lambda: Reference(subject))
        if reference is None:
            return
        for precision, graphs in WAYS:
            how = "CUDA graphs" if graphs else "no graphs"
            self.engine(
                f"{name}: torch {precision}, {how}",
                reference,
                partial(torch_pair, subject, self.device.torch, precision, graphs),
            )
        self.engine(f"{name}: onnxruntime", reference, partial(check_onnxruntime, subject))
        for precision in ("fp16", "int8", "fp32"):
            self.engine(f"{name}: tensorrt {precision}", reference, partial(check_tensorrt, subject, precision))
        self.part(f"{name}: floor", lambda: self.floor(config, reference))

    def engine(self, title: str, reference: Reference, build: Callable[[], Any]) -> None:
        """One way of running a network."""
        self.part(title, lambda: measure(self.device, reference, build, self.repeats))

    def floor(self, config: ModelConfig, reference: Reference) -> dict[str, Any]:
        """What its parts and stages need at least."""
        parts = network_floor(config, self.most)
        return {"parts": parts, "stages": stage_floor(reference.pipeline, reference.subject.frame, parts, self.most)}

    def training(self, name: str, config: ModelConfig, steps: int) -> None:
        """Some steps of its training."""
        with tempfile.TemporaryDirectory() as folder:
            self.part(
                f"{name}: training", lambda: measure_training(self.device, config, TRAIN[name], Path(folder), steps)
            )


def check_onnxruntime(subject: Subject) -> Any:
    """The shipped files on a GPU; Skip where that is not to be had."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise Skip(f"ONNX Runtime {onnxruntime.__version__} has no CUDA provider here")
    check_shipped(subject)
    return onnxruntime_pair(subject)


def check_tensorrt(subject: Subject, precision: str) -> Any:
    """Engines of the shipped files; Skip where TensorRT is not to be had."""
    from occfusion_ros.runtime.backends import tensorrt_backend

    if reason := tensorrt_backend.unavailable_reason():
        raise Skip(reason)
    check_shipped(subject)
    return tensorrt_pair(subject, precision)


def check_shipped(subject: Subject) -> None:
    """Skip where there are no files of a network."""
    from .networks import ZOO

    if not (ZOO / subject.contract.model_id / "fuser.onnx").exists():
        raise Skip(f"no ONNX files of {subject.contract.model_id} are shipped")


def main(argv: list[str] | None = None) -> int:
    """Command line; 1 where a part failed."""
    parser = parser_of("python -m benchmarks.gpu", __doc__)
    parser.add_argument("--json", type=Path, default=FIGURES, help="where the figures go (%(default)s)")
    parser.add_argument(
        "--page",
        type=Path,
        help="page whose section on GPUs is written (default: performance.md beside the figures, where it is)",
    )
    parser.add_argument("--networks", nargs="+", choices=CONFIGS, default=list(CONFIGS), help="only these")
    parser.add_argument("--minutes", type=float, default=7.5, help="no part is begun after these (%(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="frames that are timed (%(default)s)")
    parser.add_argument("--steps", type=int, default=10, help="training steps that are timed (%(default)s)")
    parser.add_argument("--rehearse", action="store_true", help="run on the CPU, to see that everything works")
    options = parser.parse_args(argv)
    beside = options.json.with_name("performance.md")
    options.page = options.page or (beside if beside.exists() else None)
    if not (options.rehearse or torch.cuda.is_available()):
        parser.exit(2, "gpu: expected an NVIDIA GPU that PyTorch can use, got none; --rehearse runs on the CPU\n")
    run = Run(Device("cpu" if options.rehearse else "cuda"), options.json, options.minutes, options.repeats)
    print(f"{run.figures['device']}; {run.figures['machine']}; {run.figures['versions']}", flush=True)
    run.ceilings()
    for name in options.networks:
        run.presampling(name, CONFIGS[name])
        run.engines(name, CONFIGS[name])
        run.training(name, CONFIGS[name], options.steps)
    if options.page:
        put(options.page, section_of(run.figures))
    failed = [name for name, part in run.figures["parts"].items() if "error" in part]
    print(f"{options.json}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
