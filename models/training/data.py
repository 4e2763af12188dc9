"""Training frames as they lie on disk, and what the network and the losses get of one.

Where the image backbone is frozen, its features are computed once for each frame and kept, else the images are.
"""

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.core.past_sweeps import PastSweep, brought_to_present
from occfusion_ros.presample.children import to_children
from occfusion_ros.presample.presampler import FusedVoxels, Presampler

from .past import as_arrays, from_arrays

UNSEEN = np.diag([0.0, 0, 0, 1]).astype(np.float32)  # a projection that puts every point behind the camera
UNSEEN[2, 3] = -1


@dataclass(frozen=True)
class PreparedFrame:
    """One frame as training keeps it; N cameras, all arrays in the grid frame.

    Attributes:
        points: (P, 4) float32, metres and intensity.
        image_from_grid: (N, 4, 4) float32.
        features: backbone features float16, (N, C, h, w) for each level; or the images, one array (N, 3, h, w) uint8.
        semantics: (X, Y, Z) uint8, complete truth; what sensors could observe stands above what is known besides.
        observed: (X, Y, Z) bool, where `semantics` is what sensors could observe.
        grid: where `semantics` and `observed` lie.
        ray_origin: (3,) float64, metres: where the LiDAR stood.
        past: earlier sweeps of the same LiDAR, the newest first; empty for a network without lags.
    """

    points: np.ndarray
    image_from_grid: np.ndarray
    features: tuple[np.ndarray, ...]
    semantics: np.ndarray
    observed: np.ndarray
    grid: GridSpec = GridSpec()
    ray_origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    past: tuple[PastSweep, ...] = ()

    def save(self, path: Path) -> None:
        """Write the frame, atomically."""
        unknown = self.semantics == IGNORE
        voxels = np.flatnonzero((self.semantics != 0) & ~unknown).astype(np.uint32)
        levels = {f"features{level}": values for level, values in enumerate(self.features)}
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                points=self.points,
                image_from_grid=self.image_from_grid,
                voxels=voxels,
                labels=self.semantics.reshape(-1)[voxels],
                unknown=np.packbits(unknown),
                observed=np.packbits(self.observed),
                low=self.grid.low,
                voxel_size=self.grid.voxel_size,
                size=self.grid.size,
                ray_origin=self.ray_origin,
                **levels,
                **as_arrays(self.past),
            )

    @property
    def holds_images(self) -> bool:
        """Whether `features` are the images."""
        return self.features[0].dtype == np.uint8

    @staticmethod
    def load(path: Path) -> "PreparedFrame":
        """Read a file written by `save`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                grid = GridSpec(tuple(file["low"]), float(file["voxel_size"]), tuple(file["size"]))
                semantics = np.zeros(grid.num_voxels, np.uint8)
                semantics[file["voxels"]] = file["labels"]
                if "unknown" in file.files:  # frames of old list unknown voxels among the others
                    semantics[np.unpackbits(file["unknown"], count=grid.num_voxels).view(bool)] = IGNORE
                observed = np.unpackbits(file["observed"], count=grid.num_voxels).view(bool)
                levels = sorted(name for name in file.files if name.startswith("features"))
                features = tuple(file[name] for name in levels)
                return PreparedFrame(
                    file["points"],
                    file["image_from_grid"],
                    features,
                    semantics.reshape(grid.size),
                    observed.reshape(grid.size),
                    grid,
                    file["ray_origin"] if "ray_origin" in file.files else np.zeros(3),  # frames of old do not say
                    from_arrays(file),
                )
        except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"{path}: expected a frame that this version of models.training.prepare made, got "
                f"{error!r}; remove the file to have it made again"
            ) from error


@dataclass(frozen=True)
class Targets:
    """Truth of one frame: coarse (T,) int64 and children (T, 64) uint8, 255 ignored."""

    coarse: torch.Tensor
    children: torch.Tensor


def majority(children: torch.Tensor) -> torch.Tensor:
    """(T, 64) uint8 children to (T,) int64: the most frequent label that is not empty, as in OpenOccupancy."""
    flat = children.reshape(-1)
    place = ((flat > 0) & (flat < NUM_LABELS)).nonzero()[:, 0]
    parent = place // children.shape[1]
    votes = torch.bincount(parent * NUM_LABELS + flat[place], minlength=len(children) * NUM_LABELS)
    coarse = votes.view(-1, NUM_LABELS).argmax(1)  # no votes: 0, empty
    return torch.where(children.amin(1) == IGNORE, IGNORE, coarse)


def make_targets(
    children: torch.Tensor, observed: torch.Tensor, keep: float = 0.0, rng: np.random.Generator | None = None
) -> Targets:
    """Truth where it is observed, and a random share of the rest.

    Args:
        children: (T, 64) uint8 complete truth. observed: (T, 64) bool.
        keep: probability with which a voxel that is not observed keeps its truth; a coarse voxel counts as observed
            if any child is, and its label is the majority of its complete children.
        rng: draws; needed where `keep` is not 0.
    """
    known, known_coarse = observed, observed.any(1)
    if keep:
        known = known | _drawn(rng, keep, observed)
        known_coarse = known_coarse | _drawn(rng, keep, known_coarse)
    return Targets(torch.where(known_coarse, majority(children), IGNORE), torch.where(known, children, IGNORE))


def _drawn(rng: np.random.Generator, probability: float, like: torch.Tensor) -> torch.Tensor:
    """Bool of `like`'s shape and device, true with a probability in steps of 1 / 256."""
    drawn = np.frombuffer(rng.bytes(like.numel()), np.uint8) < round(probability * 256)
    return torch.from_numpy(drawn).view(like.shape).to(like.device)


@dataclass(frozen=True)
class Sample:
    """One drawn frame: fuser inputs, backbone features (N, C, h, w) float32 or images uint8, and targets."""

    inputs: FusedVoxels
    features: list[torch.Tensor]
    targets: Targets


def make_sample(
    frame: PreparedFrame, presampler: Presampler, keep: float = 0.0, rng: np.random.Generator | None = None
) -> Sample:
    """From arrays to tensors through the same pre-sampling that the robot runs; the rest as in `make_targets`."""

    def put(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(presampler.device)

    inputs = presampler.prepare_points(frame.points, put(frame.image_from_grid), past=brought_to_present(frame.past))
    children, observed = (
        to_children(put(dense), presampler.config.coarse_factor) for dense in (frame.semantics, frame.observed)
    )
    features = [put(level) if frame.holds_images else put(level).float() for level in frame.features]
    return Sample(inputs, features, make_targets(children, observed, keep, rng))


def stack(samples: list[Sample]) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Batched arguments of `OccFusion.fuse` by name, and its backbone features (B * N, C, h, w), or images.

    N is the largest number of cameras of a sample; the others get cameras that see nothing, with features of 0.
    """
    count = max(len(sample.features[0]) for sample in samples)
    batch = {name: torch.stack([getattr(s.inputs, name) for s in samples]) for name in FusedVoxels.NETWORK_INPUTS}
    batch["image_from_grid"] = torch.stack([_filled(s.inputs.image_from_grid, count, UNSEEN) for s in samples])
    levels = [
        torch.cat([_filled(values, count, 0) for values in level]) for level in zip(*(s.features for s in samples))
    ]
    return batch, [level.contiguous(memory_format=torch.channels_last) for level in levels]


def through_backbone(backbone: nn.Module, features: list[torch.Tensor]) -> list[torch.Tensor]:
    """Features of `stack` as they are; where the samples hold images, what the backbone makes of them."""
    return backbone(features[0]) if features[0].dtype == torch.uint8 else features


def _filled(values: torch.Tensor, count: int, filler: np.ndarray | int) -> torch.Tensor:
    """(N, ...) with `filler` behind it: (count, ...)."""
    if len(values) == count:
        return values
    rest = torch.as_tensor(filler, dtype=values.dtype, device=values.device)
    return torch.cat([values, rest.expand(count - len(values), *values.shape[1:])])
