"""The two networks of an artifact: thin modules around a trained `OccFusion`, without the batch axis.

What leaves the networks is what the robot needs, so that thresholds and arg-max never exist a second time outside.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from ..core.confidence import OCCUPIED, STEPS
from ..core.grid import GridSpec
from ..presample.children import ChildInputs
from ..presample.presampler import FusedVoxels
from .fusion import FusedPoints
from .occfusion import OccFusion, entropy

SAMPLE = 2560  # voxels by which the threshold of a screen is chosen; TensorRT finds the largest of 3,840 at most
FIRST = 1e4  # more than any logit, and within half precision
FILLED = 0.85  # share of the room that is meant to be filled: a sample errs by some hundredths


def nearest_first(grid: GridSpec) -> torch.Tensor:
    """(T,) int64: the voxels of a grid by their horizontal distance from the vehicle."""
    column = torch.stack(grid.unflatten(torch.arange(grid.num_voxels))[:2], 1)
    away = (column + 0.5) * grid.voxel_size + torch.tensor(grid.low[:2], dtype=torch.float64)
    return away.square().sum(1).argsort(stable=True)


def spread_sample(total: int) -> torch.Tensor:
    """(S,) int64 different places in 0..total - 1, spread over the grid and all its layers alike: steps of the golden
    ratio (Weyl's sequence), by a number that has no divisor in common with `total`.
    """
    step = round(total * 0.618)
    while math.gcd(step, total) > 1:
        step += 1
    return torch.arange(min(total, SAMPLE)) * step % total


def best_class(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to the best non-empty label, (...) int64."""
    return logits[..., 1:].argmax(-1) + 1


def occupancy_byte(log_odds: torch.Tensor) -> torch.Tensor:
    """Log-odds of being occupied, from the threshold, to the byte that `core.confidence` describes, uint8."""
    return (log_odds * STEPS + OCCUPIED).clamp(0, 255).to(torch.uint8)


def class_share(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to (...) float32, the best class's probability among the non-empty ones."""
    return logits[..., 1:].float().softmax(-1).amax(-1)


def share_byte(share: torch.Tensor) -> torch.Tensor:
    """What `class_share` gives to 256ths, uint8."""
    return (share * 256).clamp(max=255).to(torch.uint8)


def class_byte(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to (...) uint8: 256ths of the best class's probability among the non-empty ones."""
    return share_byte(class_share(logits))


class FuserNetwork(nn.Module):
    """Images and pre-sampled points to the unrefined answer and what the refiner needs."""

    INPUTS = ("images", *FusedVoxels.NETWORK_INPUTS)
    FEATURES: tuple[str, ...] = ("grid_features", "image_map")  # what the refiner needs
    OUTPUTS: tuple[str, ...] = ("occupancy", "semantic", "semantic_confidence", "uncertainty", *FEATURES)

    def __init__(self, model: OccFusion) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        images: torch.Tensor,
        voxel_index: torch.Tensor,
        voxel_features: torch.Tensor,
        point_features: torch.Tensor,
        point_uv: torch.Tensor,
        point_camera: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """See `FusedVoxels` for the inputs.

        Returns:
            occupancy (T, J) uint8, log-odds of every child, not refined, see `core.confidence`; semantic (T,) uint8,
            best non-empty label of a coarse voxel; semantic_confidence (T,) uint8, see `class_byte`; uncertainty (T,)
            float32 nats; grid_features (1, T, V) float32; image_map (1, C, N * h, w) float32.
        """
        points = FusedPoints(*(tensor[None] for tensor in (voxel_index, point_features, point_uv, point_camera)))
        decoded, fused, image_map, *_ = self.model.encode(self.model.backbone(images), voxel_features[None], points)
        voxels = torch.cat([decoded, fused], 2)
        coarse = self.model.coarse_head(voxels).squeeze(0)  # indexing would copy, squeezing does not
        semantic = best_class(coarse)
        occupancy = self.occupancy(voxels.squeeze(0), semantic)
        return occupancy, semantic.to(torch.uint8), class_byte(coarse), entropy(coarse), voxels, image_map

    def occupancy(self, voxel_features: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        """(T, V) and (T,) labels to (T, J) uint8.

        Steps and the middle go into the head and the shifts: each pass over all children costs milliseconds.
        """
        head, shift = self.model.occupancy_head, self.model.occupancy_shift * STEPS + OCCUPIED
        steps = F.linear(voxel_features, head.weight * STEPS, head.bias * STEPS)  # exact: STEPS is a power of two
        return (steps + shift.index_select(0, semantic)[:, None]).clamp(0, 255).to(torch.uint8)


class ScreenedFuserNetwork(FuserNetwork):
    """A fuser that looks only at the voxels that its screen lets pass, see `ModelConfig.screened`.

    What the refiner needs of fused voxels comes as rows: nearly all voxels of the grid have none.
    """

    INPUTS = ("images", *FusedVoxels.KNOWN_INPUTS)
    FEATURES = ("decoded", "fused", "fused_row", "image_map")
    OUTPUTS = ("occupancy", "semantic", "semantic_confidence", "uncertainty", *FEATURES, "screened")

    def __init__(self, model: OccFusion) -> None:
        super().__init__(model)
        self.room = min(model.config.screened, model.config.coarse.num_voxels)
        self.register_buffer("nearest_first", nearest_first(model.config.coarse), persistent=False)
        self.register_buffer("sample", spread_sample(model.config.coarse.num_voxels), persistent=False)

    def forward(
        self,
        images: torch.Tensor,
        voxel_index: torch.Tensor,
        voxel_features: torch.Tensor,
        point_features: torch.Tensor,
        point_uv: torch.Tensor,
        point_camera: torch.Tensor,
        present: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """As without a screen, but for features in parts, and rows of the voxels that pass instead of all.

        Returns:
            occupancy (M, J), semantic, semantic_confidence and uncertainty (M,); decoded (1, T, D) float32; fused
            (Q + 1, C) float32, the last row of zeros; fused_row (T,) int64, each voxel's row of it; image_map; screened
            (M,) int64, which coarse voxels the rows of the first four are, -1 of none.
        """
        points = FusedPoints(*(tensor[None] for tensor in (voxel_index, point_features, point_uv, point_camera)))
        images = self.model.backbone(images)
        decoded, dense, image_map, _, screen = self.model.encode(images, voxel_features[None], points)
        queries, total = len(voxel_index), decoded.shape[1]
        fused = F.pad(dense.squeeze(0).index_select(0, voxel_index.clamp(max=total - 1)), (0, 0, 0, 1))
        row = torch.full((total + 1,), queries, dtype=torch.int64, device=images[0].device)
        row = row.scatter(0, voxel_index, torch.arange(queries, device=images[0].device))[:total]
        screened = self.passing(screen, present)
        voxels = features_of(decoded, fused, row, screened.clamp(min=0))
        coarse = self.model.coarse_head(voxels)
        semantic = best_class(coarse)
        said = self.occupancy(voxels, semantic), semantic.to(torch.uint8), class_byte(coarse), entropy(coarse)
        return *said, decoded, fused, row, image_map, screened

    def passing(self, screen: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(1, T) logits and (T,) flags to (M,) int64: flagged voxels, then those of the highest logits, then -1.

        Of either kind the nearest come first. Without sorting all of them, and in one shape, for the sake of TensorRT:
        the threshold is that of a sample, and what is too much of those above it is what lies farthest.
        """
        logits, total = screen.squeeze(0).masked_fill(present > 0, FIRST), len(self.nearest_first)
        if self.room == total:
            return self.nearest_first
        sample = logits.index_select(0, self.sample)
        threshold = sample.topk(max(int(FILLED * self.room * len(sample) / total), 1)).values[-1:]
        flagged = present.index_select(0, self.nearest_first) > 0
        others = (logits.index_select(0, self.nearest_first) >= threshold) & ~flagged
        first, then = (chosen.to(torch.int64).cumsum(0) for chosen in (flagged, others))
        place = torch.where(others, first[-1:] + then - 1, total)  # the last place is for those that do not pass
        place = torch.where(flagged, first - 1, place)
        empty = torch.full((total + 1,), -1, dtype=torch.int64, device=screen.device)  # it scatters no more than fit
        return empty.scatter(0, place, self.nearest_first)[: self.room]


def features_of(decoded: torch.Tensor, fused: torch.Tensor, row: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    """(N, D + C) features of (N,) voxels, from what a `ScreenedFuserNetwork` gives of all."""
    parts = decoded.squeeze(0).index_select(0, voxels), fused.index_select(0, row.index_select(0, voxels))
    return torch.cat(parts, 1)


class RefinerNetwork(nn.Module):
    """The children of the chosen voxels, classified anew."""

    INPUTS: tuple[str, ...] = (*FuserNetwork.FEATURES, *ChildInputs.NETWORK_INPUTS)
    OUTPUTS = ("labels", "occupancy", "class_confidence")
    IMAGE_STRIDE = 8  # of the image features that `image_map` stacks

    def __init__(self, model: OccFusion) -> None:
        super().__init__()
        self.refiner = model.refiner  # alone: of the rest of the network nothing is kept
        self.register_buffer("refined_shift", model.refined_shift)
        self.feature_rows = model.config.presample.image_size[0] // self.IMAGE_STRIDE

    def forward(
        self,
        grid_features: torch.Tensor,
        image_map: torch.Tensor,
        parent: torch.Tensor,
        child_uv: torch.Tensor,
        parent_camera: torch.Tensor,
        child_seen: torch.Tensor,
        child_return: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The fuser's outputs and `ChildInputs` to labels, occupancy and class confidence, all (K, J) uint8.

        Labels are 0 where a child is empty; the other two are those of `FuserNetwork`, of each child.
        """
        features = grid_features.squeeze(0)
        children = parent, child_uv, parent_camera, child_seen, child_return
        return self.classify(lambda voxels: features.index_select(0, voxels), image_map, *children)

    def classify(
        self, features: Callable[[torch.Tensor], torch.Tensor], image_map: torch.Tensor, *children: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """As `forward`; `features` gives (N, V) of (N,) voxels."""
        cameras = image_map.shape[2] // self.feature_rows
        logits = self.refiner(features, image_map, *(tensor[None] for tensor in children), cameras).squeeze(0)
        label = best_class(logits)
        best, share = logits[..., 1:].float().amax(-1), class_share(logits)
        # The logarithm of a sum of exponentials, from the best one and its share: runtimes are slow with it otherwise.
        odds = best - share.log() - logits[..., 0] + self.refined_shift[label]
        steps = (odds * STEPS + OCCUPIED).clamp(0, 255)
        labels = label * (steps >= OCCUPIED)
        # TensorRT has uint8 at doors only.
        return labels.to(torch.uint8), steps.to(torch.uint8), share_byte(share)


class ScreenedRefinerNetwork(RefinerNetwork):
    """A refiner behind a `ScreenedFuserNetwork`."""

    INPUTS = (*ScreenedFuserNetwork.FEATURES, *ChildInputs.NETWORK_INPUTS)

    def forward(
        self,
        decoded: torch.Tensor,
        fused: torch.Tensor,
        fused_row: torch.Tensor,
        image_map: torch.Tensor,
        parent: torch.Tensor,
        child_uv: torch.Tensor,
        parent_camera: torch.Tensor,
        child_seen: torch.Tensor,
        child_return: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """As without a screen, but for the features in parts."""
        features = partial(features_of, decoded, fused, fused_row)
        return self.classify(features, image_map, parent, child_uv, parent_camera, child_seen, child_return)


def networks_of(model: OccFusion) -> tuple[FuserNetwork, RefinerNetwork]:
    """The fuser and the refiner of an artifact, in evaluation mode."""
    if model.config.screened:
        return ScreenedFuserNetwork(model).eval(), ScreenedRefinerNetwork(model).eval()
    return FuserNetwork(model).eval(), RefinerNetwork(model).eval()
