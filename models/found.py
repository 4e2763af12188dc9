"""Measure what is found of each class, by the distance to the nearest return: `python -m models.found --data ROOT`.

Most voxels have no return from a single sweep, and what is in those can only be inferred: asphalt well, leaves hardly.
So the IoU of a drive depends on what stands along it. With `--frames`, drive and prepared synthetic frames are both
answered from one sweep of LiDAR alone, and it says what the IoU of the drive would be if as much of each class were
found there as in those.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, IGNORE
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.backends.protocol import PRECISIONS, BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

from .evaluate import grid_of_labels, samples
from .evaluation.found import Found, table
from .evaluation.nuscenes_frames import NuScenesFrames, add_past_sweeps
from .training.data import PreparedFrame


def found_in(frames: Iterable[tuple[SensorFrame, np.ndarray]], pipeline: Pipeline) -> Found:
    """What a model finds in frames with their truths (X, Y, Z) uint8, 255 ignored.

    Raises:
        DatasetError: nothing in them is occupied.
    """
    result, radius = Found(), pipeline.contract.preprocessing.ego_radius
    for frame, truth in frames:
        outside = np.hypot(*frame.points[:, :2].T) >= radius  # the vehicle itself is left out
        result.add(pipeline(frame), truth, frame.points[outside])
    if not result.counts[EMPTY + 1 :].any():
        raise DatasetError("expected frames whose truth has occupied voxels, got none")
    return result


def recorded(
    reader: NuScenesReader, pipeline: Pipeline, past_sweeps: int, alone: bool
) -> Iterator[tuple[SensorFrame, np.ndarray]]:
    """Labeled frames of a data root; `alone`: without their cameras."""
    frames = NuScenesFrames.for_model(reader, pipeline.contract, past_sweeps)
    for scene, token, truth in samples(reader):
        frame = frames.frame(scene, token)
        yield (replace(frame, cameras=()) if alone else frame), truth


def files_of(folder: Path) -> list[Path]:
    """Prepared frames of a folder; DatasetError where there are none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DatasetError(f"expected prepared frames (*.npz) in {folder}, got none")
    return paths


def prepared(paths: list[Path], grid: GridSpec) -> Iterator[tuple[SensorFrame, np.ndarray]]:
    """Prepared frames, without cameras and earlier sweeps; what sensors could not observe is ignored.

    Raises:
        DatasetError: one has its truth on another grid.
    """
    for path in tqdm(paths, "prepared frames", unit="frame"):
        one = PreparedFrame.load(path)
        if one.grid != grid:
            raise DatasetError(f"{path}: expected a truth on {grid}, got {one.grid}")
        frame = SensorFrame(0, one.points, (), ray_origins=one.ray_origin[None])
        yield frame, np.where(one.observed, one.semantics, np.uint8(IGNORE))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = parser_of("python -m models.found", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--frames", type=Path, help="folder of prepared frames to compare with, by LiDAR alone")
    parser.add_argument("--backend", default="auto", help="inference backend (%(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="of the engines (%(default)s)")
    add_past_sweeps(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    if options.frames and options.past_sweeps:
        parser.error("--frames compares by one sweep alone: leave out --past-sweeps")
    with one_sentence(parser, "found"):
        files = files_of(options.frames) if options.frames else []
        settings = BackendSettings(precision=options.precision)
        pipeline = Pipeline.load(options.artifact, options.backend, settings=settings)
        grid = grid_of_labels(pipeline)
        drive = found_in(recorded(NuScenesReader(options.data), pipeline, options.past_sweeps, bool(files)), pipeline)
        about = {"model": pipeline.contract.model_id, "past_sweeps": options.past_sweeps, "lidar_alone": bool(files)}
        figures = about | {"data": drive.as_json()}
        print(f"{table(figures['data'])}\nIoU {drive.iou():.3f}")
        if files:
            other = found_in(prepared(files, grid), pipeline)
            figures |= {"frames": other.as_json(), "iou_as_frames": drive.iou(other.share())}
            print(f"\n{options.frames}\n{table(figures['frames'])}\nIoU {other.iou():.3f}")
            print(f"IoU of the drive if as much of each class were found there as here: {figures['iou_as_frames']:.3f}")
        if options.json:
            write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
