"""What the node's outputs cost: each alone, all together, and against a frame of which only markers are published."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import SemanticClass
from occfusion_ros.ros.node.forms import Answer, Builder, Form, forms, passable_of
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

from ..machine import processor

SETTINGS = NodeParameters(fixed_frame="odom", costmap_bands=("high:2.5:4",))
MARKERS = "~/markers"
PLAIN = "all but overlays"
MOST = 1.3  # times the frame with markers alone


def measure(artifact: Path, frame: SensorFrame, threads: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of each output, of all, and of the frame without any; sizes of the messages."""
    pipeline = Pipeline.load(artifact, "onnxruntime", settings=BackendSettings(threads=threads))
    classes = pipeline.contract.classes
    settings = replace(SETTINGS, cameras=tuple(camera.name for camera in frame.cameras))
    every, builder = list(forms(settings, passable_of(settings, classes))), Builder()
    runs: list[dict[str, float]] = []
    sizes: dict[str, int] = {}
    for _ in range(repeats + 1):  # the first one warms up
        start = time.perf_counter()
        grid = pipeline(frame)
        run = {"frame": 1e3 * (time.perf_counter() - start)}
        for form in every:
            run[form.topic], sizes[form.topic] = built([form], grid, classes, frame, builder)
        plain = [form for form in every if "overlay" not in form.topic]
        run[PLAIN], sizes[PLAIN] = built(plain, grid, classes, frame, builder)
        run["all"], sizes["all"] = built(every, grid, classes, frame, builder)
        runs.append(run)
    builder.close()
    times = {name: round(median(run[name] for run in runs[1:]), 2) for name in runs[0]}
    ratios = {
        name: round((times["frame"] + times[name]) / (times["frame"] + times[MARKERS]), 3) for name in (PLAIN, "all")
    }
    rows = [{"topic": name, "ms": times[name], "bytes": size} for name, size in sizes.items()]
    return {
        "machine": processor(),
        "rows": rows,
        "frame_ms": times["frame"],
        "ratios": ratios,
        "occupied": occupied(grid),
    }


def built(
    some: Sequence[Form], grid: OccupancyGrid, classes: tuple[SemanticClass, ...], frame: SensorFrame, builder: Builder
) -> tuple[float, int]:
    """Milliseconds to build some outputs of an answer, and the bytes of those that come serialized."""
    start = time.perf_counter()
    answer = Answer(grid, SETTINGS, classes, passable_of(SETTINGS, classes), frame.cameras, lambda: np.eye(4))
    messages = [message_of() for message_of in builder.build(answer, some)]
    return 1e3 * (time.perf_counter() - start), sum(len(message) for message in messages if isinstance(message, bytes))


def occupied(grid: OccupancyGrid) -> int:
    """How many voxels are occupied."""
    return int(np.count_nonzero((grid.labels > 0) & (grid.labels < 255)))
