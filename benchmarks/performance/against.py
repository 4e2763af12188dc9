"""Time the whole frame of this checkout against that of an older one: `python -m benchmarks.performance.against OLD`.

Both run in processes of their own and take turns, so that whatever else the machine does meets both alike; what is
printed are ratios of processor time and of wall time. The network of this checkout may be another one, or an untrained
one of a configuration, whose heads are set so that it calls about as much occupied as the shipped one: what a frame
takes after the networks hangs on that.
"""

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import torch

from export.to_onnx import write_artifact
from models.training.config import load_config
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.presample.presampler import Presampler

from ..machine import processor
from .latency import example_frame

OCCUPIED = 0.0137  # of the children, as the shipped model sees a real nuScenes frame
ALIKE = 0.2  # how much the children of a voxel differ, of what random weights make of it
SHIPPED = "models/zoo/nano"  # in either checkout; by its name the installed one would be found
WARM_UP = 3
WORKER = """
import sys, time
from pathlib import Path
try:
    from benchmarks.performance import latency
    from benchmarks.load.messages import messages_of
    from occfusion_ros.runtime.backends.protocol import BackendSettings
except ImportError:  # before the rooms of benchmarks
    from benchmarks import latency
    from benchmarks.messages import messages_of
    from occfusion_ros.runtime.backend import BackendSettings
model, backend, precision, threads, data = sys.argv[1:]
frame = latency.example_frame(Path(data) if data else None)
pipeline = latency.Pipeline.load(Path(model), backend, settings=BackendSettings(int(threads), precision))
robot = latency.Robot(pipeline, messages_of(frame))
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    robot()
    print("took", 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall), flush=True)
"""
"""Prints milliseconds of processor and of wall time of a frame for each line that it gets."""


class Worker:
    """A process that answers the example frame with one model in one checkout."""

    def __init__(self, checkout: Path, model: str, backend: str, options: Namespace) -> None:
        arguments = model, backend, options.precision, str(options.threads), str(options.data or "")
        self.checkout = checkout
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def frame(self) -> tuple[float, float]:
        """Milliseconds of processor and of wall time of one frame."""
        with suppress(BrokenPipeError):  # what has ended gives no lines either
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("took "):
                _, cpu, wall = line.split()
                return float(cpu), float(wall)
        raise OccFusionError(f"{self.checkout}: its process ended, see above; expected benchmarks that run here")


@contextmanager
def untrained(config: Path, frame: SensorFrame) -> Iterator[Path]:
    """Export a network with random weights to a folder that is there for a while."""
    torch.manual_seed(0)
    model = OccFusion(load_config(config)[1]).eval()
    presampler = Presampler(model.config.presample)
    inputs = {name: tensor[None] for name, tensor in presampler(frame).network_inputs().items()}
    with torch.inference_mode():
        images = model.backbone(presampler.prepare_images(frame))
    with torch.no_grad():
        weight = model.occupancy_head.weight
        weight.copy_(weight[:1] + ALIKE * weight)
        logits = model.fuse(images, **inputs).occupancy.flatten()
        model.occupancy_shift.fill_(-logits.kthvalue(round((1 - OCCUPIED) * len(logits))).values)
    with tempfile.TemporaryDirectory() as folder:
        write_artifact(model, {"model_id": config.stem, "trained_on": "nothing", "accuracy": {}}, Path(folder))
        yield Path(folder)


def compare(old: Worker, new: Worker, repeats: int) -> dict[str, Any]:
    """Medians of the ratios, new by old, of frames that follow each other, and of the old frame's milliseconds."""
    runs = [(old.frame(), new.frame()) for _ in range(repeats + WARM_UP)][WARM_UP:]
    return {
        "cpu": median(ours[0] / theirs[0] for theirs, ours in runs),
        "wall": median(ours[1] / theirs[1] for theirs, ours in runs),
        "old_cpu_ms": median(theirs[0] for theirs, _ in runs),
        "old_wall_ms": median(theirs[1] for theirs, _ in runs),
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.performance.against", __doc__)
    parser.add_argument("old", type=Path, help="folder of the older checkout")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--artifact", default=SHIPPED, help="folder of the model of this checkout (%(default)s)")
    network.add_argument("--config", type=Path, help="configuration of an untrained network instead")
    parser.add_argument("--data", type=Path, help="nuScenes data root to take a frame from (default: a synthetic one)")
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "openvino"], help="(default: %(default)s)")
    parser.add_argument("--precision", default="fp32", help="of both networks (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engines (%(default)s)")
    parser.add_argument("--repeats", type=int, default=40, help="frames of each that are timed (%(default)s)")
    options = parser.parse_args(argv)
    options.data = options.data and options.data.resolve()
    here = Path(__file__).resolve().parents[2]
    with one_sentence(parser, "against"), ExitStack() as stack:
        ours = str(Path(options.artifact).resolve())
        if options.config:
            ours = str(stack.enter_context(untrained(options.config, example_frame(options.data))))
        for backend in options.backends:
            old = Worker(options.old.resolve(), SHIPPED, backend, options)
            with old, Worker(here, ours, backend, options) as new:
                found = compare(old, new, options.repeats)
            print(
                f"{backend} {options.precision}: {found['cpu']:.3f} of the processor time, {found['wall']:.3f} of the "
                f"wall time; old {found['old_cpu_ms']:.0f} and {found['old_wall_ms']:.0f} ms"
            )
    print(f"{processor()}, load average {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
