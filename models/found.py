"""Measure what is found of each class, by the distance to the nearest return: `python -m models.found --data ROOT`.

Most voxels have no return from a single sweep, and what is in those can only be inferred: asphalt well, leaves hardly.
So the IoU of a drive depends on what stands along it. With `--frames`, the same of prepared synthetic frames, answered
from their sweep alone, and the IoU of the drive if as much of each class were found there as in those.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.backends.protocol import PRECISIONS, BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

from .evaluate import samples
from .evaluation.found import Found, table
from .evaluation.nuscenes_frames import NuScenesFrames, add_past_sweeps
from .training.data import PreparedFrame


def found_in(frames: Iterable[tuple[SensorFrame, np.ndarray]], pipeline: Pipeline) -> Found:
    """What a model finds in frames with their truths (X, Y, Z) uint8, 255 ignored."""
    result = Found()
    for frame, truth in frames:
        result.add(pipeline(frame), truth, frame.points)
    return result


def recorded(reader: NuScenesReader, pipeline: Pipeline, past_sweeps: int) -> Iterable[tuple[SensorFrame, np.ndarray]]:
    """Labeled frames of a data root."""
    frames = NuScenesFrames.for_model(reader, pipeline.contract, past_sweeps)
    return ((frames.frame(scene, token), truth) for scene, token, truth in samples(reader))


def prepared(folder: Path) -> Iterable[tuple[SensorFrame, np.ndarray]]:
    """Prepared frames, without cameras and earlier sweeps; what sensors could not observe is ignored."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DatasetError(f"expected prepared frames (*.npz) in {folder}, got none")
    for path in tqdm(paths, folder.name, unit="frame"):
        one = PreparedFrame.load(path)
        frame = SensorFrame(0, one.points, (), ray_origins=one.ray_origin[None])
        yield frame, np.where(one.observed, one.semantics, np.uint8(IGNORE))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = parser_of("python -m models.found", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--frames", type=Path, help="folder of prepared frames to compare with")
    parser.add_argument("--backend", default="auto", help="inference backend (%(default)s)")
    parser.add_argument("--precision", default="auto", choices=PRECISIONS, help="of the engines (%(default)s)")
    add_past_sweeps(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    with one_sentence(parser, "found"):
        settings = BackendSettings(precision=options.precision)
        pipeline = Pipeline.load(options.artifact, options.backend, settings=settings)
        drive = found_in(recorded(NuScenesReader(options.data), pipeline, options.past_sweeps), pipeline)
        if not drive.counts.any():
            raise DatasetError(f"expected samples with an occupancy truth in {options.data}, got none")
        figures = {"model": pipeline.contract.model_id, "past_sweeps": options.past_sweeps, "data": drive.as_json()}
        print(f"{table(figures['data'])}\nIoU {drive.iou():.3f}")
        if options.frames:
            other = found_in(prepared(options.frames), pipeline)
            figures |= {"frames": other.as_json(), "iou_as_frames": drive.iou(other.share())}
            print(f"\n{options.frames}\n{table(figures['frames'])}\nIoU {other.iou():.3f}")
            print(f"IoU of the drive if as much of each class were found there as here: {figures['iou_as_frames']:.3f}")
        if options.json:
            write_json(options.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
