"""The node as a process under load, watched from outside: `python -m benchmarks.load soak|load|release`.

  soak     the full sensor rate for many minutes: memory, threads, open files, output rate, latency
  load     the highest sensor rate at which nothing is lost, by number of cameras and transport
  release  what a sweep waits for its images where `release` is certain and where it is rhythm, in turns

Sensors, node and measurement are processes of their own; the sensors play a synthetic frame of six cameras (1600 x 900)
and a LiDAR. Figures are kept by part beside the page docs/reliability.md; --render only writes the page again.
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import parser_of
from occfusion_ros.core.errors import OccFusionError

from ..machine import processor, versions
from . import run_figures as figures
from .harness import Harness, Run
from .messages import MAP
from .page import PAGE, write_page
from .sensors import Sensors

PACKAGES = ("ros-kilted-rclpy", "ros-kilted-rmw-fastrtps-cpp", "torch", "onnxruntime", "openvino", "numpy")
CASES = ((0, "raw"), (1, "raw"), (3, "raw"), (6, "raw"), (1, "compressed"), (3, "compressed"), (6, "compressed"))
SLOWEST_HZ, FASTEST_HZ, STEPS = 6.0, 60.0, 5  # of the LiDAR; every step halves what is left, on a scale of ratios
CAMERA_SHARE = 0.6  # of the LiDAR's rate, as 12 Hz of 20 Hz
RELEASES, TURNS = ("certain", "rhythm"), 3  # in turns, so that whatever else the machine does meets both alike
# Slow sensors are paired as patiently as their rate asks for.
PATIENT = {"camera_tolerance_s": 0.15, "max_wait_s": 0.4}


class Ground(NamedTuple):
    """What the harness plays and loads: a frame, and the parameters that make the node load a model, by its name."""

    frame: Path
    models: dict[str, dict[str, str]]


@contextmanager
def prepared() -> Iterator[Ground]:
    """A synthetic frame and a model that costs nothing, in a folder that goes again."""
    from occfusion_ros.runtime.artifact import load_artifact

    from ..performance.latency import example_frame
    from .messages import save_frame
    from .null_model import write_null_model

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_frame(example_frame(None), path / "frame.npz")
        null = write_null_model(path / "null", load_artifact("nano").contract)
        yield Ground(
            path / "frame.npz", {"null": {"model": str(null), "backend": "onnxruntime"}, "nano": {"model": "nano"}}
        )


def isolate() -> None:
    """Keep this machine's other ROS nodes, and other machines, out of the measurement."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))


def soak(
    ground: Ground, backend: str, minutes: float, memory: str = "none", sensors: Sensors = Sensors()
) -> dict[str, Any]:
    """The full sensor rate for a long time, by a vehicle that drives at 10 m/s as TF has it."""
    remembering = {} if memory == "none" else {"memory": memory, "fixed_frame": MAP}
    with Harness(ground.frame, sensors, **ground.models[backend], **remembering) as harness:
        run = harness.run(sensors, 60 * minutes)
    return {"minutes": minutes, **described(run), "growth": figures.growth(run), "curves": figures.curves(run)}


def load(
    ground: Ground, seconds: float, cases: tuple[tuple[int, str], ...] = CASES, steps: int = STEPS
) -> dict[str, Any]:
    """The highest rate of every case."""
    rows = []
    for cameras, transport in cases:
        sensors = Sensors(cameras, transport)
        with Harness(ground.frame, sensors, **ground.models["null"], **PATIENT) as harness:
            rows.append(
                {"cameras": cameras, "transport": transport, **highest_rate(harness.run, sensors, seconds, steps)}
            )
        print(f"{cameras} cameras {transport}: {rows[-1]['lidar_hz']:.1f} Hz", file=sys.stderr)
    return {"seconds": seconds, "resolution": round((FASTEST_HZ / SLOWEST_HZ) ** (0.5**steps), 3), "rows": rows}


def release(ground: Ground, seconds: float, sensors: Sensors = Sensors(lidar_hz=10.0)) -> dict[str, Any]:
    """From a sweep's stamp to its answer by a model that costs nothing, with each way to release a sweep."""
    rows = []
    for mode in RELEASES * TURNS:
        with Harness(ground.frame, sensors, **ground.models["null"], release=mode) as harness:
            run = harness.run(sensors, seconds)
        rows.append({"release": mode, "since_sweep_ms": figures.spread(figures.since_sweep_ms(run)), **described(run)})
        print(f"{mode}: {rows[-1]['since_sweep_ms']}", file=sys.stderr)
    return {"seconds": seconds, "rows": rows}


def highest_rate(play: Callable[[Sensors, float], Run], sensors: Sensors, seconds: float, steps: int) -> dict[str, Any]:
    """The highest rate at which every sweep is answered with all cameras, and what was seen at it.

    Returns:
        `lidar_hz`, `camera_hz`: 0 where even the slowest rate that was tried lost something; `tried`: every rate with
        what it lost; what `described` tells of the best run.
    """
    low, high, best, tried = SLOWEST_HZ, FASTEST_HZ, None, []
    for _ in range(steps):
        rate = math.sqrt(low * high)
        run = play(replace(sensors, lidar_hz=rate, camera_hz=CAMERA_SHARE * rate), seconds)
        losses = figures.lost(run)
        tried.append({"lidar_hz": round(rate, 2), **losses})
        if losses["sweeps"] and not losses["unanswered"] and not losses["without a camera"]:
            low, best = rate, run
        else:
            high = rate
    found = described(best) if best else {}
    return {
        "lidar_hz": best.sensors.lidar_hz if best else 0.0,
        "camera_hz": best.sensors.camera_hz if best else 0.0,
        "tried": tried,
        **found,
    }


def described(run: Run) -> dict[str, Any]:
    """What all parts tell of a run."""
    return {
        "sensors": asdict(run.sensors),
        "sent": figures.sent(run),
        "late_p99_ms": round(run.late_p99_ms, 1),
        "lost": figures.lost(run),
        "rate": figures.rate(run),
        "latency_ms": figures.latency_by_stage(run),
        "cpu_percent": figures.cpu_percent(run),
        "diagnostics_jitter_ms": figures.diagnostics_jitter_ms(run),
        "verdicts": figures.verdicts(run),
    }


def measure(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The part that was asked for: its name on the page, and its figures with what they were measured on."""
    words = [options.part]
    about = {"machine": processor(), "load": round(os.getloadavg()[0], 1), "versions": versions(*PACKAGES)}
    with prepared() as ground:
        if options.part == "soak":
            words += [f"--minutes {options.minutes:g}", f"--backend {options.backend}"]
            found, name = soak(ground, options.backend, options.minutes, options.memory), f"soak {options.backend}"
            if options.memory != "none":
                words.append(f"--memory {options.memory}")
                name += " with memory"
        else:
            words += [f"--seconds {options.seconds:g}"]
            found, name = {"load": load, "release": release}[options.part](ground, options.seconds), options.part
    return name, {"command": " ".join(["python -m benchmarks.load", *words]), **about, **found}


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.load", __doc__)
    parser.add_argument("part", nargs="?", choices=("soak", "load", "release"), help="what to measure")
    parser.add_argument("--minutes", type=float, default=30.0, help="of a soak (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=7.0, help="that sensors play at each rate or in each turn (%(default)s)"
    )
    parser.add_argument(
        "--backend",
        choices=("null", "nano"),
        default="null",
        help="model of a soak: one that costs nothing, or the shipped one (%(default)s)",
    )
    parser.add_argument(
        "--memory", choices=("none", "short", "long"), default="none", help="of the node in a soak (%(default)s)"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write (%(default)s), with its .json beside it")
    parser.add_argument("--render", action="store_true", help="only write the page again from its .json")
    options = parser.parse_args(argv)
    if not options.part and not options.render:
        parser.error("name a part, or --render")
    store = options.page.with_suffix(".json")
    isolate()
    try:
        kept = json.loads(store.read_text()) if store.exists() else {}
        if options.part:
            name, found = measure(options)
            kept[name] = found
            write_json(store, kept)
        write_page(kept, options.page)
    except (OccFusionError, RuntimeError, OSError, json.JSONDecodeError) as error:
        parser.exit(2, f"reliability: {error}\n")
    print(f"page: {options.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
