"""Measure what the bytes of confidence mean: `python -m export.confidence ARTIFACT --frames FOLDER`.

On held-out synthetic drives, whose truth is what their sweeps observe, it counts how often voxels with each byte are
occupied, and how often their class is right, and writes the two never falling curves that fit best (isotonic
regression: Zadrozny & Elkan, KDD 2002) for each network to the artifact's contract. Labels do not change.
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models.training.augment import crop
from models.training.data import PreparedFrame
from models.training.predict import Prediction, coarse_label, predict
from models.training.prepare import prepare_all
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.confidence import OCCUPIED, Calibration, Confidence
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.wrappers import class_byte, occupancy_byte
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.artifact import load_artifact
from synthetic.seeds import VALIDATION

from .contract import write_contract

BELIEVED = 20
"""Voxels of each byte by which what the network believes weighs: bytes that are rare are not guessed at."""


class Counts:
    """How often what a byte speaks for is so: (256,) `right` and `all`."""

    def __init__(self) -> None:
        self.right, self.all = np.zeros(256), np.zeros(256)

    def add(self, values: torch.Tensor, right: torch.Tensor, counted: torch.Tensor) -> None:
        """Tensors of one shape: uint8, bool whether it is so, bool which to count."""
        for counts, chosen in ((self.all, counted), (self.right, counted & right)):
            counts += np.bincount(values[chosen].numpy(), minlength=256)

    def fit(self, believed: tuple[float, ...]) -> tuple[float, ...]:
        """Probability by byte, never falling; `believed`: where nothing is counted."""
        from sklearn.isotonic import IsotonicRegression

        weights = self.all + BELIEVED
        shares = (self.right + BELIEVED * np.asarray(believed)) / weights
        curve = IsotonicRegression(y_min=0, y_max=1).fit_transform(np.arange(256), shares, sample_weight=weights)
        return tuple(np.maximum.accumulate(curve.round(4)).tolist())


class NetworkCounts:
    """What is counted of one network."""

    def __init__(self) -> None:
        self.occupancy, self.classes = Counts(), Counts()

    def add(self, occupancy: torch.Tensor, classes: torch.Tensor, labels: torch.Tensor, truth: torch.Tensor) -> None:
        """Count children, (N, J): bytes of both kinds, the answered class, and the truth, which may be IGNORE.

        A class is right or wrong where a voxel that is answered to be occupied is so.
        """
        self.occupancy.add(occupancy, truth > 0, truth != IGNORE)
        self.classes.add(classes, labels == truth, (occupancy >= OCCUPIED) & (truth > 0) & (truth != IGNORE))

    def fit(self) -> Calibration:
        """The curves."""
        believed = Calibration()
        return Calibration(self.occupancy.fit(believed.occupancy), self.classes.fit(believed.classes))


def measure(model: OccFusion, predictions: Iterable[Prediction]) -> Confidence:
    """Count all children of frames as the pipeline composes them, and fit the curves of both networks."""
    fuser, refiner = NetworkCounts(), NetworkCounts()
    for result in predictions:
        semantic = coarse_label(result)
        occupancy = occupancy_byte(result.fuser.occupancy[0] + model.occupancy_shift[semantic][:, None])
        occupancy[result.returned] = occupancy[result.returned].clamp(min=OCCUPIED)
        classes = class_byte(result.fuser.coarse[0])[:, None].expand_as(occupancy)
        kept = torch.ones(len(occupancy), dtype=torch.bool)
        kept[result.parent] = False
        labels = semantic[:, None].expand_as(occupancy)
        fuser.add(occupancy[kept], classes[kept], labels[kept], result.truth[kept])
        returned, fine = result.returned[result.parent], result.refined[..., 1:].argmax(-1) + 1
        odds = result.refined[..., 1:].logsumexp(-1) - result.refined[..., 0] + model.refined_shift[fine]
        occupancy = occupancy_byte(odds)
        occupancy[returned] = occupancy[returned].clamp(min=OCCUPIED)
        refiner.add(occupancy, class_byte(result.refined), fine, result.truth[result.parent])
    return Confidence(fuser.fit(), refiner.fit())


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m export.confidence", __doc__)
    parser.add_argument("artifact", type=Path, help="folder of an exported model; its contract is written anew")
    parser.add_argument("--frames", type=Path, required=True, help="folder of validation frames, filled where needed")
    parser.add_argument("--drives", type=int, default=6, help="held-out drives, 4 frames each (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(argv)
    if options.drives < 1 or options.workers < 1:
        parser.error(f"--drives and --workers: expected 1 or more, got {options.drives} and {options.workers}")
    with one_sentence(parser, "confidence"):
        run(options)
    return 0


def run(options: argparse.Namespace) -> None:
    """Measure as the command line says."""
    artifact = load_artifact(options.artifact)
    weights = artifact.folder / artifact.contract.fuser.files["weights"].name
    model, _ = load_checkpoint(weights)
    presampler = Presampler(model.config.presample)
    seeds = VALIDATION[: options.drives]
    paths = prepare_all(options.frames, seeds, model.config.presample, options.workers, weights=weights)
    frames = (crop(PreparedFrame.load(path), model.config.presample.grid) for path in tqdm(paths, "frames"))
    confidence = measure(model, (predict(model, frame, presampler) for frame in frames))
    write_contract(replace(artifact.contract, confidence=confidence), artifact.folder)


if __name__ == "__main__":
    raise SystemExit(main())
