"""Measure what earlier frames are worth: `python -m benchmarks.memory --data ROOT [--data ROOT]`.

Every key frame is predicted once. Then the drives are answered by the frame alone, with a memory of 1, 2, 4 and 8
frames before it and of all, with poses that are wrong or missing, and with unknown space told apart. Figures go to
docs/memory.json and the page docs/memory.md; --render only writes the page again.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json, write_text
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.processor import usable_cores
from occfusion_ros.memory.columns import unpack
from occfusion_ros.memory.memory import MEMORIES, Memory
from occfusion_ros.memory.ray_casting import RayCaster
from occfusion_ros.runtime.pipeline import Pipeline

from ..machine import processor, versions
from .drives import Moment, recorded_drives, synthetic_drives
from .figures import accuracy, changed_poses, known_space, ray_iou
from .page import FIGURES, PAGE, page

PAST = (1, 2, 4, 8)
FAULTS = ("yaw", "position", "missing", "late")
PACKAGES = ("numpy", "numba")


def answer_all(
    memory: Memory, moments: Sequence[Moment], poses: Sequence[np.ndarray | None], unknown: str = "none"
) -> list[np.ndarray]:
    """Labels of a drive's frames, each answered from all before it; alone where there is no pose."""
    memory.reset("another drive")
    said = [moment.doubtful if unknown == "confidence" else moment.predicted for moment in moments]
    return [
        own.labels if pose is None else memory.answer(own, moment.frame, pose, unknown).labels
        for own, moment, pose in zip(said, moments, poses)
    ]


def answer_from(memory: Memory, moments: Sequence[Moment], past: int) -> list[np.ndarray]:
    """Labels of a drive's frames, each answered from so many before it."""
    answers = []
    for index in range(len(moments)):
        window = moments[max(0, index - past) : index + 1]
        answers.append(answer_all(memory, window, [m.fixed_from_grid for m in window])[-1])
    return answers


def measure(moments: Sequence[Moment], memory: Memory, progress: Callable[[str], None]) -> dict[str, Any]:
    """All figures of a drive."""
    poses = [moment.fixed_from_grid for moment in moments]
    figures: dict[str, Any] = {"frames": len(moments), "by_past": {}, "faults": {}}
    figures["by_past"]["0"] = _all_figures(moments, [moment.predicted.labels for moment in moments])
    for past in PAST:
        if past < len(moments) - 1:
            progress(f"{past} past frames")
            figures["by_past"][str(past)] = _all_figures(moments, answer_from(memory, moments, past))
    progress("all past frames")
    figures["by_past"]["all"] = _all_figures(moments, answer_all(memory, moments, poses))
    for kind in FAULTS:
        progress(kind)
        figures["faults"][kind] = accuracy(moments, answer_all(memory, moments, changed_poses(moments, kind)))
        figures["faults"][kind]["resets"] = memory.state.resets
    progress("unknown space")
    figures["known"] = known_by_form(moments, memory)
    return figures


def known_by_form(moments: Sequence[Moment], memory: Memory) -> dict[str, dict[str, Any]]:
    """Figures of known space of a drive by form of ``unknown``: of each frame `alone`, and with `memory`."""
    poses = [moment.fixed_from_grid for moment in moments]
    occluded = [answer_all(memory, [moment], [pose], "occluded")[0] for moment, pose in zip(moments, poses)]
    alone = {"occluded": occluded, "confidence": [moment.doubtful.labels for moment in moments]}
    return {
        form: {
            "alone": known_space(moments, labels),
            "memory": known_space(moments, answer_all(memory, moments, poses, form)),
        }
        for form, labels in alone.items()
    }


def _all_figures(moments: Sequence[Moment], answers: Sequence[np.ndarray]) -> dict[str, Any]:
    return {**accuracy(moments, answers), "ray_iou": ray_iou(moments, answers)}


def cost(moments: Sequence[Moment], memory: Memory, repeats: int = 3) -> dict[str, Any]:
    """Milliseconds that the memory takes for a frame of a drive, with the volume full."""
    times: dict[str, list[float]] = {"none": [], "occluded": []}
    for _ in range(repeats):
        for unknown, taken in times.items():
            memory.reset("another drive")
            for number, moment in enumerate(moments):
                start = time.perf_counter()
                memory.answer(moment.predicted, moment.frame, moment.fixed_from_grid, unknown)
                if number >= len(moments) // 2:
                    taken.append(1e3 * (time.perf_counter() - start))
    return {
        "ms": {unknown: median(taken) for unknown, taken in times.items()},
        "points": int(median(len(moment.frame.points) for moment in moments)),
        "threads": memory.volume.threads,
        "bytes": memory.nbytes,
    }


def made_sweep(beams: int = 128, turns: int = 2344) -> np.ndarray:
    """(300,032, 3) metres in the grid frame: what a LiDAR over a plane sees of it and of walls, 12 to 42 m away."""
    around = np.linspace(0, 2 * np.pi, turns, endpoint=False)[:, None]
    up = np.radians(np.linspace(-25, 15, beams))
    flat = np.stack(np.broadcast_arrays(np.cos(around), np.sin(around), np.tan(up)), -1)  # (turns, beams, 3)
    ground = np.where(up < 0, 1.8 / np.maximum(-np.tan(up), 1e-9), np.inf)
    return (flat * np.minimum(12 + 30 * np.sin(3 * around) ** 2, ground)[..., None]).reshape(-1, 3)


def rays_cost(grid: GridSpec, repeats: int = 40) -> dict[str, Any]:
    """Milliseconds for all rays of a made sweep through a grid: of the clock, and of all cores together."""
    ends, start = (made_sweep() - grid.low) / grid.voxel_size, -np.asarray(grid.low) / grid.voxel_size
    threads, taken = min(2, usable_cores()), []
    with ThreadPoolExecutor(threads) as pool:
        caster = RayCaster(grid.size, grid.voxel_size, pool, threads)
        for _ in range(repeats):
            clock, cores = time.perf_counter(), time.process_time()
            caster.cast([(start, ends)])
            taken.append((1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - cores)))
    ms, cpu_ms = np.median(taken, 0).tolist()
    passed = int(unpack(caster.passed, grid.size[2]).sum())
    return {"points": len(ends), "passed": passed, "ms": ms, "cpu_ms": cpu_ms, "threads": threads}


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.memory", __doc__)
    parser.add_argument("--data", type=Path, action="append", default=[], help="data root in the nuScenes format")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--backend", default="onnxruntime", help="inference backend (%(default)s)")
    parser.add_argument("--cost", action="store_true", help="only measure the cost again, on the data roots")
    parser.add_argument("--render", action="store_true", help="only write the page again from the figures")
    options = parser.parse_args(argv)
    with one_sentence(parser, "memory"):
        if not options.render:
            if not options.cost:
                write_json(FIGURES, run(options))
            write_json(FIGURES, with_costs(options))
        write_text(PAGE, page(json.loads(FIGURES.read_text())))
        print(PAGE)
    return 0


def with_costs(options: argparse.Namespace) -> dict[str, Any]:
    """The figures as they are, with the cost on the recorded drives measured."""
    figures = json.loads(FIGURES.read_text())
    pipeline = Pipeline.load(options.artifact, options.backend)
    memory = Memory(pipeline.contract.grid, MEMORIES["short"])
    drives = chain.from_iterable(recorded_drives(pipeline, root) for root in options.data)
    figures["cost"] = {name: cost(moments, memory) for name, moments in drives}
    figures["rays"] = rays_cost(pipeline.contract.grid)
    memory.close()
    return figures


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all drives, but for the cost."""
    pipeline = Pipeline.load(options.artifact, options.backend)
    memory = Memory(pipeline.contract.grid, MEMORIES["short"])
    figures: dict[str, Any] = {
        "machine": processor(),
        "versions": versions(*PACKAGES),
        "model": pipeline.contract.model_id,
        "backend": pipeline.backend_name,
        "drives": {},
    }
    recorded = chain.from_iterable(recorded_drives(pipeline, root) for root in options.data)
    for name, moments in chain(recorded, synthetic_drives(pipeline)):
        with tqdm(total=len(PAST) + len(FAULTS) + 2, desc=name, leave=False) as bar:
            figures["drives"][name] = measure(moments, memory, lambda what: (bar.set_postfix_str(what), bar.update()))
    memory.close()
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
