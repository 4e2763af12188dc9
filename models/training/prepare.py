"""Prepare training frames once: synthetic drives, or a data root in the nuScenes format.

A prepared frame holds the features of the frozen image backbone, the sweep and the truth (see `PreparedFrame`).
"""

from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.camera import fit_image, fitted_intrinsics
from occfusion_ros.core.errors import ContractError, DatasetError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.core.past_sweeps import MOST_SWEEPS, PastSweep
from occfusion_ros.network.backbone import EfficientNetLite0
from occfusion_ros.presample.presampler import PresampleConfig, Presampler
from synthetic import GENERATOR_VERSION, Camera, rig_of

from ..evaluation.nuscenes_frames import NuScenesFrames, split_last
from .augment import NO_DRIFT, AugmentConfig, augment_images, draw_past
from .data import PreparedFrame
from .distributed import multiplies_bfloat16
from .image_weights import feature_backbone
from .manifest import claim, making
from .past import as_past, sweeps_before

FRAMES_PER_DRIVE = 4
SPACING = 8  # one frame in eight (4 s): neighbors in time teach little


@torch.inference_mode()
def image_features(backbone: EfficientNetLite0, images: torch.Tensor) -> list[torch.Tensor]:
    """Frozen backbone features; (N, 3, h, w) uint8 to float16 levels."""
    with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16(images.device)):
        images = images.float().contiguous(memory_format=torch.channels_last)
        return [level.half() for level in backbone(images)]


class Preparer:
    """Turns sensor frames with truth into prepared frames; holds the backbone.

    Args:
        config: of the network to be trained.
        augmentation: how images are changed, None for validation frames, which stay as they are.
        keep_images: keep the images, unchanged, instead of their features.
        weights: of the network whose image backbone makes the features; None for ImageNet's.
    """

    def __init__(
        self,
        config: PresampleConfig,
        augmentation: AugmentConfig | None,
        keep_images: bool = False,
        weights: Path | None = None,
    ) -> None:
        self.presampler, self.augmentation, self.keep_images = Presampler(config), augmentation, keep_images
        self.backbone, _ = feature_backbone(None if keep_images else weights)

    def __call__(
        self,
        frame: SensorFrame,
        semantics: np.ndarray,
        observed: np.ndarray,
        rng: np.random.Generator,
        past: tuple[PastSweep, ...] = (),
    ) -> PreparedFrame:
        """From a frame, its complete truth and where that is observed, both (X, Y, Z), and the sweeps before it.

        Validation frames have those drawn already that training would draw, without drift.
        """
        if self.augmentation is None:
            past = draw_past(past, NO_DRIFT, rng)
        images, image_from_grid = self.presampler.prepare_images(frame), self.presampler.projections(frame)
        points = frame.points[np.isfinite(frame.points).all(axis=1)]
        rest = {"semantics": semantics, "observed": observed, "ray_origin": frame.ray_origins[0], "past": past}
        if self.keep_images:
            return PreparedFrame(points, image_from_grid.numpy(), (images.numpy(),), **rest)
        if self.augmentation and len(image_from_grid):
            images, image_from_grid = augment_images(images, image_from_grid, self.augmentation, rng)
        features = tuple(level.numpy() for level in image_features(self.backbone, images))
        return PreparedFrame(points, image_from_grid.numpy(), features, **rest)


def as_network_sees(camera: Camera, config: PresampleConfig) -> Camera:
    """The part of a camera that the network looks at, at its size: nothing else need be rendered."""
    fit = fit_image(camera.size, config.image_size, camera.intrinsics[1, 2], config.horizon)
    intrinsics = fitted_intrinsics(camera.intrinsics, camera.size, fit)
    return replace(camera, size=config.image_size, intrinsics=intrinsics, lens=None)


def prepare_drive(
    job: tuple[int, list[Path]],
    config: PresampleConfig,
    augmentation: AugmentConfig | None,
    rig: str,
    keep_images: bool = False,
    weights: Path | None = None,
) -> int:
    """Generate the missing frames of a synthetic drive; returns how many.

    Args:
        job: seed of the drive and a file for each of its frames.
        config, augmentation, keep_images, weights: see `Preparer`; with an augmentation every drive has its rig mounted
            differently.
        rig: one of `synthetic.FLEETS`.
    """
    from synthetic import SyntheticDrive

    from .visibility import observed_truth

    seed, paths = job
    torch.set_num_threads(1)  # the workers are as many as the cores
    sensors = rig_of(rig, seed)
    sensors = replace(sensors, cameras=tuple(as_network_sees(camera, config) for camera in sensors.cameras))
    prepare = Preparer(config, augmentation, keep_images, weights)
    drive = SyntheticDrive(seed, sensors, jitter=augmentation is not None)
    missing = [(number, path) for number, path in enumerate(paths, start=1) if not path.exists()]
    for number, path in missing:
        index = number * SPACING
        frame, earlier = drive.frame(index), []
        if config.preprocessing.lags:
            earlier = sweeps_before(drive, index, np.random.default_rng([seed, index, 1]))
        past = as_past(earlier, frame, config.preprocessing.ego_radius)
        truth = observed_truth(drive, index, frame, [(one.sweep, one.map_from_grid) for one in earlier])
        observed = truth != IGNORE
        semantics = np.where(observed, truth, frame.semantics)
        prepare(frame.frame, semantics, observed, np.random.default_rng([seed, index]), past).save(path)
    return len(missing)


def check_grid(config: PresampleConfig) -> None:
    """Raise ContractError where no frame can be cut to the network's grid: their truth is on OpenOccupancy's."""
    truth, wanted = GridSpec(), config.grid
    for name, here, got in (
        ("voxel_size", truth.voxel_size, wanted.voxel_size),
        ("low z", truth.low[2], wanted.low[2]),
        ("layers", truth.size[2], wanted.size[2]),
    ):
        if here != got:
            raise ContractError(
                f"model.presample.grid: {name} must be {here}, as in the truth that frames hold, got "
                f"{got}; its extent in x and y may be any"
            )


def prepare_all(
    folder: Path,
    seeds: range,
    config: PresampleConfig,
    workers: int,
    augmentation: AugmentConfig | None = None,
    rig: str = "nuscenes",
    keep_images: bool = False,
    fresh: bool = False,
    weights: Path | None = None,
) -> list[Path]:
    """Prepare every frame of the synthetic drives that is not there yet; with a progress bar.

    Args:
        folder: for the frames. seeds: of the drives. workers: processes.
        config, augmentation, rig, keep_images, weights: see `prepare_drive`. fresh: see `manifest.claim`.

    Raises:
        ContractError: the grid of `config` is none of frames. DatasetError: the folder holds frames that were prepared
            otherwise.
    """
    check_grid(config)
    claim(
        folder,
        making(
            config,
            augmentation,
            keep_images,
            weights,
            generator_version=GENERATOR_VERSION,
            rig=rig,
            spacing=SPACING,
        ),
        fresh,
    )
    jobs = [(seed, [folder / f"{seed:06d}_{number}.npz" for number in range(FRAMES_PER_DRIVE)]) for seed in seeds]
    missing = [job for job in jobs if not all(path.exists() for path in job[1])]
    if missing:
        # A worker is replaced now and then: the worlds it has built fragment its memory.
        with get_context("spawn").Pool(workers, maxtasksperchild=8) as pool:
            work = partial(
                prepare_drive,
                config=config,
                augmentation=augmentation,
                rig=rig,
                keep_images=keep_images,
                weights=weights,
            )
            done = pool.imap_unordered(work, missing)
            for _ in tqdm(done, "preparing drives", len(missing), unit="drive"):
                pass
    return [path for _, paths in jobs for path in paths]


def named_scenes(there: list[str], wanted: list[str] | None) -> list[str]:
    """The scenes that are wanted, in the given order, a split replaced by those of its scenes that are there."""
    from nuscenes.utils.splits import create_splits_scenes

    splits = create_splits_scenes()
    return [
        scene
        for name in wanted or there
        for scene in ([scene for scene in splits[name] if scene in there] if name in splits else [name])
    ]


def prepare_root(
    folder: Path,
    root: Path,
    config: PresampleConfig,
    augmentation: AugmentConfig | None = None,
    occupancy: Path | None = None,
    scenes: list[str] | None = None,
    keep_images: bool = False,
    fresh: bool = False,
    copies: int = 1,
    weights: Path | None = None,
    held_back: float = 0.0,
) -> list[Path]:
    """Prepare every sample of a data root that has an occupancy truth and is not there yet; with a progress bar.

    Args:
        root: in the nuScenes table format. occupancy: where the labels lie, if not there.
        scenes: names of the scenes to take, or of the devkit's splits (train, val, mini_train, ...); all by default.
        config, augmentation, keep_images, weights: see `Preparer`. fresh: see `manifest.claim`.
        copies: times that each sample is listed; where features are kept, from images changed anew each time.
        held_back: last share of each scene's samples that is left out.

    Raises:
        DatasetError: there is no truth, nothing is held back where something should be, or the folder holds frames that
            were prepared otherwise.
    """
    from occfusion_ros.datasets.nuscenes import NuScenesReader

    check_grid(config)
    reader = NuScenesReader(root, occupancy_root=occupancy)
    claim(
        folder,
        making(
            config,
            augmentation,
            keep_images,
            weights,
            data=str(root.resolve()),
            occupancy=str((occupancy or root).resolve()),
        ),
        fresh,
    )
    preprocessing = config.preprocessing
    recorded = NuScenesFrames(reader, MOST_SWEEPS if preprocessing.lags else 0, preprocessing.ego_radius)
    parts = {s: split_last(reader.samples(s), held_back) for s in named_scenes(reader.scenes(), scenes)}
    if held_back and not any(held for _, held in parts.values()):
        raise DatasetError(
            f"held_back: expected scenes long enough to hold back {held_back:g} of each, got none in {root}"
        )
    tokens = [(scene, token) for scene, (kept, _) in parts.items() for token in kept]
    prepare, paths = Preparer(config, augmentation, keep_images, weights), []
    for number, (scene, token) in enumerate(tqdm(tokens, "preparing samples", unit="sample")):
        semantics = reader.occupancy(token)
        if semantics is None:
            continue
        names = [f"{token}_{copy}" if copy and not keep_images else token for copy in range(copies)]
        files = [folder / f"{name}.npz" for name in names]
        frame = None if all(path.exists() for path in files) else recorded.frame(scene, token)
        for copy, path in enumerate(files):
            if not path.exists():
                rng = np.random.default_rng([number, copy] if copy else [number])
                past = tuple(recorded.past(scene, token))
                prepare(frame, semantics, semantics != IGNORE, rng, past).save(path)
        paths += files
    if not paths:
        raise DatasetError(f"no sample with an occupancy truth among {len(tokens)} samples of {root}")
    return paths
