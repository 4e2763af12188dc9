"""What a network says of a prepared frame, in PyTorch, and the labels that the pipeline makes of it."""

from dataclasses import dataclass

import torch

from occfusion_ros.network.occfusion import FuserOutput, OccFusion, entropy
from occfusion_ros.presample.children import child_voxels, describe_children, is_member
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.selection import most_uncertain

from .data import PreparedFrame, make_sample, stack, through_backbone


@dataclass
class Prediction:
    """Logits of one frame.

    Attributes:
        fuser: fuser output, batch of one.
        refined: (K, 64, 17) logits of the children of `parent` (K,).
        returned: (T, 64) bool, children with a return. truth: (T, 64) uint8, 255 where it is not observed.
    """

    fuser: FuserOutput
    refined: torch.Tensor
    parent: torch.Tensor
    returned: torch.Tensor
    truth: torch.Tensor


@torch.inference_mode()
def predict(model: OccFusion, frame: PreparedFrame, presampler: Presampler) -> Prediction:
    """Run the network on a prepared frame, whose truth lies on the presampler's grid."""
    sample = make_sample(frame, presampler)
    batch, features = stack([sample])
    fuser = model.fuse(through_backbone(model.backbone, features), **batch)
    parent = most_uncertain(entropy(fuser.coarse[0]), occupied_voxels(model, fuser), model.config.refine_budget)
    inputs, config = sample.inputs, presampler.config
    children = describe_children(parent, presampler, inputs.image_from_grid, inputs.returns).network_inputs()
    refined = model.refine(fuser, **{k: v[None] for k, v in children.items()}, count=len(features[0]))[0]
    parents = torch.arange(presampler.coarse.num_voxels, device=presampler.device)
    everything = child_voxels(parents, config.grid, config.coarse_factor)
    return Prediction(fuser, refined, parent, is_member(everything, inputs.returns), sample.targets.children)


def occupied_voxels(model: OccFusion, fuser: FuserOutput) -> torch.Tensor:
    """(T,) bool: coarse voxels with a child that is predicted occupied; what refining "all" refines."""
    semantic = fuser.coarse[0, :, 1:].argmax(1) + 1
    return (fuser.occupancy[0] + model.occupancy_shift[semantic][:, None] > 0).any(1)


def occupied_logit(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of not being empty, (..., 17) to (...)."""
    return logits[..., 1:].logsumexp(-1) - logits[..., 0]


def labels_of(model: OccFusion, result: Prediction) -> torch.Tensor:
    """(T, 64) uint8: the labels that the pipeline gives, computed from PyTorch logits."""
    semantic = coarse_label(result)[:, None]
    labels = torch.where(result.fuser.occupancy[0] + model.occupancy_shift[semantic] > 0, semantic, 0)
    fine = result.refined[..., 1:].argmax(-1) + 1
    labels[result.parent] = torch.where(occupied_logit(result.refined) + model.refined_shift[fine] > 0, fine, 0)
    return torch.where((labels == 0) & result.returned, semantic, labels).byte()


def coarse_label(result: Prediction) -> torch.Tensor:
    """(T,) int64 best non-empty label of each coarse voxel."""
    return result.fuser.coarse[0, :, 1:].argmax(1) + 1
