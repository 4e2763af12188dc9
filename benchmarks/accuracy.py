"""Accuracy of a trained network under several refinements: thresholds on some held-out frames, figures on others."""

from dataclasses import dataclass

import numpy as np
import torch

from models.calibrate import LogitCounts, fit_shifts
from models.data import PreparedFrame, Sample, make_sample, stack
from models.metrics import ConfusionMatrix
from models.occfusion import FuserOutput, OccFusion, entropy
from models.predict import Prediction, labels_of, occupied_logit
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.presample.children import child_voxels, describe_children, is_member
from occfusion_ros.presample.presampler import Presampler

from .rows import ALL, INSIDE, NONE, SHARES

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


def occupied_voxels(model: OccFusion, fuser: FuserOutput) -> torch.Tensor:
    """(T,) bool: coarse voxels with a child that is predicted occupied; what refining "all" refines."""
    semantic = fuser.coarse[0, :, 1:].argmax(1) + 1
    return (fuser.occupancy[0] + model.occupancy_shift[semantic][:, None] > 0).any(1)


def chosen_voxels(model: OccFusion, fuser: FuserOutput, mode: str) -> torch.Tensor:
    """(K,) int64 coarse voxels that a refinement refines.

    The shares are of the number of voxels that "all" refines: "active" takes that many voxels of the highest entropy
    wherever they lie, as the pipeline does, "inside" only among those that are predicted occupied.
    """
    occupied = occupied_voxels(model, fuser)
    if mode == ALL:
        return occupied.nonzero()[:, 0]
    if mode == NONE:
        return torch.empty(0, dtype=torch.long)
    uncertainty = entropy(fuser.coarse[0])
    if mode in INSIDE:
        uncertainty = uncertainty.masked_fill(~occupied, -1)
    return uncertainty.topk(round({**SHARES, **INSIDE}[mode] * int(occupied.sum()))).indices


@torch.inference_mode()
def refine(model: OccFusion, scene: Scene, mode: str, presampler: Presampler) -> Prediction:
    """Refine a scene's voxels, a cacheful at a time."""
    parent = chosen_voxels(model, scene.fuser, mode)
    inputs, refined = scene.sample.inputs, []
    for part in parent.split(CHUNK):
        children = describe_children(part, presampler, inputs.image_from_grid, inputs.returns).engine_inputs()
        refined.append(model.refine(scene.fuser, **{k: v[None] for k, v in children.items()},
                                    count=len(scene.sample.features[0]))[0])
    return Prediction(scene.fuser, torch.cat(refined), parent, scene.returned, scene.sample.targets.children)


def fit_occupancy(model: OccFusion, scenes: list[Scene]) -> float:
    """Set the thresholds of unrefined voxels; returns the IoU that they give."""
    counts, totals = LogitCounts(), np.zeros(3)  # occupied and free voxels with a return, all occupied voxels
    for scene in scenes:
        truth = scene.sample.targets.children
        known, occupied = truth != IGNORE, truth > 0
        label = (scene.fuser.coarse[0, :, 1:].argmax(1) + 1)[:, None].expand_as(truth)
        counts.add(scene.fuser.occupancy[0], label, occupied, known & ~scene.returned)
        returned = known & scene.returned
        totals += [(returned & occupied).sum(), (returned & ~occupied).sum(), (known & occupied).sum()]
    shifts, iou = fit_shifts(counts, *totals)
    model.occupancy_shift.copy_(torch.from_numpy(shifts))
    return iou


def fit_refined(model: OccFusion, scenes: list[Scene], mode: str, presampler: Presampler, iou: float) -> None:
    """Set the thresholds of the voxels that a refinement refines."""
    counts = LogitCounts()
    for scene in scenes:
        result = refine(model, scene, mode, presampler)
        truth, at = result.truth, result.parent
        known = (truth != IGNORE) & ~result.returned
        counts.add(occupied_logit(result.refined), result.refined[..., 1:].argmax(-1) + 1, (truth > 0)[at], known[at])
    model.refined_shift.copy_(torch.from_numpy(counts.best_shifts(iou)))


def measure(model: OccFusion, fit_on: list[PreparedFrame], test_on: list[PreparedFrame],
            modes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """By refinement: `iou`, `miou`, `refined` (coarse voxels of a frame, mean); thresholds are fitted for each."""
    model.eval()
    presampler = Presampler(model.config.presample)
    scenes = [look(model, frame, presampler) for frame in fit_on]
    iou = fit_occupancy(model, scenes)
    shifts = {}
    for mode in modes:
        fit_refined(model, scenes, mode, presampler, iou)
        shifts[mode] = model.refined_shift.clone()
    matrices, refined = {mode: ConfusionMatrix() for mode in modes}, dict.fromkeys(modes, 0)
    for frame in test_on:
        scene = look(model, frame, presampler)
        for mode in modes:
            model.refined_shift.copy_(shifts[mode])
            result = refine(model, scene, mode, presampler)
            matrices[mode].add(labels_of(model, result).numpy(), result.truth.numpy())
            refined[mode] += len(result.parent)
    return {mode: {"iou": matrix.iou(), "miou": matrix.miou(), "refined": refined[mode] / len(test_on)}
            for mode, matrix in matrices.items()}
