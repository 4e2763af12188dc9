"""Where the time of a frame goes.

Messages of six JPEG cameras and a LiDAR in, serialized occupancy out, stage by stage, on every backend and precision
that runs here; and beside it the image backbone alone. Percentiles are over frames after a warm-up.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from export.parity import runnable
from export.to_onnx import tensor_spec
from occfusion_ros.core.contract import NetworkSpec
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.processor import usable_cores
from occfusion_ros.runtime.artifact import Artifact, load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline, Stopwatch
from synthetic import seeds

from ..load.messages import Messages

WARM_UP = 5
PERCENTILES = (50, 90, 99)
DRIVE = seeds.TIMING[0]  # synthetic, where no data root is given


def example_frame(root: Path | None) -> SensorFrame:
    """The first frame with six cameras of a nuScenes data root; of a synthetic drive without one."""
    if root is None:
        from synthetic import SyntheticDrive

        return SyntheticDrive(DRIVE).frame(4).frame
    from models.evaluation.nuscenes_frames import NuScenesFrames
    from occfusion_ros.datasets.nuscenes import NuScenesReader

    reader = NuScenesReader(root)
    recorded = NuScenesFrames(reader)
    frames = (recorded.frame(scene, token) for scene in reader.scenes() for token in reader.samples(scene))
    found = next((frame for frame in frames if len(frame.cameras) == 6), None)
    if found is None:
        raise OccFusionError(f"{root}: no frame with six cameras")
    return found


class Robot:
    """What the node does with a frame, on one thread as in the node; images are unpacked in parallel."""

    def __init__(self, pipeline: Pipeline, messages: Messages) -> None:
        self.pipeline, self.messages = pipeline, messages
        self.decoders = ThreadPoolExecutor(usable_cores(), "decode")

    def __call__(self) -> dict[str, float]:
        """Milliseconds by stage, and of the whole `frame`."""
        from occfusion_ros.ros.conversions.image import rgb_from_compressed
        from occfusion_ros.ros.conversions.occupancy_grid import occupancy_bytes
        from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
        from occfusion_ros.ros.conversions.point_cloud import points_from_cloud

        watch, given = Stopwatch(), self.messages.frame
        images = list(self.decoders.map(rgb_from_compressed, self.messages.images))
        watch.lap("decode")
        points = points_from_cloud(self.messages.cloud)
        cameras = tuple(
            CameraImage(c.name, image, c.intrinsics, c.camera_from_grid) for c, image in zip(given.cameras, images)
        )
        frame = SensorFrame(given.stamp_ns, points, cameras, given.frame_id)
        watch.lap("convert")
        grid = self.pipeline(frame)
        watch.lap("pipeline")
        occupancy_bytes(grid, OccupiedVoxels.of(grid.labels, grid.spec))
        watch.lap("serialize")
        times = watch.finish()
        whole, inside = times.pop("total"), {k: v for k, v in grid.stage_ms.items() if k != "total"}
        del times["pipeline"]
        return {**times, **inside, "frame": whole}


def backbone_alone(artifact: Artifact, backend: str, settings: BackendSettings) -> Any:  # Backend | None
    """The image backbone of the fuser as an engine of its own, None where the backend does not take ONNX."""
    from onnx import load_from_string, utils

    from occfusion_ros.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
    from occfusion_ros.runtime.backends.openvino_backend import OpenVinoBackend

    kinds = {"onnxruntime": OnnxRuntimeBackend, "openvino": OpenVinoBackend}
    if backend not in kinds:
        return None
    model = load_from_string(artifact.read(artifact.contract.fuser.files["fp32"]))
    part = utils.Extractor(model).extract_model(["images"], level_names(model))
    spec = NetworkSpec(
        artifact.contract.fuser.files,
        tuple(map(tensor_spec, part.graph.input)),
        tuple(map(tensor_spec, part.graph.output)),
    )
    return kinds[backend](part.SerializeToString(), "backbone.onnx", spec, settings.precision, settings.threads)


def level_names(model: Any) -> list[str]:  # onnx.ModelProto
    """Names of the backbone's feature maps in a fuser: what is standardized for the pyramid's first convolutions."""
    makers = {name: node for node in model.graph.node for name in node.output}
    laterals = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and ".pyramid.lateral." in node.input[1] and node.input[1].endswith("weight")
    ]
    return [makers[makers[node.input[0]].input[0]].input[0] for node in laterals]  # Conv <- Div <- Sub <- the map


def percentiles(runs: list[dict[str, float]]) -> Iterator[dict[str, Any]]:
    """`stage` and its percentiles in milliseconds, for every stage."""
    for stage in runs[0]:
        values = np.percentile([run[stage] for run in runs], PERCENTILES)
        yield {"stage": stage, **{f"p{p}_ms": round(float(value), 2) for p, value in zip(PERCENTILES, values)}}


def measure(folder: Path, messages: Messages, threads: int, repeats: int, backends: list[str]) -> list[dict[str, Any]]:
    """A row for each backend, precision and stage.

    Returns:
        `model`, `backend`, `precision` (the backend's default comes first), `threads`, `stage`, `p50_ms`, `p90_ms`,
        `p99_ms`.
    """
    artifact, rows = load_artifact(folder), []
    for backend, precision in list(runnable(folder, backends)):
        settings = BackendSettings(threads, precision)
        robot = Robot(Pipeline.load(folder, backend, settings=settings), messages)
        alone = backbone_alone(artifact, backend, settings) if precision in ("fp32", "bf16") else None
        images = robot.pipeline.presampler.prepare_images(messages.frame)
        runs = []
        for _ in tqdm(range(repeats + WARM_UP), f"{backend} {precision}", unit="frame"):
            runs.append(robot())
            if alone:  # in turn with the frames, so that whatever else the machine does meets both alike
                start = time.perf_counter()
                alone.run({"images": images})
                runs[-1]["backbone alone"] = 1e3 * (time.perf_counter() - start)
        rows += [
            {"model": artifact.contract.model_id, "backend": backend, "precision": precision, "threads": threads, **row}
            for row in percentiles(runs[WARM_UP:])
        ]
    return rows
