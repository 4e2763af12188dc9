"""Measure how many LiDAR returns get a label of the right group.

`python -m models.evaluation.point_groups --data ROOT --artifact FOLDER`

The seven groups are those on which data sets, and networks that were trained on any of them, agree: road, sidewalk,
manmade, vegetation, vehicle, two-wheeler, person. Returns of other classes do not count, nor do those outside the grid.
Needs lidarseg labels.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.pipeline import Pipeline

from .metrics import ConfusionMatrix
from .nuscenes_frames import NuScenesFrames, add_last, add_past_sweeps, among_last, split_last

GROUPS = {
    "road": (Label.DRIVEABLE_SURFACE,),
    "sidewalk": (Label.SIDEWALK,),
    "manmade": (Label.MANMADE,),
    "vegetation": (Label.VEGETATION,),
    "vehicle": (Label.BUS, Label.CAR, Label.CONSTRUCTION_VEHICLE, Label.TRAILER, Label.TRUCK),
    "two_wheeler": (Label.BICYCLE, Label.MOTORCYCLE),
    "person": (Label.PEDESTRIAN,),
}
OTHER = 0  # the group of everything else, which may be predicted
_GROUP = np.zeros(256, np.uint8)
for _number, _labels in enumerate(GROUPS.values(), start=1):
    _GROUP[list(_labels)] = _number


def in_a_group(labels: np.ndarray) -> np.ndarray:
    """Which labels are of a class of the seven groups, bool of the shape of `labels`."""
    return _GROUP[labels] != OTHER


class PointGroups:
    """Counts of returns by the group that they have and the one that they get."""

    def __init__(self) -> None:
        self.matrix = ConfusionMatrix(len(GROUPS) + 1)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count returns by their labels, (N,) uint8 each; those whose truth is in none of the groups are left out."""
        self.matrix.add(_GROUP[predicted], np.where(in_a_group(truth), _GROUP[truth], np.uint8(IGNORE)))

    @property
    def right(self) -> float:
        """Share of the returns that get their group, 0..1; NaN of nothing."""
        counts = self.matrix.counts
        return float(np.trace(counts) / counts.sum()) if counts.any() else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Share right, mean IoU of the groups that are there, and the IoU of each (None of one that is not)."""
        there = self.matrix.present()
        iou = self.matrix.class_iou()
        return {
            "right": None if np.isnan(self.right) else self.right,
            "miou": None if not there.any() else self.matrix.miou(),
            "points": int(self.matrix.counts.sum()),
            "iou": {name: float(value) if yes else None for name, value, yes in zip(GROUPS, iou, there)},
        }


def labels_at(answer: OccupancyGrid, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels of an answer at points (N, 3), grid frame: which points lie in the grid, (N,) bool, and (M,) uint8."""
    index, inside = answer.spec.indices(points)
    return inside, answer.labels[tuple(index[inside].T)]


def measure(pipeline: Pipeline, recorded: NuScenesFrames, scene: str, tokens: Iterable[str]) -> PointGroups:
    """Count the returns of key frames of a scene that have lidarseg labels."""
    result = PointGroups()
    for token in tokens:
        if (truth := recorded.reader.lidarseg(token)) is not None:
            frame = recorded.frame(scene, token)
            inside, predicted = labels_at(pipeline(frame), frame.points[:, :3])
            result.add(predicted, truth[inside])
    return result


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = parser_of("python -m models.evaluation.point_groups", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format, with lidarseg")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    add_past_sweeps(parser)
    add_last(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    with one_sentence(parser, "point_groups"):
        reader = NuScenesReader(options.data)
        chosen = {scene: split_last(reader.samples(scene), options.last)[1] for scene in reader.scenes()}
        labeled = {scene: [token for token in tokens if reader.has_lidarseg(token)] for scene, tokens in chosen.items()}
        if not any(labeled.values()):
            where = among_last(options.last)
            raise DatasetError(f"expected key frames with lidarseg labels{where} in {options.data}, got none")
        pipeline, figures = Pipeline.load(options.artifact), {}
        recorded = NuScenesFrames.for_model(reader, pipeline.contract, options.past_sweeps)
        for scene, tokens in labeled.items():
            if tokens:
                figures[scene] = measure(pipeline, recorded, scene, tqdm(tokens, scene, unit="frame")).as_json()
                print(line(scene, figures[scene]))
        if options.json:
            about = {"model": pipeline.contract.model_id, "past_sweeps": options.past_sweeps, "last": options.last}
            write_json(options.json, about | {"scenes": figures})
    return 0


def line(name: str, figures: dict[str, Any]) -> str:
    """Write `PointGroups.as_json` for people."""
    ious = ", ".join(f"{group} {value:.3f}" for group, value in figures["iou"].items() if value is not None)
    if figures["right"] is None:
        return f"{name}: no point counts"
    return f"{name}: {figures['right']:.3f} of {figures['points']:,d} points right, mIoU {figures['miou']:.3f} ({ious})"


if __name__ == "__main__":
    raise SystemExit(main())
