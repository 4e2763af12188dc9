"""Accuracy of an exported artifact on labeled frames: `python -m models.evaluate --data ROOT --artifact FOLDER`.

Runs the very pipeline that the robot runs on every sample that has an occupancy truth, and prints, over the observed
voxels (truth 255 is ignored): OpenOccupancy's geometric IoU and mIoU, RayIoU, each by class, and IoU by range.
With a memory the key frames of a scene are played in their order, and each is answered from those before it too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.datasets.other_labels import explain
from occfusion_ros.memory.memory import MEMORIES, Memory
from occfusion_ros.runtime.backends.protocol import PRECISIONS, BackendSettings
from occfusion_ros.runtime.pipeline import REFINE_MODES, Pipeline

from .evaluation.metrics import RangeBands
from .evaluation.nuscenes_frames import NuScenesFrames, add_last, add_past_sweeps, among_last, split_last
from .evaluation.ray_iou import RayIoU, choose_origins
from .evaluation.report import report, save_picture, table


@dataclass
class Evaluation:
    """What all labeled frames give together.

    Attributes:
        bands: confusion matrices by range. rays: counts of rays. frames: how many were labeled.
        prediction, truth: (X, Y, Z) uint8 of the first labeled frame, to look at.
    """

    bands: RangeBands
    rays: RayIoU
    frames: int = 0
    prediction: np.ndarray | None = None
    truth: np.ndarray | None = None

    def add(self, prediction: np.ndarray, truth: np.ndarray, sensors: np.ndarray) -> None:
        """Add a frame: two (X, Y, Z) uint8 arrays and the sensor's positions (N, 3) in the scene, grid frame."""
        self.bands.add(prediction, truth)
        self.rays.add(prediction, truth, choose_origins(self.rays.grid, sensors))
        if not self.frames:
            self.prediction, self.truth = prediction, truth
        self.frames += 1


def evaluate(
    pipeline: Pipeline,
    reader: NuScenesReader,
    scenes: list[str] | None = None,
    memory: Memory | None = None,
    past_sweeps: int = 0,
    last: float = 1.0,
) -> Evaluation:
    """Run all samples that have an occupancy truth, and with a memory those between them too.

    Args:
        past_sweeps: earlier sweeps that the network is told of, as far as there are any.
        last: share (0..1) of each scene's samples, from its end, that count; a memory has seen those before it.

    Raises:
        DatasetError: there is none, or the model's grid is not the one of the labels. ContractError: it was not trained
            with earlier sweeps.
    """
    grid = grid_of_labels(pipeline)
    recorded = NuScenesFrames.for_model(reader, pipeline.contract, past_sweeps)
    result = Evaluation(RangeBands(grid), RayIoU(grid))
    of_scene = ""
    for scene, token, truth in samples(reader, scenes, memory is not None, last):
        frame = recorded.frame(scene, token)
        answer = pipeline(frame)
        if memory is not None:
            if scene != of_scene:
                memory.reset("another scene")
            answer = memory.answer(answer, frame, recorded.map_from_grid(scene, token))
        of_scene = scene
        if truth is not None:
            result.add(answer.labels, truth, recorded.sensor_positions(scene, token))
    if not result.frames:
        parts = [split_last(reader.samples(scene), last)[1] for scene in dict.fromkeys(scenes or reader.scenes())]
        count = sum(map(len, parts))
        raise DatasetError(
            f"no sample with an occupancy truth among {count} samples{among_last(last)} of {reader.root}; "
            f"looked below {reader.occupancy_root} for occupancy/<LiDAR token>.npz and OpenOccupancy's "
            "scene_<scene token>/occupancy/<LiDAR token>.npy; "
            + (explain(reader.occupancy_root) or "nor are there labels of another project")
        )
    return result


def grid_of_labels(pipeline: Pipeline) -> GridSpec:
    """The model's grid; DatasetError where labels have another one."""
    if pipeline.contract.grid != GridSpec():
        raise DatasetError(f"expected a model on the grid of the labels, {GridSpec()}, got {pipeline.contract.grid}")
    return pipeline.contract.grid


def samples(
    reader: NuScenesReader, scenes: list[str] | None = None, every: bool = False, last: float = 1.0
) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """(scene, sample token, truth) of the last samples with an occupancy truth; with a progress bar.

    With `every` the others come too, those before the last share without their truth.
    """
    parts = {scene: split_last(reader.samples(scene), last) for scene in scenes or reader.scenes()}
    counted = {token for _, kept in parts.values() for token in kept}
    tokens = [(scene, token) for scene, (before, kept) in parts.items() for token in before + kept]
    for scene, token in tqdm([one for one in tokens if every or one[1] in counted], "evaluating", unit="frame"):
        truth = reader.occupancy(token) if token in counted else None
        if truth is not None or every:
            yield scene, token, truth


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.evaluate", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--scene", action="append", help="only this scene; may be given again")
    parser.add_argument("--backend", default="auto", help="inference backend (%(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="of the engines (%(default)s)")
    parser.add_argument("--refine", default="active", choices=REFINE_MODES, help="what is refined (%(default)s)")
    parser.add_argument("--memory", default="none", choices=("none", *MEMORIES), help="of earlier frames (%(default)s)")
    add_past_sweeps(parser)
    add_last(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--picture", type=Path, help="draw the figures and the first frame to this PNG file")
    options = parser.parse_args(argv)
    with one_sentence(parser, "evaluate"):
        pipeline = Pipeline.load(
            options.artifact, options.backend, options.refine, BackendSettings(precision=options.precision)
        )
        memory = Memory(pipeline.contract.grid, MEMORIES[options.memory]) if options.memory != "none" else None
        reader = NuScenesReader(options.data)
        result = evaluate(pipeline, reader, options.scene, memory, options.past_sweeps, options.last)
        figures = report(result.bands, result.rays, result.frames)
        print(table(figures))
        if options.json:
            about = {"model": pipeline.contract.model_id, "past_sweeps": options.past_sweeps, "last": options.last}
            write_json(options.json, about | figures)
        if options.picture:
            save_picture(options.picture, figures, result.prediction, result.truth)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
