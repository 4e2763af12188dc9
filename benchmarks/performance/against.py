"""Time the whole frame of this checkout against that of an older one: `python -m benchmarks.performance.against OLD`.

Both run in processes of their own and take turns, so that whatever else the machine does meets both alike; what is
printed are ratios of processor time and of wall time. The network of this checkout may be another one, or an untrained
one of a configuration, whose heads are set so that it calls about as much occupied as the shipped one: what a frame
takes after the networks hangs on that.
"""

import itertools
import json
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
from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.wrappers import networks_of
from occfusion_ros.presample.presampler import Presampler

from ..machine import processor
from ..markdown import table
from .latency import example_frame

OCCUPIED = 0.0137  # of the children, as the shipped model sees a real nuScenes frame
ALIKE = 0.2  # how much the children of a voxel differ, of what random weights make of it
SHIPPED = "models/zoo/nano"  # in either checkout; by its name the installed one would be found
FIGURES = "against.json"  # beside the page
WARM_UP = 3
WORKER = """
import sys, time
from pathlib import Path
try:
    from benchmarks.performance import latency
    from benchmarks.load.messages import messages_of
    from occfusion_ros.ros.startup.allocator import keep_memory_together
    from occfusion_ros.runtime.backends.protocol import BackendSettings
except ImportError:  # before the rooms of benchmarks
    from benchmarks import latency
    from benchmarks.messages import messages_of
    from occfusion_ros.ros.allocator import keep_memory_together
    from occfusion_ros.runtime.backend import BackendSettings
keep_memory_together()  # as the node does
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
    voxels = presampler(frame)
    inputs = {name: tensor[None] for name, tensor in voxels.network_inputs().items()}
    with torch.inference_mode():
        images = model.backbone(presampler.prepare_images(frame))
    with torch.no_grad():
        weight = model.occupancy_head.weight
        weight.copy_(weight[:1] + ALIKE * weight)
        fused = model.fuse(images, **inputs)
        looked_at, occupied = fused.occupancy[0], round(OCCUPIED * fused.occupancy.numel())
        if fused.screen is not None:
            passed = networks_of(model)[0].passing(fused.screen, voxels.present)
            looked_at = looked_at[passed[passed >= 0]]
        logits = looked_at.flatten()
        model.occupancy_shift.fill_(-logits.kthvalue(len(logits) - occupied).values)
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


def commit_of(checkout: Path) -> str:
    """Short name of the commit that is checked out in a folder; the folder's name where git does not know."""
    found = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or checkout.name


def section_beside(page: Path) -> list[str]:
    """The section of the performance page on what `--json` kept beside it; nothing without that."""
    path = page.with_name(FIGURES)
    if not path.exists():
        return []
    data = json.loads(path.read_text())
    body = [
        [row["model"], f"{row['backend']} {row['precision']}", f"{row['cpu']:.2f}", f"{row['wall']:.2f}"]
        + [f"{row['old_cpu_ms']:.0f}", f"{row['old_wall_ms']:.0f}"]
        for row in data["rows"]
    ]
    models = dict.fromkeys(f"models/zoo/{row['model']}" for row in data["rows"])
    command = f"python -m benchmarks.performance.against OLD --artifacts {' '.join(models)} --repeats {data['repeats']}"
    return [
        "## Against an older checkout",
        "",
        f"The whole frame with six JPEG cameras ({data['source']}), {data['threads']} threads, in turns with that of",
        f"`nano` in the checkout of commit {data['old']} (up to c0fcbb4 nothing says how sure it is): median ratios of",
        f"{data['repeats']} pairs of frames, and median milliseconds of the older one.",
        "",
        *table(["model", "on", "processor time", "wall time", "older: processor, ms", "wall, ms"], body),
        "",
        f"Made by `{command}{' --data ROOT' if 'real' in data['source'] else ''} --json docs/{FIGURES}`",
        f"on: {data['machine']}, load average {data['load']} at the start.",
        "",
    ]


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.performance.against", __doc__)
    parser.add_argument("old", type=Path, help="folder of the older checkout")
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--artifacts", nargs="+", help=f"folders of models of this checkout ({SHIPPED})")
    network.add_argument("--config", type=Path, help="configuration of an untrained network instead")
    parser.add_argument("--data", type=Path, help="nuScenes data root to take a frame from (default: a synthetic one)")
    parser.add_argument("--backends", nargs="+", default=["onnxruntime", "openvino"], help="(default: %(default)s)")
    parser.add_argument("--precision", default="fp32", help="of both networks (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engines (%(default)s)")
    parser.add_argument("--repeats", type=int, default=40, help="frames of each that are timed (%(default)s)")
    parser.add_argument("--json", type=Path, help=f"where to keep the figures; docs/{FIGURES} is part of a page")
    options = parser.parse_args(argv)
    options.data = options.data and options.data.resolve()
    here, load, rows = Path(__file__).resolve().parents[2], round(os.getloadavg()[0], 1), []
    with one_sentence(parser, "against"), ExitStack() as stack:
        models = [str(Path(artifact).resolve()) for artifact in options.artifacts or [here / SHIPPED]]
        if options.config:
            models = [str(stack.enter_context(untrained(options.config, example_frame(options.data))))]
        for model, backend in itertools.product(models, options.backends):
            old = Worker(options.old.resolve(), SHIPPED, backend, options)
            with old, Worker(here, model, backend, options) as new:
                found = compare(old, new, options.repeats)
            name = options.config.stem if options.config else Path(model).name
            rows.append({"model": name, "backend": backend, "precision": options.precision, **found})
            print(
                f"{name}, {backend} {options.precision}: {found['cpu']:.3f} of the processor time, {found['wall']:.3f} "
                f"of the wall time; old {found['old_cpu_ms']:.0f} and {found['old_wall_ms']:.0f} ms"
            )
        print(f"{processor()}, load average {load} at the start")
        if options.json:
            source = "a real nuScenes frame" if options.data else "a synthetic frame"
            about = {"machine": processor(), "load": load, "old": commit_of(options.old), "source": source}
            write_json(options.json, about | {"threads": options.threads, "repeats": options.repeats, "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
