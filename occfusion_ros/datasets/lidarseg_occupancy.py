"""Occupancy labels from nuScenes-lidarseg: the labeled sweeps around a key frame, brought into its LiDAR frame.

The LiDAR frame must be the grid frame, as nuScenes' is.

- Occupied: voxels with a return. Static classes come from all sweeps of the window. Objects that may move come from the
  key frame's own sweep and, moved with their annotated boxes, from the others.
- Free (0): voxels that a ray passed, except those below.
- Unknown (255): everything else; the hidden part of an object's box, because other sweeps' rays passed it when the
  object was elsewhere; and voxels near the ground without a return, because grazing rays pass voxels that hold the
  road between two rings.

Pose heights are refined first, see `ground`.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..core.atomic import replacing
from ..core.errors import DatasetError, OccFusionError
from ..core.grid import GridSpec
from ..core.labels import FLAT_GROUND, IGNORE, MOVABLE
from .ground import ground_heights, height_corrections
from .nuscenes import NuScenesReader, read_sweep
from .openoccupancy import vote
from .rays import mark_passed

GROUND_BAND = 0.3  # metres above and below the ground where a ray does not prove that a voxel is free
BOX_MARGIN = 0.1  # metres around annotated boxes
WINDOW = 10  # key frames before and after: 5 s each way in nuScenes
_CHUNK = 10  # key frames that a worker takes at a time


@dataclass(frozen=True)
class ObjectBox:
    """An annotated box.

    Attributes:
        lidar_from_box: (4, 4) float64; x forward, z up, origin in the center.
        half: (3,) metres along x, y and z, with BOX_MARGIN.
    """

    lidar_from_box: np.ndarray
    half: np.ndarray

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool for points (N, 3) in metres, LiDAR frame."""
        return (np.abs(_moved(np.linalg.inv(self.lidar_from_box), points)) <= self.half).all(1)


@dataclass(frozen=True)
class LabeledSweep:
    """A key frame's sweep.

    Attributes:
        points: (N, 3) float64 metres, LiDAR frame; labels: (N,) uint8.
        map_from_lidar: (4, 4) float64 with the refined height.
        boxes: annotated objects by instance token.
        origin: (3,) float64 metres, LiDAR frame, where its rays start.
    """

    points: np.ndarray
    labels: np.ndarray
    map_from_lidar: np.ndarray
    boxes: dict[str, ObjectBox]
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @property
    def ground(self) -> np.ndarray:
        """(N, 3) returns of flat ground."""
        return self.points[np.isin(self.labels, FLAT_GROUND)]


def load_sweeps(reader: NuScenesReader, scene: str) -> dict[str, LabeledSweep]:
    """The labeled key frames of a scene by sample token, in time order, with refined pose heights."""
    records = {token: reader.lidar_record(token) for token in reader.samples(scene)}
    labels = {token: reader.lidarseg(token) for token in records}
    labeled = [token for token in records if labels[token] is not None]
    poses = [records[token].map_from_sensor for token in labeled]
    points = [read_sweep(records[token].path)[:, :3].astype(np.float64) for token in labeled]
    sweeps = [
        LabeledSweep(p, labels[token], pose, _boxes(reader, token)) for token, p, pose in zip(labeled, points, poses)
    ]
    refine_heights(sweeps)
    return dict(zip(labeled, sweeps))


def refine_heights(sweeps: list[LabeledSweep]) -> None:
    """Correct the heights of the poses of a scene's sweeps, in time order and in place, by the ground they see."""
    poses = [sweep.map_from_lidar for sweep in sweeps]
    for pose, correction in zip(poses, height_corrections(poses, [sweep.ground for sweep in sweeps])):
        pose[2, 3] += correction


def aggregate(sweeps: dict[str, LabeledSweep], sample_token: str, window: int) -> np.ndarray:
    """Labels of a key frame, (512, 512, 40) uint8 in its LiDAR frame, from `window` key frames before and after."""
    if sample_token not in sweeps or window < 0:
        raise DatasetError(f"expected a labeled key frame and a window of 0 or more, got {sample_token} and {window}")
    grid, target = GridSpec(), sweeps[sample_token]
    at = list(sweeps).index(sample_token)
    near = list(sweeps.values())[max(at - window, 0) : at + window + 1]
    points, labels = (np.concatenate(parts) for parts in zip(*(_returns(target, sweep) for sweep in near)))
    index, inside = grid.indices(points)
    voxels = grid.flatten(*index[inside].T)
    known = labels[inside] != IGNORE
    truth = vote(voxels[known], labels[inside][known])
    free = _free(grid, target, near)
    free.reshape(-1)[voxels] = False
    ground = points[np.isin(labels, FLAT_GROUND)]
    height = ground_heights(grid, ground)
    centers = grid.low[2] + (np.arange(grid.size[2]) + 0.5) * grid.voxel_size
    free &= ~(np.abs(centers - height[:, :, None]) <= GROUND_BAND)  # no height is NaN and near nothing
    truth[(truth == 0) & ~free] = IGNORE
    return truth


def _returns(target: LabeledSweep, sweep: LabeledSweep) -> tuple[np.ndarray, np.ndarray]:
    """What a sweep says about the target's surroundings: points (N, 3) in the target's LiDAR frame and labels (N,)."""
    if sweep is target:
        return sweep.points, sweep.labels
    may_move = np.isin(sweep.labels, MOVABLE)
    static, movable = ~may_move & (sweep.labels != IGNORE), np.flatnonzero(may_move)
    target_from_sweep = np.linalg.inv(target.map_from_lidar) @ sweep.map_from_lidar
    points, labels = [_moved(target_from_sweep, sweep.points[static])], [sweep.labels[static]]
    for identity in sweep.boxes.keys() & target.boxes.keys():
        box = sweep.boxes[identity]
        mine = movable[box.contains(sweep.points[movable])]
        moved = target.boxes[identity].lidar_from_box @ np.linalg.inv(box.lidar_from_box)
        points.append(_moved(moved, sweep.points[mine]))
        labels.append(sweep.labels[mine])
    return np.concatenate(points), np.concatenate(labels)


def _free(grid: GridSpec, target: LabeledSweep, near: list[LabeledSweep]) -> np.ndarray:
    """(X, Y, Z) bool: passed by a ray, in the boxes of objects by one of the target's own sweep."""
    own = np.zeros(grid.size, bool)
    mark_passed(own, grid, target.origin, target.points)
    passed = own.copy()
    for sweep in near:
        if sweep is not target:
            target_from_sweep = np.linalg.inv(target.map_from_lidar) @ sweep.map_from_lidar
            origin = _moved(target_from_sweep, sweep.origin[None])[0]
            mark_passed(passed, grid, origin, _moved(target_from_sweep, sweep.points))
    for box in target.boxes.values():
        inside = voxels_of_box(grid, box)
        passed[inside] = own[inside]
    return passed


def voxels_of_box(grid: GridSpec, box: ObjectBox) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices along x, y and z of the voxels whose centers lie in a box."""
    center, reach = box.lidar_from_box[:3, 3], np.abs(box.lidar_from_box[:3, :3]) @ box.half
    edges = (np.stack([center - reach, center + reach]) - grid.low) / grid.voxel_size
    low, high = np.clip(np.floor(edges), 0, grid.size).astype(int)
    index = np.stack(np.meshgrid(*map(np.arange, low, high + 1), indexing="ij"), -1).reshape(-1, 3)  # (n, 3)
    index = index[(index < grid.size).all(1)]
    return tuple(index[box.contains(grid.centers(index))].T)


def _boxes(reader: NuScenesReader, sample_token: str) -> dict[str, ObjectBox]:
    found = {}
    for box in reader.boxes(sample_token):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = box.orientation.rotation_matrix, box.center
        instance = reader.tables.get("sample_annotation", box.token)["instance_token"]
        found[instance] = ObjectBox(pose, np.array(box.wlh)[[1, 0, 2]] / 2 + BOX_MARGIN)
    return found


def _moved(target_from_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ target_from_source[:3, :3].T + target_from_source[:3, 3]


def write_occupancy(
    reader: NuScenesReader,
    out: Path,
    scenes: list[str] | None = None,
    window: int = WINDOW,
    workers: int = 1,
    progress: bool = True,
) -> int:
    """Write ``occupancy/<LiDAR token>.npz`` (``semantics``) for all labeled key frames; files that are there are kept.

    `NuScenesReader` reads them with ``occupancy_root=out``.

    Returns:
        the number of files written.
    """
    if window < 0 or workers < 1:
        raise DatasetError(f"expected a window of 0 or more and at least 1 worker, got {window} and {workers}")
    chunks = list(_missing(reader, out, reader.scenes() if scenes is None else scenes))
    total = sum(len(tokens) for _, tokens in chunks)
    with tqdm(total=total, unit="frame", desc="occupancy", disable=not (progress and chunks)) as bar:
        if workers == 1:
            for chunk in chunks:
                bar.update(_write_chunk(reader, out, window, *chunk))
            return total
        # Forked workers share the tables, which take gigabytes for all of nuScenes.
        with ProcessPoolExecutor(workers, get_context("fork"), _keep, (reader,)) as pool:
            tasks = [pool.submit(_write_kept, out, window, *chunk) for chunk in chunks]
            for task in as_completed(tasks):
                bar.update(task.result())
    return total


def _missing(reader: NuScenesReader, out: Path, scenes: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Scenes and, a few at a time, their labeled key frames without a file."""
    labeled = 0
    for scene in scenes:
        tokens = [token for token in reader.samples(scene) if reader.has_lidarseg(token)]
        labeled += len(tokens)
        tokens = [token for token in tokens if not occupancy_file(reader, out, token).exists()]
        yield from ((scene, tokens[i : i + _CHUNK]) for i in range(0, len(tokens), _CHUNK))
    if not labeled:
        raise DatasetError(f"no key frame of {', '.join(scenes)} in {reader.root} has lidarseg labels")


def occupancy_file(reader: NuScenesReader, out: Path, sample_token: str) -> Path:
    """Where `NuScenesReader` looks for the labels of a key frame below the root of the labels."""
    return out / "occupancy" / f"{reader.lidar_record(sample_token).token}.npz"


def _write_chunk(reader: NuScenesReader, out: Path, window: int, scene: str, tokens: list[str]) -> int:
    sweeps = load_sweeps(reader, scene)
    for token in tokens:
        save_semantics(occupancy_file(reader, out, token), aggregate(sweeps, token, window))
    return len(tokens)


def save_semantics(path: Path, semantics: np.ndarray) -> None:
    """Write the labels of a key frame, (512, 512, 40) uint8, all or nothing."""
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, semantics=semantics)


_kept: list[NuScenesReader] = []  # the reader of a worker process


def _keep(reader: NuScenesReader) -> None:
    _kept[:] = [reader]


def _write_kept(*arguments) -> int:
    return _write_chunk(_kept[0], *arguments)


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 1 when it could not be done."""
    parser = argparse.ArgumentParser(
        prog="lidarseg_occupancy",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("root", type=Path, help="nuScenes data root with lidarseg")
    parser.add_argument("out", type=Path, help="folder to write occupancy/ into; files that are there are kept")
    parser.add_argument("--version", help="of the tables, where the root has several")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="only these; all when left out")
    parser.add_argument("--window", type=int, default=WINDOW, help="key frames used before and after each")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)
    try:
        reader = NuScenesReader(arguments.root, arguments.version)
        written = write_occupancy(
            reader, arguments.out, arguments.scenes, arguments.window, arguments.workers, not arguments.quiet
        )
    except (OccFusionError, OSError) as error:
        print(f"lidarseg_occupancy: {error}", file=sys.stderr)
        return 1
    print(f"{written} files written in {arguments.out / 'occupancy'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
