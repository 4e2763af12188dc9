"""Training frames: synthetic drives, prepared once, augmented whenever they are drawn.

The image backbone is frozen while training, so its features are computed once for each frame and kept.
"""

from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.presample.children import to_children
from occfusion_ros.presample.presampler import FuserInputs, PresampleConfig, Presampler

from .backbone import EfficientNetLite0

FRAMES_PER_DRIVE = 4
SPACING = 8  # one frame in eight (4 s): neighbours in time teach little
RENDER_SIZE = (396, 704)  # nuScenes' 900 x 1600 at the scale at which the network sees it
UNSEEN = np.diag([0.0, 0, 0, 1])  # a projection that puts every point behind the camera
UNSEEN[2, 3] = -1


@dataclass(frozen=True)
class PreparedFrame:
    """One frame as training keeps it.

    Attributes:
        points: (N, 4) float32 grid frame. image_from_grid: (6, 4, 4) float32.
        features: backbone features float16, (6, C, h, w) for each level.
        semantics: (X, Y, Z) uint8.
    """

    points: np.ndarray
    image_from_grid: np.ndarray
    features: tuple[np.ndarray, ...]
    semantics: np.ndarray

    @staticmethod
    def load(path: Path, grid: GridSpec) -> "PreparedFrame":
        """Read a file written by `prepare`."""
        with np.load(path) as file:
            semantics = np.zeros(grid.num_voxels, np.uint8)
            semantics[file["voxels"]] = file["labels"]
            features = tuple(file[f"features{level}"] for level in range(3))
            return PreparedFrame(file["points"], file["image_from_grid"], features, semantics.reshape(grid.size))


@torch.inference_mode()
def image_features(backbone: EfficientNetLite0, images: torch.Tensor) -> list[torch.Tensor]:
    """Frozen backbone features; (N, 3, h, w) uint8 to float16 levels."""
    with torch.autocast("cpu", torch.bfloat16):
        images = images.float().contiguous(memory_format=torch.channels_last)
        return [level.half() for level in backbone(images)]


def prepare_drive(job: tuple[int, list[Path]], config: PresampleConfig, window: int) -> int:
    """Generate the missing frames of a drive and write what training needs of them; returns how many.

    Args:
        job: seed of the drive and a file for each of its frames.
        window: when not 0, the truth is what that many sweeps before and after observe (see `observed_truth`).
    """
    from occfusion_ros.datasets.synthetic import SyntheticDrive

    from .observed import observed_truth

    seed, paths = job
    torch.set_num_threads(1)
    backbone, presampler = EfficientNetLite0().eval(), Presampler(config)
    backbone.load_imagenet()
    drive = SyntheticDrive(seed, image_size=RENDER_SIZE)
    missing = [(index, path) for index, path in enumerate(paths, start=1) if not path.exists()]
    for index, path in missing:
        if window:
            frame, semantics = observed_truth(drive, index * SPACING, window)
        else:
            frame = drive.frame(index * SPACING)
            semantics = frame.semantics
        images, image_from_grid = presampler.prepare_images(frame.frame)
        levels = {f"features{i}": level.numpy() for i, level in enumerate(image_features(backbone, images))}
        voxels = np.flatnonzero(semantics).astype(np.uint32)
        partial_path = path.with_suffix(".partial.npz")
        np.savez(partial_path, points=frame.frame.points, image_from_grid=image_from_grid.numpy(), voxels=voxels,
                 labels=semantics.reshape(-1)[voxels], **levels)
        partial_path.rename(path)
    return len(missing)


def prepare_all(folder: Path, seeds: range, config: PresampleConfig, workers: int, window: int = 0) -> list[Path]:
    """Prepare every frame of the drives that is not there yet; with a progress bar."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, [folder / f"{seed:06d}_{index}.npz" for index in range(FRAMES_PER_DRIVE)]) for seed in seeds]
    missing = [job for job in jobs if not all(path.exists() for path in job[1])]
    # A worker is replaced now and then: the worlds it has built fragment its memory.
    with get_context("spawn").Pool(workers, maxtasksperchild=8) as pool:
        done = pool.imap_unordered(partial(prepare_drive, config=config, window=window), missing)
        for _ in tqdm(done, "preparing drives", len(missing), unit="drive", disable=not missing):
            pass
    return [path for _, paths in jobs for path in paths]


def flip(frame: PreparedFrame, axis: int) -> PreparedFrame:
    """Mirror the world along x (0) or y (1); the projection is mirrored too, so the images stay as they are."""
    mirror = np.ones(4, np.float32)
    mirror[axis] = -1
    points = frame.points.copy()
    points[:, axis] *= -1
    return PreparedFrame(points, frame.image_from_grid * mirror, frame.features, np.flip(frame.semantics, axis))


def augment(frame: PreparedFrame, rng: np.random.Generator) -> PreparedFrame:
    """Random mirror, thinned sweep, changed intensity and lost cameras."""
    for axis in (0, 1):
        if rng.random() < 0.5:
            frame = flip(frame, axis)
    points = frame.points[rng.random(len(frame.points)) > rng.choice([0.0, 0.1, 0.3])]
    points[:, 3] = np.clip(points[:, 3] * rng.uniform(0, 2), 0, 1)  # the model must not lean on intensity
    lost = rng.random(len(frame.image_from_grid)) < rng.choice([0.0, 0.1, 1.0], p=[0.5, 0.3, 0.2])
    image_from_grid = np.where(lost[:, None, None], UNSEEN, frame.image_from_grid).astype(np.float32)
    return PreparedFrame(points, image_from_grid, frame.features, np.ascontiguousarray(frame.semantics))


@dataclass(frozen=True)
class Targets:
    """Truth of one frame: coarse (T,) and children (T, 64), int64 and uint8, 255 ignored."""

    coarse: torch.Tensor
    children: torch.Tensor


def make_targets(children: torch.Tensor) -> Targets:
    """Coarse truth is the majority of the non-empty children, as in OpenOccupancy; (T, 64) uint8 children."""
    occupied = (children > 0) & (children < NUM_LABELS)
    coarse = torch.where((children == IGNORE).all(1), IGNORE, 0).long()
    rows = occupied.any(1).nonzero()[:, 0]
    votes = torch.zeros((len(rows), 256), dtype=torch.int32, device=children.device)
    votes.scatter_add_(1, children[rows].long(), torch.ones_like(children[rows], dtype=torch.int32))
    coarse[rows] = votes[:, 1:NUM_LABELS].argmax(1) + 1
    return Targets(coarse, children)


@dataclass(frozen=True)
class Sample:
    """One drawn frame: fuser inputs, backbone features (6, C, h, w) float32 and targets."""

    inputs: FuserInputs
    features: list[torch.Tensor]
    targets: Targets


def make_sample(frame: PreparedFrame, presampler: Presampler) -> Sample:
    """From arrays to tensors through the same pre-sampling that the robot runs."""
    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(presampler.device)

    unused = torch.empty((len(frame.image_from_grid), 3, 0, 0), dtype=torch.uint8, device=presampler.device)
    inputs = presampler.prepare_points(frame.points, unused, put(frame.image_from_grid))
    children = to_children(put(frame.semantics), presampler.config.coarse_factor)
    return Sample(inputs, [put(level).float() for level in frame.features], make_targets(children))
