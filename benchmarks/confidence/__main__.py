"""Measure whether confidence is true: `python -m benchmarks.confidence --data ROOT [--data ROOT]`.

Frames of synthetic drives on which nothing was fitted, and labeled frames of data roots, are answered twice: with the
probabilities that the networks themselves believe, and with those that were measured (`export.confidence`). On the
synthetic frames the entropy of classes that is estimated is compared with the networks' own, in PyTorch. Figures go to
docs/confidence.json, the page to docs/confidence.md with its picture; --render only writes the page again.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from models.evaluate import samples
from models.evaluation.nuscenes_frames import NuScenesFrames
from models.training.visibility import observed_truth
from occfusion_ros.core.atomic import write_json, write_text
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.pipeline import Pipeline
from synthetic import SyntheticDrive
from synthetic.seeds import VALIDATION

from ..machine import processor
from .entropy import EntropyErrors
from .figures import Reliabilities
from .page import FIGURES, PAGE, page, save_picture

UNFITTED = VALIDATION[6:]  # thresholds are fitted on the first six
IMAGE_SIZE = (396, 704)
INDICES = (8, 24)  # frames of a drive
SHIPPED = (Path("models/zoo/nano"), Path("models/zoo/swift"))

Labeled = Iterable[tuple[SensorFrame, np.ndarray]]


def synthetic(drives: int) -> Labeled:
    """Frames of drives that nothing was fitted on, with what their sweeps observe."""
    for seed in UNFITTED[:drives]:
        drive = SyntheticDrive(seed, image_size=IMAGE_SIZE)
        for index in INDICES:
            made = drive.frame(index)
            yield made.frame, observed_truth(drive, index, made)


def recorded(root: Path) -> Labeled:
    """Labeled frames of a data root."""
    reader = NuScenesReader(root)
    frames = NuScenesFrames(reader)
    for scene, token, truth in samples(reader):
        yield frames.frame(scene, token), truth


def measure(believed: Pipeline, measured: Pipeline, frames: Labeled) -> dict[str, Any]:
    """Figures `before`, as the networks believe, and `after`, as was measured; and the number of `frames`."""
    before, after, count = Reliabilities(), Reliabilities(), 0
    for frame, truth in frames:
        before.add(believed(frame), truth)
        after.add(measured(frame), truth)
        count += 1
    return {"frames": count, "before": before.to_dict(), "after": after.to_dict()}


def entropy(pipeline: Pipeline, frames: Iterable[SensorFrame]) -> dict[str, Any]:
    """Errors of the estimated entropy of classes, by network; the pipeline runs in PyTorch."""
    errors = EntropyErrors(pipeline)
    for frame in frames:
        errors.add(frame)
    return errors.to_dict()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.confidence", __doc__)
    parser.add_argument("--data", type=Path, action="append", default=[], help="data root in the nuScenes format")
    parser.add_argument("--drives", type=int, default=4, help="synthetic drives, two frames each (%(default)s)")
    parser.add_argument(
        "--artifact", type=Path, action="append", default=[], help="exported model; may be given again (nano and swift)"
    )
    parser.add_argument("--backend", default="onnxruntime", help="inference backend (%(default)s)")
    parser.add_argument("--render", action="store_true", help="only write the page again from the figures")
    options = parser.parse_args(argv)
    with one_sentence(parser, "confidence"):
        if not options.render:
            write_json(FIGURES, run(options))
        figures = json.loads(FIGURES.read_text())
        save_picture(figures)
        write_text(PAGE, page(figures))
        print(PAGE)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all models on all data; a root that is not there is left out, and said."""
    made = list(tqdm(synthetic(options.drives), "synthetic", options.drives * len(INDICES), unit="frame"))
    roots = [root for root in options.data if root.is_dir()]
    for root in options.data:
        if root not in roots:
            print(f"not measured: there is no {root}")
    figures: dict[str, Any] = {"machine": processor(), "models": {}}
    for artifact in options.artifact or SHIPPED:
        measured = Pipeline.load(artifact, options.backend)
        believed = Pipeline(replace(measured.contract, confidence=None), measured.fuser, measured.refiner)
        frames: dict[str, Labeled] = {"synthetic": made, **{root.name: recorded(root) for root in roots}}
        figures["backend"] = measured.backend_name
        figures["models"][measured.contract.model_id] = {
            "entropy": entropy(Pipeline.load(artifact, "torch"), (frame for frame, _ in made)),
            "data": {name: measure(believed, measured, labeled) for name, labeled in frames.items()},
        }
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
