"""Accuracy of a trained network under several refinements: thresholds on some held-out frames, figures on others."""

from dataclasses import dataclass

import torch

from models.evaluation.metrics import ConfusionMatrix
from models.training.calibrate import fit_occupancy, fit_refined
from models.training.data import PreparedFrame, Sample, make_sample, stack
from models.training.predict import Prediction, labels_of, occupied_voxels
from occfusion_ros.network.occfusion import FuserOutput, OccFusion, entropy
from occfusion_ros.presample.children import child_voxels, describe_children, is_member
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.selection import most_uncertain

from .variants import ALL, ANYWHERE, NONE, SHARES

CHUNK = 512  # coarse voxels that are refined at once


@dataclass
class Scene:
    """A frame after the fuser; `returned` is (T, 64) bool, children that hold a return of the sweep."""

    sample: Sample
    fuser: FuserOutput
    returned: torch.Tensor


@torch.inference_mode()
def look(model: OccFusion, frame: PreparedFrame, presampler: Presampler) -> Scene:
    """Run the fuser on a prepared frame of the presampler's grid."""
    sample = make_sample(frame, presampler)
    batch, features = stack([sample])
    config = presampler.config
    everything = child_voxels(torch.arange(presampler.coarse.num_voxels), config.grid, config.coarse_factor)
    return Scene(sample, model.fuse(features, **batch), is_member(everything, sample.inputs.returns))


def chosen_voxels(model: OccFusion, fuser: FuserOutput, mode: str) -> torch.Tensor:
    """(K,) int64 coarse voxels that a refinement refines.

    The shares are of the number of voxels that "all" refines, which are those that are predicted occupied: "active"
    takes the most uncertain of them, as the pipeline does, "anywhere" as many of all voxels.
    """
    occupied = occupied_voxels(model, fuser)
    if mode == ALL:
        return occupied.nonzero()[:, 0]
    if mode == NONE:
        return torch.empty(0, dtype=torch.long)
    count = round({**SHARES, **ANYWHERE}[mode] * int(occupied.sum()))
    among = torch.ones_like(occupied) if mode in ANYWHERE else occupied
    return most_uncertain(entropy(fuser.coarse[0]), among, count)


@torch.inference_mode()
def refine(model: OccFusion, scene: Scene, mode: str, presampler: Presampler) -> Prediction:
    """Refine a scene's voxels, a cacheful at a time."""
    parent = chosen_voxels(model, scene.fuser, mode)
    inputs, refined = scene.sample.inputs, []
    for part in parent.split(CHUNK):
        children = describe_children(part, presampler, inputs.image_from_grid, inputs.returns).network_inputs()
        refined.append(
            model.refine(scene.fuser, **{k: v[None] for k, v in children.items()}, count=len(scene.sample.features[0]))[
                0
            ]
        )
    return Prediction(scene.fuser, torch.cat(refined), parent, scene.returned, scene.sample.targets.children)


def measure(
    model: OccFusion, fit_on: list[PreparedFrame], test_on: list[PreparedFrame], modes: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """By refinement: `iou`, `miou`, `refined` (coarse voxels of a frame, mean); thresholds are fitted for each."""
    model.eval()
    presampler = Presampler(model.config.presample)
    scenes = [look(model, frame, presampler) for frame in fit_on]
    iou = fit_occupancy(model, (refine(model, scene, NONE, presampler) for scene in scenes))
    shifts = {}
    for mode in modes:
        fit_refined(model, (refine(model, scene, mode, presampler) for scene in scenes), iou)
        shifts[mode] = model.refined_shift.clone()
    matrices, refined = {mode: ConfusionMatrix() for mode in modes}, dict.fromkeys(modes, 0)
    for frame in test_on:
        scene = look(model, frame, presampler)
        for mode in modes:
            model.refined_shift.copy_(shifts[mode])
            result = refine(model, scene, mode, presampler)
            matrices[mode].add(labels_of(model, result).numpy(), result.truth.numpy())
            refined[mode] += len(result.parent)
    return {
        mode: {"iou": matrix.iou(), "miou": matrix.miou(), "refined": refined[mode] / len(test_on)}
        for mode, matrix in matrices.items()
    }
