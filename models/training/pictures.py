"""Labeled pictures that an image branch is trained on: rendered ones with exact labels, real ones that teachers label.

Labels are those of the middle of each cell of `STRIDE` pixels, where the finest features of the image branch lie.
"""

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.presample.presampler import PresampleConfig
from occfusion_ros.presample.projection import fit_pixels, fit_projection
from synthetic import FLEETS, GENERATOR_VERSION, rig_of

from ..adaptation.sight import AT_BORDER, at_borders, visible
from ..adaptation.teacher import Teacher
from ..evaluation.nuscenes_frames import NuScenesFrames
from .augment import AugmentConfig, draw_zoom, relight, warp_image
from .manifest import claim
from .prepare import FRAMES_PER_DRIVE, SPACING, as_network_sees

STRIDE = 8
RETURN = 2.0  # weight of a labeled LiDAR return in the cell that it falls into, relative to a teacher's vote
SURE = 0.6  # share of all votes that a class needs to become a label
FAR = 1e3  # metres, at which what two images of one camera show is compared: their rotation is one


@dataclass(frozen=True)
class Picture:
    """A picture of the network's size.

    Attributes:
        image: (3, h, w) uint8 RGB. classes: (h / 8, w / 8) uint8 label of each cell's middle, 255 where nobody knows.
    """

    image: np.ndarray
    classes: np.ndarray


def save_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    """Write the pictures of a frame, atomically."""
    with replacing(path) as partial_path, partial_path.open("wb") as file:
        np.savez(
            file,
            images=np.stack([picture.image for picture in pictures]),
            classes=np.stack([picture.classes for picture in pictures]),
        )


def load_pictures(path: Path) -> list[Picture]:
    """Read the pictures of a frame."""
    with _faults(path), np.load(path, allow_pickle=False) as file:
        return [Picture(image, classes) for image, classes in zip(file["images"], file["classes"], strict=True)]


def digest_of(paths: Sequence[Path]) -> str:
    """Hash of the pictures of frames: of their files' names and the checksums of the content that these hold."""
    digest = hashlib.sha256()
    for path in paths:
        with _faults(path), zipfile.ZipFile(path) as file:
            digest.update(repr([path.name, *((part.filename, part.CRC) for part in file.infolist())]).encode())
    return digest.hexdigest()


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: expected pictures with classes, got {error!r}; remove the file") from error


def of_drives(
    folder: Path, seeds: range, config: PresampleConfig, rig: str, workers: int, fresh: bool = False
) -> list[Path]:
    """Render the frames of synthetic drives that are not there yet; a file for each, as `prepare_all` has them."""
    if rig not in FLEETS:
        raise ContractError(f"rig: expected one of {', '.join(FLEETS)}, got {rig}")
    claim(
        folder, {"pictures": "synthetic", "generator_version": GENERATOR_VERSION, "rig": rig, **_sizes(config)}, fresh
    )
    jobs = [(seed, [folder / f"{seed:06d}_{number}.npz" for number in range(FRAMES_PER_DRIVE)]) for seed in seeds]
    missing = [job for job in jobs if not all(path.exists() for path in job[1])]
    if missing:
        with get_context("spawn").Pool(workers, maxtasksperchild=8) as pool:
            done = pool.imap_unordered(partial(_render_drive, config=config, rig=rig), missing)
            for _ in tqdm(done, "rendering drives", len(missing), unit="drive"):
                pass
    return [path for _, paths in jobs for path in paths]


def _render_drive(job: tuple[int, list[Path]], config: PresampleConfig, rig: str) -> None:
    from synthetic import SyntheticDrive

    seed, paths = job
    torch.set_num_threads(1)
    sensors = rig_of(rig, seed)
    sensors = replace(sensors, cameras=tuple(as_network_sees(camera, config) for camera in sensors.cameras))
    drive = SyntheticDrive(seed, sensors, jitter=True)
    for number, path in enumerate(paths, start=1):
        if not path.exists():
            pictures = [
                Picture(
                    camera.image.transpose(2, 0, 1), np.where(classes == EMPTY, IGNORE, classes)
                )  # no class: the sky
                for camera, classes in drive.labeled_images(number * SPACING, STRIDE)
            ]
            save_pictures(path, pictures)


def of_root(
    folder: Path, root: Path, teachers: Sequence[Teacher], config: PresampleConfig, fresh: bool = False
) -> list[Path]:
    """Have teachers label the pictures of a data root's key frames that are not there yet, with a progress bar.

    Where a key frame has lidarseg labels, they vote too.
    """
    reader = NuScenesReader(root)
    digests = [teacher.digest for teacher in teachers]
    claim(folder, {"pictures": str(root.resolve()), "teachers": digests, **_sizes(config)}, fresh)
    recorded, paths = NuScenesFrames(reader), []
    tokens = [(scene, token) for scene in reader.scenes() for token in reader.samples(scene)]
    for scene, token in tqdm(tokens, "labeling pictures", unit="frame"):
        path = folder / f"{token}.npz"
        if not path.exists():
            frame = recorded.frame(scene, token)
            if not frame.cameras:
                continue
            save_pictures(path, voted(frame, reader.lidarseg(token), teachers, config))
        paths.append(path)
    if not paths:
        raise DatasetError(f"{root}: expected key frames with images, got none")
    return paths


def voted(
    frame: SensorFrame, point_labels: np.ndarray | None, teachers: Sequence[Teacher], config: PresampleConfig
) -> list[Picture]:
    """The pictures of a frame with what teachers, and labels (P,) of its points where it has any, say of them."""
    size, pictures = config.image_size, []
    rows, columns = size[0] // STRIDE, size[1] // STRIDE
    for camera in frame.cameras:
        image_from_grid = fit_projection(camera, size, config.horizon)
        votes = np.zeros((rows * columns, NUM_LABELS))
        middle = (np.indices((columns, rows)).transpose(2, 1, 0).reshape(-1, 2) + 0.5) * STRIDE - 0.5  # (cells, 2) x, y
        for teacher in teachers:
            view = teacher.look(camera)
            at = _pixels(middle, image_from_grid, view.image_from_grid)
            height, width = view.classes.shape
            at = (at + 0.5) * (width / view.size[1], height / view.size[0])
            inside = np.flatnonzero(((at >= 0) & (at < (width, height))).all(1))
            column, row = at[inside].astype(int).T
            sure = np.where(at_borders(view.classes), AT_BORDER, 1) * view.sure
            votes[inside] += teacher.votes[view.classes[row, column]] * sure[row, column, None]
        if point_labels is not None:
            _add_returns(votes.reshape(rows, columns, -1), frame.points[:, :3], point_labels, image_from_grid, size)
        best, total = votes.argmax(1), votes.sum(1)
        known = (votes.max(1) >= SURE * total) & (total > AT_BORDER)
        classes = np.where(known, best, IGNORE).astype(np.uint8).reshape(rows, columns)
        pictures.append(Picture(fit_pixels(camera, size, config.horizon).numpy(), classes))
    return pictures


def _pixels(pixels: np.ndarray, first_from_grid: np.ndarray, second_from_grid: np.ndarray) -> np.ndarray:
    """Where pixels (N, 2) of an image lie in another one of the same camera; both (4, 4) image_from_grid."""
    rays = np.linalg.inv(first_from_grid) @ np.c_[pixels * FAR, np.full((len(pixels), 1), FAR), np.ones(len(pixels))].T
    found = second_from_grid @ rays
    return (found[:2] / found[2]).T


def _add_returns(
    votes: np.ndarray, points: np.ndarray, labels: np.ndarray, image_from_grid: np.ndarray, size: tuple[int, int]
) -> None:
    """Let labeled returns vote in the cells (rows, columns, 17) that show them."""
    which, pixels = visible(points.astype(np.float64), image_from_grid, size)
    named = (labels[which] != EMPTY) & (labels[which] < NUM_LABELS)
    column, row = (pixels[named] // STRIDE).T
    np.add.at(votes, (row, column, labels[which][named]), RETURN)


def changed(picture: Picture, config: AugmentConfig, rng: np.random.Generator) -> Picture:
    """The picture scaled, shifted, mirrored and in another light."""
    size = picture.image.shape[1:]
    moved = draw_zoom(size, config, rng)
    image = warp_image(relight(torch.from_numpy(picture.image), rng), moved).numpy()
    rows, columns = picture.classes.shape
    middle = (np.indices((columns, rows)).transpose(2, 1, 0).reshape(-1, 2) + 0.5) * STRIDE - 0.5  # (cells, 2) x, y
    source = np.c_[middle, np.ones(len(middle))] @ np.linalg.inv(moved[:3, :3]).T
    column, row = np.floor((source[:, :2] + 0.5) / STRIDE).astype(int).T
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    classes = np.full(rows * columns, IGNORE, np.uint8)
    classes[inside] = picture.classes[row[inside], column[inside]]
    return Picture(image, classes.reshape(rows, columns))


def _sizes(config: PresampleConfig) -> dict[str, object]:
    return {"image_size": list(config.image_size), "horizon": config.horizon, "stride": STRIDE}
