"""Fit the occupancy thresholds of trained weights: `python -m models.calibrate WEIGHTS OUT`.

Networks trained with overlap losses are over-confident, and differently so by class. One shift of the logit for each
class is fitted to the best geometric IoU on held-out synthetic drives, whose truth is what their sweeps observe, and
stored in the weights.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.labels import IGNORE, NUM_LABELS
from occfusion_ros.presample.presampler import Presampler

from .augment import crop
from .checkpoint import load_checkpoint, save_checkpoint
from .data import PreparedFrame
from .metrics import ConfusionMatrix
from .occfusion import OccFusion
from .predict import coarse_label, labels_of, occupied_logit, predict
from .prepare import prepare_all

VALIDATION_SEED = 900_000
EDGES = np.linspace(-12, 12, 481)
LAST_OBJECT = 10  # labels up to this one are things, the others ground and background
ENOUGH = 300  # occupied voxels from which on a class has a threshold of its own


class LogitCounts:
    """Histograms of logits by predicted label: `occupied` and `free` are (17, bins) counts of voxels."""

    def __init__(self) -> None:
        self.occupied = np.zeros((NUM_LABELS, len(EDGES) - 1))
        self.free = np.zeros_like(self.occupied)

    def add(self, logit: torch.Tensor, label: torch.Tensor, occupied: torch.Tensor, known: torch.Tensor) -> None:
        """Count voxels; tensors of one shape: float logit, predicted label, bool truth, bool whether it is known."""
        bins = np.clip(np.searchsorted(EDGES, logit[known].numpy(), "right") - 1, 0, len(EDGES) - 2)
        index = label[known].long().numpy() * (len(EDGES) - 1) + bins
        for counts, chosen in ((self.occupied, occupied[known].numpy()), (self.free, ~occupied[known].numpy())):
            counts += np.bincount(index[chosen], minlength=counts.size).reshape(counts.shape)

    def best_shifts(self, iou: float) -> np.ndarray:
        """(17,) shifts that maximise hits - iou * false alarms; a class with too few voxels takes that of its kind.

        Objects (cars, people, ...) are few: weighed against the whole scene they would best be left out. They are
        weighed against their own best IoU instead, where that is lower.
        """
        shifts = np.zeros(NUM_LABELS)
        for kind, weigh in ((slice(0, LAST_OBJECT + 1), lambda *counts: min(iou, _best_iou(*counts))),
                            (slice(LAST_OBJECT + 1, None), lambda *counts: iou)):
            common = self.occupied[kind].sum(0), self.free[kind].sum(0)
            own = zip(self.occupied[kind], self.free[kind])
            chosen = [counts if counts[0].sum() >= ENOUGH else common for counts in own]
            shifts[kind] = [_best_shift(*counts, weigh(*counts)) for counts in chosen]
        return shifts

    def kept(self, shifts: np.ndarray) -> tuple[float, float]:
        """(hits, false alarms) that the shifts give."""
        kept = EDGES[:-1] >= -shifts[:, None] - 1e-9
        return float(self.occupied[kept].sum()), float(self.free[kept].sum())


def _best_shift(occupied: np.ndarray, free: np.ndarray, iou: float) -> float:
    """The shift that maximises hits - iou * false alarms of two histograms (bins,)."""
    return -EDGES[int(np.cumsum((occupied - iou * free)[::-1])[::-1].argmax())]


def _best_iou(occupied: np.ndarray, free: np.ndarray) -> float:
    """The best IoU that one threshold on two histograms (bins,) gives."""
    hits, false = np.cumsum(occupied[::-1]), np.cumsum(free[::-1])
    return float((hits / np.maximum(occupied.sum() + false, 1)).max())


def fit_shifts(counts: LogitCounts, hits: float, false: float, occupied: float) -> tuple[np.ndarray, float]:
    """Shifts (17,) of the best IoU, and that IoU, by Dinkelbach's method for ratios (Management Science 13, 1967).

    Args:
        counts: logits of the voxels to decide on.
        hits, false: voxels that are kept anyway, occupied and free; occupied: all occupied voxels.
    """
    iou = hits / (occupied + false)
    while True:
        shifts = counts.best_shifts(iou)
        more, wrong = counts.kept(shifts)
        better = (hits + more) / (occupied + false + wrong)
        if better <= iou + 1e-6:
            return shifts, better
        iou = better


def leave_out(model: OccFusion, level: int, frames: list[PreparedFrame]) -> None:
    """Replace a level of image features by its mean over the frames, for good: the network no longer reads it."""
    mean = np.mean([frame.features[level].mean((0, 2, 3), np.float32) for frame in frames], 0)  # (C,)
    lateral = model.pyramid.lateral[level]
    lateral.bias += lateral.weight[:, :, 0, 0] @ torch.from_numpy(mean)
    lateral.weight.zero_()


def calibrate(model: OccFusion, frames: list[PreparedFrame]) -> ConfusionMatrix:
    """Set both shifts of the model; returns the confusion matrix that they give on the same frames."""
    presampler = Presampler(model.config.presample)
    coarse, refined, matrix = LogitCounts(), LogitCounts(), ConfusionMatrix()
    totals = np.zeros(3)  # occupied and free voxels with a return, all occupied voxels
    for frame in tqdm(frames, "fitting", unit="frame"):
        result = predict(model, frame, presampler)
        known, occupied, at = result.truth != IGNORE, result.truth > 0, result.parent
        open_question = known & ~result.returned
        label = coarse_label(result)[:, None].expand_as(result.truth)
        coarse.add(result.fuser.occupancy[0], label, occupied, open_question)
        refined.add(occupied_logit(result.refined), result.refined[..., 1:].argmax(-1) + 1, occupied[at],
                    open_question[at])
        returned = known & result.returned
        totals += [(returned & occupied).sum(), (returned & ~occupied).sum(), (known & occupied).sum()]
    shifts, iou = fit_shifts(coarse, *totals)
    model.occupancy_shift.copy_(torch.from_numpy(shifts))
    model.refined_shift.copy_(torch.from_numpy(refined.best_shifts(iou)))
    print(f"IoU without refinement {iou:.3f}")
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
    parser.add_argument("--leave-out", type=int, choices=(0, 1, 2), metavar="LEVEL",
                        help="level of image features (0, 1, 2: stride 8, 16, 32) that the network shall not read: "
                             "synthetic looks may not hold on real images")
    options = parser.parse_args(argv)
    model, metadata = load_checkpoint(options.weights)
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + options.drives)
    paths = prepare_all(options.frames, seeds, model.config.presample, options.workers)
    frames = [crop(PreparedFrame.load(path), model.config.presample.grid) for path in paths]
    if options.leave_out is not None:
        with torch.no_grad():
            leave_out(model, options.leave_out, frames)
        metadata["trained_on"] += f"; image features of level {options.leave_out} left out afterwards"
    matrix = calibrate(model, frames)
    metadata["accuracy"] = {"synthetic validation (thresholds fitted on it)":
                            {"iou": round(matrix.iou(), 4), "miou": round(matrix.miou(), 4), "frames": len(paths)}}
    print(metadata["accuracy"])
    save_checkpoint(options.out, model, metadata)


if __name__ == "__main__":
    main()
