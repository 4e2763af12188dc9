"""Writes drives as a data root in the nuScenes table format, with occupancy labels."""

import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from occfusion_ros.core.atomic import write_bytes, write_text
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.datasets import openoccupancy
from occfusion_ros.datasets.nuscenes_rows import empty_map

from ..drive import ObjectBox, SyntheticDrive, SyntheticFrame
from ..sensors.rig import RIGS, Rig
from . import tables

_CHUNK = 4  # consecutive frames made by one worker, which keeps the world around them


@dataclass(frozen=True)
class Recording:
    """How drives are recorded; a data root holds one kind of recording.

    Attributes:
        hz: frames per second.
        image_scale: of the rig's image size; intrinsics are scaled with it.
        jpeg_quality: 1 to 100.
        rig: name of one of `RIGS`.
    """

    hz: float = 2.0
    image_scale: float = 1.0
    jpeg_quality: int = 92
    rig: str = "nuscenes"

    def __post_init__(self) -> None:
        if not 0 < self.hz <= 20:
            raise DatasetError(f"frame rate: expected more than 0 and at most 20 Hz, got {self.hz}")
        if not 0.05 <= self.image_scale <= 1:
            raise DatasetError(f"image scale: expected 0.05 to 1, got {self.image_scale}")
        if not 1 <= self.jpeg_quality <= 100:
            raise DatasetError(f"JPEG quality: expected 1 to 100, got {self.jpeg_quality}")
        if self.rig not in RIGS:
            raise DatasetError(f"rig: expected one of {', '.join(RIGS)}, got {self.rig!r}")

    def drive(self, seed: int) -> SyntheticDrive:
        """The drive of a seed as it is recorded."""
        rig = RIGS[self.rig]()
        size = tuple(round(edge * self.image_scale) for edge in rig.cameras[0].size)
        return SyntheticDrive(seed, rig, size, interval=1 / self.hz)


def write_nuscenes_root(
    out: Path,
    scenes: int,
    frames: int,
    seed: int = 0,
    recording: Recording | None = None,
    workers: int = 1,
    progress: bool = True,
) -> None:
    """Write drives `seed` to `seed + scenes - 1`, each with `frames` key frames; frames that are there are kept.

    Files: the tables in ``v1.0-mini``, ``samples/<CHANNEL>/``, ``lidarseg/`` and the truth (see `truth`) in
    OpenOccupancy's format, some 10 MB a frame because everything unknown needs a row. Sweeps are in the LiDAR's own
    frame, the truth is in the grid frame; only in rigs like nuScenes' are they one.
    """
    recording = recording or Recording()
    if min(scenes, frames, workers) < 1 or seed < 0:
        raise DatasetError(
            f"expected at least 1 scene, frame and worker and a seed >= 0, got {scenes}, {frames}, {workers}, {seed}"
        )
    _check_recording(Path(out), recording)
    wanted = [(s, index) for s in range(seed, seed + scenes) for index in range(frames)]
    missing = [job for job in wanted if not _record_path(out, *job).exists()]
    chunks = [
        [job for job in missing if job[0] == s][i : i + _CHUNK]
        for s in range(seed, seed + scenes)
        for i in range(0, frames, _CHUNK)
    ]
    _write_all(Path(out), [chunk for chunk in chunks if chunk], recording, workers, progress)
    records = [json.loads(_record_path(out, *job).read_text()) for job in wanted]
    for name, rows in tables.all_tables(records, recording.drive(seed)).items():
        write_text(Path(out) / tables.VERSION / f"{name}.json", json.dumps(rows, indent=0))
    write_bytes(Path(out) / tables.MAP_FILE, empty_map())


def _check_recording(out: Path, recording: Recording) -> None:
    """Remember how this root is recorded, or refuse to mix two kinds."""
    path, mine = out / "frames" / "recording.json", asdict(recording)
    there = asdict(Recording(**json.loads(path.read_text()))) if path.exists() else mine
    if there != mine:
        raise DatasetError(f"{out} was recorded with {there}, not with {mine}; choose another folder")
    write_text(path, json.dumps(mine))


def _write_all(
    out: Path, chunks: list[list[tuple[int, int]]], recording: Recording, workers: int, progress: bool
) -> None:
    from tqdm import tqdm

    with tqdm(
        total=sum(map(len, chunks)), unit="frame", desc="synthetic frames", disable=not (progress and chunks)
    ) as bar:
        if workers == 1:
            for chunk in chunks:
                for job in chunk:
                    _write_frames(out, [job], recording)
                    bar.update()
            return
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            tasks = [pool.submit(_write_frames, out, chunk, recording) for chunk in chunks]
            for task in as_completed(tasks):
                bar.update(task.result())


def _write_frames(out: Path, jobs: list[tuple[int, int]], recording: Recording) -> int:
    """Make frames (seed, index) and write their files; each frame's record comes last and says that it is whole."""
    for seed, index in jobs:
        drive = recording.drive(seed)
        frame = drive.frame(index)
        stamp = tables.stamp(seed, index, recording.hz)
        _write_sweep(out, seed, stamp, frame, drive.rig)
        _write_images(out, seed, stamp, frame, recording.jpeg_quality)
        record = {
            "seed": seed,
            "index": index,
            "stamp": stamp,
            "map_from_base": frame.map_from_base.tolist(),
            "boxes": [_box_record(box, frame) for box in frame.boxes],
        }
        write_text(_record_path(out, seed, index), json.dumps(record))
    return len(jobs)


def _write_sweep(out: Path, seed: int, stamp: int, frame: SyntheticFrame, rig: Rig) -> None:
    """The sweep in the LiDAR's own frame, the labels of its points and the truth in the grid frame."""
    lidar_from_grid, points = np.linalg.inv(rig.grid_from_lidar()), frame.frame.points
    positions = points[:, :3] @ lidar_from_grid[:3, :3].T + lidar_from_grid[:3, 3]
    rows = np.concatenate([positions, np.round(points[:, 3:] * 255), frame.rings[:, None]], 1).astype(np.float32)
    write_bytes(out / tables.sample_file(seed, rig.lidar.name, stamp), rows.tobytes())
    token = tables.data_token(seed, rig.lidar.name, stamp)
    openoccupancy.write_rows(openoccupancy.row_file(out, tables.scene_token(seed), token), frame.semantics)
    write_bytes(out / tables.lidarseg_file(token), tables.LIDARSEG_INDEX[frame.point_labels].tobytes())


def _write_images(out: Path, seed: int, stamp: int, frame: SyntheticFrame, jpeg_quality: int) -> None:
    import cv2

    for camera in frame.frame.cameras:
        ok, encoded = cv2.imencode(".jpg", camera.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
        if not ok:
            raise DatasetError(f"could not encode the image of {camera.name}")
        write_bytes(out / tables.sample_file(seed, camera.name, stamp), encoded.tobytes())


def _box_record(box: ObjectBox, frame: SyntheticFrame) -> dict:
    low, high = box.bounds
    box_from_grid = np.linalg.inv(box.map_from_object) @ frame.map_from_grid
    local = frame.exact_points @ box_from_grid[:3, :3].T + box_from_grid[:3, 3]
    inside = ((local > low - 0.05) & (local < high + 0.05)).all(1) & (frame.point_labels == box.label)
    center = box.map_from_object @ np.append((low + high) / 2, 1)
    return {
        "label": box.label,
        "identity": box.identity,
        "center": center[:3].tolist(),
        "size": (high - low)[[1, 0, 2]].tolist(),
        "rotation": tables.quaternion(box.map_from_object),
        "points": int(inside.sum()),
    }


def _record_path(out: Path, seed: int, index: int) -> Path:
    return Path(out) / "frames" / f"{tables.scene_name(seed)}_{index:04d}.json"
