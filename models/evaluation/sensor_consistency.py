"""Measure how far an artifact agrees with what the sensors saw.

`python -m models.evaluation.sensor_consistency --data ROOT --artifact FOLDER`

Needs no occupancy labels. For every scene with cameras it prints how many LiDAR returns lie in or next to an occupied
voxel, how many of the voxels that laser rays passed are predicted occupied, and how many of the points inside annotated
boxes get the box's class, with the cameras and without. The model never predicts a voxel empty that holds a return
of its own sweep, so the first figure only falls short where something is broken.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, NUM_LABELS, OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.datasets.rays import mark_passed
from occfusion_ros.runtime.pipeline import Pipeline

from .nuscenes_frames import NuScenesFrames, add_past_sweeps

LEAST_RETURNS, MOST_PASSED = 0.9, 0.05  # targets
BOX_CLASSES = {"vehicle.car": "car", "vehicle.truck": "truck", "movable_object.barrier": "barrier"}
_LABELS = {label.name.lower(): int(label) for label in Label}


@dataclass
class Share:
    """Count `part` of `whole`."""

    part: int = 0
    whole: int = 0

    def add(self, chosen: np.ndarray) -> None:
        """Count a bool array of any shape."""
        self.part += int(np.count_nonzero(chosen))
        self.whole += chosen.size

    @property
    def value(self) -> float:
        """Return `part` over `whole`, 0..1; NaN of nothing."""
        return self.part / self.whole if self.whole else math.nan


def _box_shares() -> dict[str, Share]:
    return {name: Share() for name in BOX_CLASSES.values()}


@dataclass
class Consistency:
    """Keep the figures of one scene.

    Attributes:
        frames, cameras: how many key frames, and cameras in the first.
        returns: LiDAR returns in range that lie in or next to an occupied voxel.
        passed: voxels that rays passed and that are predicted occupied.
        with_cameras, without_cameras: points inside boxes that get the box's class, by class.
        labels: points inside boxes by the label that they get, with cameras, by class of the box; (17,) each.
    """

    frames: int = 0
    cameras: int = 0
    returns: Share = field(default_factory=Share)
    passed: Share = field(default_factory=Share)
    with_cameras: dict[str, Share] = field(default_factory=_box_shares)
    without_cameras: dict[str, Share] = field(default_factory=_box_shares)
    labels: dict[str, np.ndarray] = field(
        default_factory=lambda: {name: np.zeros(NUM_LABELS, np.int64) for name in BOX_CLASSES.values()}
    )

    def add_rays(self, labels: np.ndarray, points: np.ndarray, grid: GridSpec, origin: np.ndarray) -> None:
        """Count the returns (N, 3) of rays from `origin` (3,) and the voxels that they pass; labels (X, Y, Z) uint8."""
        voxels, inside = grid.indices(points)
        occupied = labels != EMPTY
        self.returns.add(with_neighbors(occupied)[tuple(voxels[inside].T)])
        self.passed.add(occupied[passed_voxels(grid, origin, points)])


def points_in_box(points: np.ndarray, box: Any, grid_from_lidar: np.ndarray) -> np.ndarray:
    """Find, (N,) bool, the grid-frame points (N, 3) in a box of `NuScenesReader.boxes` (LiDAR frame), faces included.

    The devkit's box has its length along its own x axis, its width along y and its height along z.
    """
    lidar_from_box = np.eye(4)
    lidar_from_box[:3, :3], lidar_from_box[:3, 3] = box.rotation_matrix, box.center
    box_from_grid = np.linalg.inv(grid_from_lidar @ lidar_from_box)
    local = points @ box_from_grid[:3, :3].T + box_from_grid[:3, 3]
    width, length, height = box.wlh
    return (np.abs(local) <= np.array([length, width, height]) / 2).all(axis=1)


def with_neighbors(occupied: np.ndarray) -> np.ndarray:
    """Find, (X, Y, Z) bool, the voxels that are occupied or have an occupied one among their 26 neighbors."""
    return F.max_pool3d(torch.from_numpy(occupied)[None].float(), 3, 1, 1)[0].numpy() > 0


def passed_voxels(grid: GridSpec, origin: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Find, (X, Y, Z) bool, the voxels that rays from the sensor (3,) to the returns (N, 3) pass without a return."""
    passed = np.zeros(grid.size, bool)
    mark_passed(passed, grid, origin, points)
    voxels, inside = grid.indices(points)
    passed[tuple(voxels[inside].T)] = False
    return passed


def beyond_vehicle(points: np.ndarray) -> np.ndarray:
    """Choose, (M, 3) float64, the points (N, 4) that are finite and not on the vehicle that carries the sensors."""
    xyz = points[:, :3].astype(np.float64)
    return xyz[np.isfinite(xyz).all(axis=1) & (np.hypot(xyz[:, 0], xyz[:, 1]) > Preprocessing.ego_radius)]


def measure(pipeline: Pipeline, recorded: NuScenesFrames, scene: str) -> Consistency:
    """Measure all key frames of a scene."""
    result, grid = Consistency(), pipeline.contract.grid
    for token in recorded.reader.samples(scene):
        frame = recorded.frame(scene, token)
        labels = pipeline(frame).labels
        alone = pipeline(replace(frame, cameras=())).labels
        points = beyond_vehicle(frame.points)
        voxels, inside = grid.indices(points)
        at, in_range = tuple(voxels[inside].T), points[inside]
        result.add_rays(labels, points, grid, recorded.ray_origin(scene, token))
        for box in recorded.reader.boxes(token):
            if name := BOX_CLASSES.get(box.name):
                chosen = points_in_box(in_range, box, recorded.grid_from_lidar(scene, token))
                result.with_cameras[name].add(labels[at][chosen] == _LABELS[name])
                result.without_cameras[name].add(alone[at][chosen] == _LABELS[name])
                result.labels[name] += np.bincount(labels[at][chosen], minlength=NUM_LABELS)
        result.cameras = result.cameras or len(frame.cameras)
        result.frames += 1
    return result


def scenes_with_cameras(reader: NuScenesReader) -> list[str]:
    """Name the scenes that have images."""
    return [scene for scene in reader.scenes() if any(r.modality == "camera" for r in reader.records(scene))]


def total(shares: dict[str, Share]) -> Share:
    """Add up all classes."""
    return Share(sum(share.part for share in shares.values()), sum(share.whole for share in shares.values()))


def boxes_of_all(results: Iterable[Consistency]) -> str:
    """Sum up the points in boxes of all scenes in one line."""
    seen, unseen = (
        total({str(i): total(shares) for i, shares in enumerate(several)})
        for several in zip(*((result.with_cameras, result.without_cameras) for result in results), strict=True)
    )
    return (
        f"all scenes: points in boxes that get the box's class {_percent(seen).strip()} with cameras, "
        f"{_percent(unseen).strip()} without, of {seen.whole:,d} points: {_verdict(seen, seen.part > unseen.part)}"
    )


def lines(scene: str, result: Consistency) -> Iterator[str]:
    """Write the figures of a scene beside their targets, a line each."""
    yield f"{scene}: {result.frames} frames, {result.cameras} cameras"
    for name, share, good, target in (
        (
            "returns in or next to an occupied voxel",
            result.returns,
            result.returns.value >= LEAST_RETURNS,
            f"at least {LEAST_RETURNS:.0%}",
        ),
        (
            "passed voxels predicted occupied",
            result.passed,
            result.passed.value <= MOST_PASSED,
            f"at most {MOST_PASSED:.0%}",
        ),
    ):
        verdict = _verdict(share, good)
        yield f"  {name:40s} {_percent(share)} of {share.whole:9,d}   target {target}: {verdict}"
    yield "  points in boxes that get the box's class, with cameras and without; target more with than without"
    rows = {
        **{name: (result.with_cameras[name], result.without_cameras[name]) for name in result.with_cameras},
        "total": (total(result.with_cameras), total(result.without_cameras)),
    }
    for name, (seen, unseen) in rows.items():
        yield (
            f"    {name:10s} {_percent(seen)} with, {_percent(unseen)} without, of {seen.whole:6,d} points: "
            f"{_verdict(seen, seen.part > unseen.part)}{_runner_up(result, name)}"
        )


def _runner_up(result: Consistency, name: str) -> str:
    """Name the other class that points in boxes of a class get most often."""
    counts = result.labels.get(name, np.zeros(0, np.int64)).copy()
    if not counts.sum():
        return ""
    share = counts / counts.sum()
    share[_LABELS[name]] = 0
    other = next((c.name for c in OPENOCCUPANCY_CLASSES if c.label == share.argmax()), "nothing")
    return f"; else mostly {other} ({share.max():.1%})"


def _percent(share: Share) -> str:
    return f"{share.value:7.1%}" if share.whole else "      -"


def _verdict(share: Share, good: bool) -> str:
    return "not measured" if not share.whole else "PASS" if good else "short of target"


def as_json(result: Consistency) -> dict[str, Any]:
    """Turn the figures into JSON values: shares 0..1 (None of nothing) with their counts."""

    def entry(share: Share) -> dict[str, Any]:
        return {"share": share.value if share.whole else None, "part": share.part, "whole": share.whole}

    boxes = {
        name: {**shares, "total": total(shares)}
        for name, shares in (("with_cameras", result.with_cameras), ("without_cameras", result.without_cameras))
    }
    return {
        "frames": result.frames,
        "cameras": result.cameras,
        "returns": entry(result.returns),
        "passed": entry(result.passed),
        "boxes": {name: {key: entry(share) for key, share in shares.items()} for name, shares in boxes.items()},
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = parser_of("python -m models.evaluation.sensor_consistency", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format")
    parser.add_argument("--artifact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    add_past_sweeps(parser)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    with one_sentence(parser, "sensor_consistency"):
        reader = NuScenesReader(options.data)
        scenes = scenes_with_cameras(reader)
        if not scenes:
            raise DatasetError(f"expected a scene with cameras in {options.data}, got none")
        pipeline = Pipeline.load(options.artifact)
        recorded = NuScenesFrames.for_model(reader, pipeline.contract, options.past_sweeps)
        results = {scene: measure(pipeline, recorded, scene) for scene in tqdm(scenes, "measuring", unit="scene")}
        print("\n".join(line for scene, result in results.items() for line in lines(scene, result)))
        if len(results) > 1:
            print(boxes_of_all(results.values()))
        if options.json:
            write_json(
                options.json,
                {
                    "model": pipeline.contract.model_id,
                    "past_sweeps": options.past_sweeps,
                    "scenes": {scene: as_json(result) for scene, result in results.items()},
                },
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
