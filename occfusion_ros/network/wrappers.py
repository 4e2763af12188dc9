"""The two networks of an artifact: thin modules around a trained `OccFusion`, without the batch axis.

What leaves the networks is what the robot needs, so that thresholds and arg-max never exist a second time outside.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..core.confidence import OCCUPIED, STEPS
from ..presample.children import ChildInputs
from ..presample.presampler import FusedVoxels
from .fusion import FusedPoints
from .occfusion import OccFusion, entropy


def best_class(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to the best non-empty label, (...) int64."""
    return logits[..., 1:].argmax(-1) + 1


def occupancy_byte(log_odds: torch.Tensor) -> torch.Tensor:
    """Log-odds of being occupied, from the threshold, to the byte that `core.confidence` describes, uint8."""
    return (log_odds * STEPS + OCCUPIED).clamp(0, 255).to(torch.uint8)


def class_byte(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to (...) uint8: 256ths of the best class's probability among the non-empty ones."""
    return (logits[..., 1:].float().softmax(-1).amax(-1) * 256).clamp(max=255).to(torch.uint8)


class FuserNetwork(nn.Module):
    """Images and pre-sampled points to the unrefined answer and what the refiner needs."""

    INPUTS = ("images", *FusedVoxels.NETWORK_INPUTS)
    OUTPUTS = ("occupancy", "semantic", "semantic_confidence", "uncertainty", "grid_features", "image_map")

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
        voxels, image_map, _ = self.model.encode(self.model.backbone(images), voxel_features[None], points)
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
        return (steps + shift[semantic][:, None]).clamp(0, 255).to(torch.uint8)


class RefinerNetwork(nn.Module):
    """The children of the chosen voxels, classified anew."""

    INPUTS = ("grid_features", "image_map", *ChildInputs.NETWORK_INPUTS)
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
        children = (parent, child_uv, parent_camera, child_seen, child_return)
        logits = self.refiner(
            grid_features, image_map, *(tensor[None] for tensor in children), image_map.shape[2] // self.feature_rows
        ).squeeze(0)
        label = best_class(logits)
        odds = logits[..., 1:].float().logsumexp(-1) - logits[..., 0] + self.refined_shift[label]
        steps = (odds * STEPS + OCCUPIED).clamp(0, 255)
        labels = label * (steps >= OCCUPIED)
        return labels.to(torch.uint8), steps.to(torch.uint8), class_byte(logits)  # TensorRT has uint8 at doors only
