"""Fit the occupancy thresholds of trained weights: `python -m models.training.calibrate WEIGHTS OUT`.

Networks trained with overlap losses are over-confident, and differently so by class. One shift of the logit for each
class is fitted to the best geometric IoU on held-out synthetic drives, whose truth is what their sweeps observe, and
stored in the weights.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.labels import IGNORE, NUM_LABELS, THINGS
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.presample.presampler import Presampler
from synthetic.seeds import VALIDATION

from ..evaluation.metrics import ConfusionMatrix
from .augment import crop
from .data import PreparedFrame
from .logit_adjustment import adjust, returns_by_class
from .predict import Prediction, coarse_label, labels_of, occupied_logit, predict
from .prepare import prepare_all

EDGES = np.linspace(-12, 12, 481)
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
        """(17,) shifts that maximize hits - iou * false alarms; a class with too few voxels takes that of its kind.

        Objects (cars, people, ...) are few: weighed against the whole scene they would best be left out. They are
        weighed against their own best IoU instead, where that is lower.
        """
        shifts = np.zeros(NUM_LABELS)
        for kind, weigh in (
            (slice(0, max(THINGS) + 1), lambda *counts: min(iou, _best_iou(*counts))),
            (slice(max(THINGS) + 1, None), lambda *counts: iou),
        ):
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
    """The shift that maximizes hits - iou * false alarms of two histograms (bins,)."""
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


def calibrate(model: OccFusion, frames: list[PreparedFrame]) -> ConfusionMatrix:
    """Set both shifts of the model; returns the confusion matrix that they give on the same frames."""
    presampler = Presampler(model.config.presample)

    def predictions(why: str) -> Iterator[Prediction]:
        return (predict(model, frame, presampler) for frame in tqdm(frames, why, unit="frame"))

    iou = fit_occupancy(model, predictions("fitting"))
    print(f"IoU without refinement {iou:.3f}")
    fit_refined(model, predictions("fitting the refined"), iou)  # which voxels are refined depends on the first fit
    return measure(model, frames)


def measure(model: OccFusion, frames: list[PreparedFrame]) -> ConfusionMatrix:
    """The confusion matrix of a model's labels on frames."""
    presampler, matrix = Presampler(model.config.presample), ConfusionMatrix()
    for frame in tqdm(frames, "measuring", unit="frame"):
        result = predict(model, frame, presampler)
        matrix.add(labels_of(model, result).numpy(), result.truth.numpy())
    return matrix


def fit_occupancy(model: OccFusion, predictions: Iterable[Prediction]) -> float:
    """Set the thresholds of unrefined voxels; returns the IoU that they give."""
    counts, totals = LogitCounts(), np.zeros(3)  # occupied and free voxels with a return, all occupied voxels
    for result in predictions:
        known, occupied = result.truth != IGNORE, result.truth > 0
        label = coarse_label(result)[:, None].expand_as(result.truth)
        counts.add(result.fuser.occupancy[0], label, occupied, known & ~result.returned)
        returned = known & result.returned
        totals += [(returned & occupied).sum(), (returned & ~occupied).sum(), (known & occupied).sum()]
    shifts, iou = fit_shifts(counts, *totals)
    model.occupancy_shift.copy_(torch.from_numpy(shifts))
    return iou


def fit_refined(model: OccFusion, predictions: Iterable[Prediction], iou: float) -> None:
    """Set the thresholds of the voxels that a refinement refines, for the given IoU of the whole."""
    counts = LogitCounts()
    for result in predictions:
        at = result.parent
        known = ((result.truth != IGNORE) & ~result.returned)[at]
        label = result.refined[..., 1:].argmax(-1) + 1
        counts.add(occupied_logit(result.refined), label, (result.truth > 0)[at], known)
    model.refined_shift.copy_(torch.from_numpy(counts.best_shifts(iou)))


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m models.training.calibrate", __doc__)
    parser.add_argument("weights", type=Path, help="weights.safetensors of models.train")
    parser.add_argument("out", type=Path, help="where to write the calibrated weights")
    parser.add_argument("--frames", type=Path, required=True, help="folder of validation frames, filled where needed")
    parser.add_argument("--drives", type=int, default=6, help="held-out drives, 4 frames each (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--priors",
        type=Path,
        metavar="FRAMES",
        help="folder of the training frames, whose class frequencies are brought part of the way to "
        "those of real traffic first (see models/training/logit_adjustment.py)",
    )
    options = parser.parse_args(argv)
    if options.drives < 1 or options.workers < 1:
        parser.error(f"--drives and --workers: expected 1 or more, got {options.drives} and {options.workers}")
    with one_sentence(parser, "calibrate"):
        run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Calibrate as the command line says."""
    model, metadata = load_checkpoint(options.weights)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.priors:
        first = sorted(options.priors.glob("*_0.npz"))  # of each drive
        if not first:
            raise DatasetError(f"--priors: expected prepared frames of synthetic drives in {options.priors}, got none")
        adjust(model, returns_by_class(first))
        metadata["trained_on"] += "; objects brought half way to their frequencies in nuScenes"
    seeds = VALIDATION[: options.drives]
    paths = prepare_all(options.frames, seeds, model.config.presample, options.workers, weights=options.weights)
    frames = [crop(PreparedFrame.load(path), model.config.presample.grid) for path in paths]
    matrix = calibrate(model, frames)
    metadata["accuracy"] = {
        "synthetic validation (thresholds fitted on it)": {
            "iou": round(matrix.iou(), 4),
            "miou": round(matrix.miou(), 4),
            "frames": len(paths),
        }
    }
    print(metadata["accuracy"])
    save_checkpoint(options.out, model, metadata)


if __name__ == "__main__":
    raise SystemExit(main())
