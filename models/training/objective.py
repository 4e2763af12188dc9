"""The training objective of a batch: losses of the fuser and of the refiner, sample by sample."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.network.occfusion import FuserOutput, OccFusion, entropy
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler

from .data import PreparedFrame, Sample, stack, through_backbone
from .distributed import multiplies_bfloat16
from .losses import occupancy_loss, semantic_loss

ALWAYS_FIRST = 100.0  # more than any entropy
TERMS = ("semantic", "occupancy", "refined", "auxiliary", "screen")
RARE = 64  # a sample in which fewer than one voxel in so many should pass weighs no more for that
WIDER = 1.0  # the screen learns to let voxels pass with a child whose logit is above minus this


class Objective(nn.Module):
    """Losses of a network; a module, so that the network's gradients can be shared between processes.

    Args:
        model: the network.
        class_weights: (17,) of the coarse cross-entropy.
        budget: voxels of each sample that are refined.
        precision: bf16 or fp32.
    """

    def __init__(self, model: OccFusion, class_weights: torch.Tensor, budget: int, precision: str) -> None:
        super().__init__()
        self.model, self.budget, self.precision = model, budget, precision
        self.register_buffer("class_weights", class_weights)

    def forward(self, samples: list[Sample], presampler: Presampler) -> torch.Tensor:
        """(B, 5) loss of each sample by `TERMS`: coarse semantics, sub-voxel occupancy, refined semantics, the fusion's
        own, the screen.

        The first two are taken over every third voxel with a random start: the same in expectation at a third of the
        cost.
        """
        mixed = self.precision == "bf16" and multiplies_bfloat16(presampler.device)
        with torch.autocast(presampler.device.type, torch.bfloat16, enabled=mixed):
            batch, features = stack(samples)
            output = self.model.fuse(through_backbone(self.model.backbone, features), **batch)
            refined, truth = self.refine_some(output, samples, presampler, batch["image_from_grid"].shape[1])
        auxiliary, screened = output.auxiliary_loss, screen_loss(output)
        rows = []
        for index, sample in enumerate(samples):
            some = slice(int(torch.randint(3, ())), None, 3)
            children = sample.targets.children[some]
            occupied = torch.where(children == IGNORE, IGNORE, (children > 0).byte())
            rows.append(
                torch.stack(
                    [
                        semantic_loss(output.coarse[index, some], sample.targets.coarse[some], self.class_weights),
                        occupancy_loss(output.occupancy[index, some], occupied),
                        semantic_loss(refined[index].flatten(0, 1), truth[index].flatten(), None),
                        output.coarse.new_zeros((), dtype=torch.float32) if auxiliary is None else auxiliary[index],
                        screened[index],
                    ]
                )
            )
        return torch.stack(rows)

    def refine_some(
        self, output: FuserOutput, samples: list[Sample], presampler: Presampler, count: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, K, 64, 17) and truth (B, K, 64) of the children of the chosen voxels; `count` cameras."""
        parents = self.chosen(output)
        children = [
            describe_children(p, presampler, s.inputs.image_from_grid, s.inputs.returns).network_inputs()
            for p, s in zip(parents, samples)
        ]
        batch = {name: torch.stack([c[name] for c in children]) for name in children[0]}
        logits = self.model.refine(output, **batch, count=count)
        return logits, torch.stack([s.targets.children[p] for p, s in zip(parents, samples)])

    def chosen(self, output: FuserOutput) -> torch.Tensor:
        """(B, K) coarse voxels that are refined: half are the most uncertain ones, as on the robot, half are random.

        Both are taken from the voxels that are predicted occupied, as in M-CONet; from the rest where these are few.
        """
        first = ALWAYS_FIRST * (output.occupancy.detach() > 0).any(2)  # (B, T)
        hard = (first + entropy(output.coarse.detach())).topk(self.budget // 2, dim=1).indices
        drawn = (first + torch.rand_like(first)).scatter(1, hard, -1)
        return torch.cat([hard, drawn.topk(self.budget - hard.shape[1], dim=1).indices], 1)


def screen_loss(output: FuserOutput) -> torch.Tensor:
    """(B,) cross-entropy of the screen against what the network itself says of the children; 0 without a screen.

    It weighs as much for each voxel that passes as the loss of occupancy does for a child; where hardly any does, as
    if one in `RARE` did.
    """
    if output.screen is None:
        return output.coarse.new_zeros(len(output.coarse), dtype=torch.float32)
    passes = (output.occupancy.detach() > -WIDER).any(2).float()
    loss = F.binary_cross_entropy_with_logits(output.screen.float(), passes, reduction="none")
    return loss.sum(1) / passes.sum(1).clamp(min=passes.shape[1] / RARE)


def class_weights(frames: list[PreparedFrame]) -> torch.Tensor:
    """(17,) OpenOccupancy's 1 / log(frequency), from voxel counts, scaled to a mean of 1 over the classes."""
    counts = sum(np.bincount(f.semantics[::2, ::2, ::2].ravel(), minlength=256)[:NUM_LABELS] for f in frames)
    weights = 1 / np.log(np.asarray(counts, np.float64) * 8 + 10)
    return torch.tensor(weights / weights[1:].mean(), dtype=torch.float32)
