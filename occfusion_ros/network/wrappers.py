"""The two networks of an artifact: thin modules around a trained `OccFusion`, without the batch axis.

What leaves the networks is what the robot needs, so that thresholds and arg-max never exist a second time outside.
"""

import torch
from torch import nn

from ..presample.children import ChildInputs
from ..presample.presampler import FusedVoxels
from .occfusion import OccFusion, entropy


def best_class(logits: torch.Tensor) -> torch.Tensor:
    """(..., 1 + classes) logits to the best non-empty label, (...) int64."""
    return logits[..., 1:].argmax(-1) + 1


class FuserNetwork(nn.Module):
    """Images and pre-sampled points to the unrefined answer and what the refiner needs."""

    INPUTS = ("images", *FusedVoxels.NETWORK_INPUTS)
    OUTPUTS = ("occupied", "semantic", "uncertainty", "grid_features", "image_map")

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
            occupied (T, J) uint8, 0 or 1 for every child, not refined; semantic (T,) uint8, best non-empty label of a
            coarse voxel; uncertainty (T,) float32 nats; grid_features (1, T, V) float32; image_map (1, C, N * h, w)
            float32.
        """
        points = (voxel_index, voxel_features, point_features, point_uv, point_camera)
        out = self.model.fuse(self.model.backbone(images), *(tensor[None] for tensor in points))
        coarse, occupancy = out.coarse.squeeze(0), out.occupancy.squeeze(0)  # indexing would copy, squeezing does not
        semantic = best_class(coarse)
        occupied = (occupancy > -self.model.occupancy_shift[semantic][:, None]).to(torch.uint8)
        return occupied, semantic.to(torch.uint8), entropy(coarse), out.voxel_features, out.image_map


class RefinerNetwork(nn.Module):
    """The children of the chosen voxels, classified anew."""

    INPUTS = ("grid_features", "image_map", *ChildInputs.NETWORK_INPUTS)
    OUTPUTS = ("labels",)
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
    ) -> torch.Tensor:
        """The fuser's outputs and `ChildInputs` to labels (K, J) uint8."""
        children = (parent, child_uv, parent_camera, child_seen, child_return)
        logits = self.refiner(
            grid_features, image_map, *(tensor[None] for tensor in children), image_map.shape[2] // self.feature_rows
        ).squeeze(0)
        label = best_class(logits)
        # The logit of being occupied plus the shift is positive where the probability of empty is below this.
        occupied = logits.softmax(-1)[..., 0] < torch.sigmoid(self.refined_shift)[label]
        return (label * occupied).to(torch.uint8)  # TensorRT has uint8 at its doors only
