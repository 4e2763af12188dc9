"""Measure how fast recordings are labeled with different numbers of workers and threads, one of which labels them all.

`make FOLDER` makes the recordings, which takes minutes and may be done while other things run; `measure FOLDER` labels
them, on a machine that does nothing else, and writes docs/labelling.json and the section of docs/labelling.md; `render`
writes the section again.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_json, write_text
from occfusion_ros.core.command import number, one_sentence, parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.processor import usable_cores

from ..machine import processor, versions
from .page import BEGIN, END, section
from .recordings import MADE, linked, make

FIGURES, PAGE = Path("docs/labelling.json"), Path("docs/labelling.md")
SLICE_S = 20.0  # above the length of a recording, so that each is one slice


def parser() -> ArgumentParser:
    """The command line."""
    it = parser_of("python -m benchmarks.labeling", __doc__)
    commands = it.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--sweeps", type=number(int, 1), default=1000, help="of all recordings together (%(default)s)")
    making.add_argument("--drives", type=number(int, 1), default=2, help="that are rendered (%(default)s)")
    making.add_argument(
        "--frames", type=number(int, 1), default=10, help="of each drive, and each recording (%(default)s)"
    )
    making.add_argument(
        "--image-scale",
        type=number(float, 0, 1, above=True),
        default=1.0,
        help="of the cameras' own images (%(default)s)",
    )
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder", type=Path, help="that was made")
    measuring.add_argument("--model", default="nano", help="artifact (%(default)s)")
    measuring.add_argument(
        "--runs", nargs="+", type=_pair, default=_pairs(usable_cores()), metavar="WxT", help="workers x threads of each"
    )
    measuring.add_argument(
        "--part", type=number(int, 1), default=80, help="sweeps of every run but the last (%(default)s)"
    )
    commands.add_parser("render")
    return it


def _pair(text: str) -> tuple[int, int]:
    workers, threads = map(int, text.split("x"))
    return workers, threads


def _pairs(cores: int) -> list[tuple[int, int]]:
    """One worker with one thread and with all, then twice as many workers of one thread each time."""
    several = [2**power for power in range(1, cores.bit_length()) if 2**power < cores]
    return list(dict.fromkeys([(1, 1), (1, cores), *((workers, 1) for workers in several), (cores, 1)]))


def measure(options: Namespace) -> dict[str, Any]:
    """Label with each number of workers; the last run takes all recordings."""
    bags, made = linked(options.folder), json.loads((options.folder / MADE).read_text())
    part = bags[: max(1, options.part // made["frames"])]
    runs = []
    for workers, threads in options.runs:
        last = (workers, threads) == options.runs[-1]
        print(f"{workers} workers, {threads} threads each", flush=True)
        runs.append(_run(options, bags if last else part, workers, threads))
    figures = {"machine": processor(), "versions": versions("onnxruntime", "numpy"), "model": options.model}
    return {**figures, "made": made, "runs": runs}


def _run(options: Namespace, bags: list[Path], workers: int, threads: int) -> dict[str, Any]:
    """Figures of one run, whose labels are removed."""
    out = options.folder / "labels"
    shutil.rmtree(out, ignore_errors=True)
    words = ["-p", f"model:={options.model}", "-p", "backend:=onnxruntime", "--formats", "npz", "--picture-every", "0"]
    words += ["--workers", str(workers), "--threads", str(threads), "--slice-s", str(SLICE_S)]
    begin = time.time()
    run = subprocess.run([sys.executable, "-m", "occfusion_ros.labels", *map(str, bags), str(out), *words])
    seconds = time.time() - begin
    if run.returncode:
        raise OccFusionError(f"label_bags ended with exit status {run.returncode}; its labels are left in {out}")
    summary = json.loads((out / "summary.json").read_text())
    done = sorted(path.stat().st_mtime - begin for path in (out / "slices").iterdir())
    size = sum(path.stat().st_size for path in (out / "occupancy").iterdir())
    shutil.rmtree(out)
    return {
        "workers": workers,
        "threads": threads,
        "sweeps": summary["sweeps"],
        "dropped": summary["dropped"],
        "seconds": round(seconds, 1),
        "sweeps_per_second": round(rate(done, summary["sweeps"], max(1, workers)), 3),
        "megabytes_per_sweep": round(size / summary["sweeps"] / 1e6, 3),
    }


def rate(done: list[float], sweeps: int, workers: int) -> float:
    """Sweeps a second once every worker has begun.

    Args:
        done: seconds at which each slice was done, ascending; all have as many sweeps. sweeps: of all slices.

    Raises:
        OccFusionError: there are too few slices.
    """
    if len(done) < 2 * workers:
        raise OccFusionError(
            f"expected two slices for each of {workers} workers, got {len(done)}: give a larger --part"
        )
    return (len(done) - workers) * sweeps / len(done) / (done[-1] - done[workers - 1])


def render() -> None:
    """Write the section of the page from the figures."""
    text = PAGE.read_text()
    made = section(json.loads(FIGURES.read_text()))
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    write_text(PAGE, re.sub(pattern, lambda _: f"{BEGIN}\n{made}\n{END}", text, flags=re.S))
    print(PAGE)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    it = parser()
    options = it.parse_args(argv)
    with one_sentence(it, "labeling"):
        if options.command == "make":
            print(make(options.folder, options.sweeps, options.drives, options.frames, options.image_scale))
            return 0
        if options.command == "measure":
            write_json(FIGURES, measure(options))
        render()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
