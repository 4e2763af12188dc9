"""How the time of a frame grows with points, cameras, refined voxels and the grid.

One thing changes at a time; ONNX Runtime in float32, whose engines take any number of cameras and voxels.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from export.to_onnx import write_artifact
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

POINTS = (10_000, 30_000, 100_000, 300_000)
CAMERAS = (0, 1, 2, 4, 6, 8)
REFINED = (256, 512, 1024, 2048, 4096)
EDGES = (128, 256, 384, 512)  # voxels along x and y
REPEATS = 7


def with_points(frame: SensorFrame, count: int) -> SensorFrame:
    """The frame with so many returns: drawn from its own, each moved by a few centimetres."""
    rng = np.random.default_rng(0)
    points = frame.points[rng.integers(0, len(frame.points), count)].copy()
    points[:, :3] += rng.normal(0, 0.05, (count, 3)).astype(np.float32)
    return replace(frame, points=points)


def with_cameras(frame: SensorFrame, count: int) -> SensorFrame:
    """The frame with so many of its cameras, again from the first where it has fewer."""
    cameras = (frame.cameras * 2)[:count]
    return replace(frame, cameras=tuple(replace(c, name=f"{c.name}{i}") for i, c in enumerate(cameras)))


def time_frame(pipeline: Pipeline, frame: SensorFrame) -> dict[str, float]:
    """Median milliseconds by stage."""
    pipeline(frame)
    runs = [pipeline(frame).stage_ms for _ in range(REPEATS)]
    return {stage: median(run[stage] for run in runs) for stage in runs[0]}


def with_budget(pipeline: Pipeline, refined: int) -> Pipeline:
    """The same engines with another refinement budget."""
    contract = replace(pipeline.contract, refine_budget=refined)
    return Pipeline(contract, pipeline.fuser, pipeline.refiner)


def untrained(edge: int, folder: Path, settings: BackendSettings) -> Pipeline:
    """The shipped network with random weights on a grid of edge x edge columns."""
    config = ModelConfig()
    half = edge * config.presample.grid.voxel_size / 2
    grid = GridSpec(
        (-half, -half, config.presample.grid.low[2]),
        config.presample.grid.voxel_size,
        (edge, edge, config.presample.grid.size[2]),
    )
    torch.manual_seed(0)
    model = OccFusion(replace(config, presample=replace(config.presample, grid=grid))).eval()
    write_artifact(model, {"model_id": f"grid {edge}", "trained_on": "nothing", "accuracy": {}}, folder)
    return Pipeline.load(folder, "onnxruntime", settings=settings)


def measure(folder: Path, frame: SensorFrame, threads: int) -> list[dict[str, Any]]:
    """A row for each point and stage: `axis`, `value`, `stage`, `p50_ms`."""
    settings = BackendSettings(threads, "fp32")
    pipeline = Pipeline.load(folder, "onnxruntime", settings=settings)
    jobs: list[tuple[str, int, Callable[[], dict[str, float]]]] = [
        *(("points", n, lambda n=n: time_frame(pipeline, with_points(frame, n))) for n in POINTS),
        *(("cameras", n, lambda n=n: time_frame(pipeline, with_cameras(frame, n))) for n in CAMERAS),
        *(("refined voxels", n, lambda n=n: time_frame(with_budget(pipeline, n), frame)) for n in REFINED),
    ]
    rows = []
    for axis, value, job in tqdm(jobs, "scaling", unit="point"):
        rows += list(_rows(axis, value, job()))
    for edge in tqdm(EDGES, "scaling with the grid", unit="grid"):
        with tempfile.TemporaryDirectory() as place:
            rows += list(_rows("grid columns", edge * edge, time_frame(untrained(edge, Path(place), settings), frame)))
    return rows


def _rows(axis: str, value: int, times: dict[str, float]) -> Iterator[dict[str, Any]]:
    for stage, milliseconds in times.items():
        yield {"axis": axis, "value": value, "stage": stage, "p50_ms": round(milliseconds, 2)}


def exponent(rows: list[dict[str, Any]], axis: str) -> float:
    """By which power of the axis the time grows from its second largest value to the largest; 1 is linear."""
    points = sorted((row["value"], row["p50_ms"]) for row in rows if (row["axis"], row["stage"]) == (axis, "total"))
    (x0, y0), (x1, y1) = points[-2:]
    return float(np.log(y1 / y0) / np.log(x1 / x0))
