"""Fit the occupancy thresholds of trained weights: `python -m models.calibrate WEIGHTS OUT`.

Networks trained with overlap losses are over-confident; the shift that gives the best IoU is found on held-out
synthetic drives whose truth is what their sweeps observe, and stored in the weights.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.labels import IGNORE
from occfusion_ros.presample.children import describe_children, is_member, child_voxels
from occfusion_ros.presample.presampler import FuserInputs, Presampler

from .checkpoint import load_checkpoint, save_checkpoint
from .data import PreparedFrame, make_sample, prepare_all
from .metrics import ConfusionMatrix
from .occfusion import FuserOutput, OccFusion, entropy
from .train import stack

VALIDATION_SEED = 900_000
EDGES = np.linspace(-12, 12, 481)


class Sweep:
    """IoU as a function of the shift, from histograms of the logits of occupied and of free voxels."""

    def __init__(self) -> None:
        self.occupied = np.zeros(len(EDGES) - 1)
        self.free = np.zeros(len(EDGES) - 1)

    def add(self, logit: torch.Tensor, occupied: torch.Tensor, known: torch.Tensor) -> None:
        """Count voxels; three tensors of one shape."""
        values = logit.clamp(EDGES[0] + 1e-3, EDGES[-1] - 1e-3)
        for histogram, chosen in ((self.occupied, known & occupied), (self.free, known & ~occupied)):
            histogram += np.histogram(values[chosen].numpy(), EDGES)[0]

    def best(self) -> tuple[float, float]:
        """(shift, IoU): the shift makes the best threshold zero."""
        hit = np.cumsum(self.occupied[::-1])[::-1]
        false = np.cumsum(self.free[::-1])[::-1]
        iou = hit / (self.occupied.sum() + false)
        best = int(iou.argmax())
        return -float(EDGES[best]), float(iou[best])


@dataclass
class Prediction:
    """Logits of one frame: fuser output, refined children (K, 64, 17), their parents (K,), children with a return."""

    fuser: FuserOutput
    refined: torch.Tensor
    parent: torch.Tensor
    returned: torch.Tensor
    truth: torch.Tensor


@torch.inference_mode()
def predict(model: OccFusion, frame: PreparedFrame, presampler: Presampler) -> Prediction:
    """Run the network in PyTorch on a prepared frame; truth and `returned` are (T, 64)."""
    sample = make_sample(frame, presampler)
    batch, features = stack([sample])
    fuser = model.fuse(features, **batch)
    parent = entropy(fuser.coarse[0]).topk(model.config.refine_budget).indices
    inputs: FuserInputs = sample.inputs
    children = describe_children(parent, presampler, inputs.image_from_grid, inputs.returns).engine_inputs()
    refined = model.refine(fuser, **{k: v[None] for k, v in children.items()}, count=len(inputs.image_from_grid))[0]
    config = model.config.presample
    everything = child_voxels(torch.arange(model.config.coarse.num_voxels), config.grid, config.coarse_factor)
    return Prediction(fuser, refined, parent, is_member(everything, inputs.returns), sample.targets.children)


def occupied_logit(logits: torch.Tensor) -> torch.Tensor:
    """Log-odds of not being empty, (..., 17) to (...)."""
    return logits[..., 1:].logsumexp(-1) - logits[..., 0]


def labels_of(model: OccFusion, result: Prediction) -> torch.Tensor:
    """(T, 64) uint8: the labels that the pipeline gives, computed from PyTorch logits."""
    semantic = (result.fuser.coarse[0, :, 1:].argmax(1) + 1).byte()[:, None]
    labels = torch.where(result.fuser.occupancy[0] + model.occupancy_shift > 0, semantic, 0)
    fine = (result.refined[..., 1:].argmax(-1) + 1).byte()
    labels[result.parent] = torch.where(occupied_logit(result.refined) + model.refined_shift > 0, fine, 0)
    return torch.where((labels == 0) & result.returned, semantic, labels)


def fit_shifts(model: OccFusion, frames: list[PreparedFrame]) -> ConfusionMatrix:
    """Set both shifts of the model; returns the confusion matrix that they give on the same frames."""
    presampler = Presampler(model.config.presample)
    coarse, refined, matrix = Sweep(), Sweep(), ConfusionMatrix()
    for frame in tqdm(frames, "fitting", unit="frame"):
        result = predict(model, frame, presampler)
        known, occupied = result.truth != IGNORE, result.truth > 0
        coarse.add(result.fuser.occupancy[0], occupied, known & ~result.returned)
        at = result.parent
        refined.add(occupied_logit(result.refined), occupied[at], known[at] & ~result.returned[at])
    for name, sweep in (("occupancy_shift", coarse), ("refined_shift", refined)):
        shift, iou = sweep.best()
        getattr(model, name).fill_(shift)
        print(f"{name} {shift:+.2f}: IoU {iou:.3f} on its voxels without a return")
    for frame in tqdm(frames, "measuring", unit="frame"):
        result = predict(model, frame, presampler)
        matrix.add(labels_of(model, result).numpy(), result.truth.numpy())
    return matrix


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="weights.safetensors of models.train")
    parser.add_argument("out", type=Path, help="where to write the calibrated weights")
    parser.add_argument("--frames", type=Path, required=True, help="folder of validation frames, filled where needed")
    parser.add_argument("--drives", type=int, default=6, help="held-out drives, 4 frames each (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    model, metadata = load_checkpoint(options.weights)
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + options.drives)
    paths = prepare_all(options.frames, seeds, model.config.presample, options.workers, window=3)
    matrix = fit_shifts(model, [PreparedFrame.load(path, model.config.presample.grid) for path in paths])
    metadata["accuracy"] = {"synthetic validation (thresholds fitted on it)":
                            {"iou": round(matrix.iou(), 4), "miou": round(matrix.miou(), 4), "frames": len(paths)}}
    print(metadata["accuracy"])
    save_checkpoint(options.out, model, metadata)


if __name__ == "__main__":
    main()
