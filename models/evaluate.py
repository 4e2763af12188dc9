"""Accuracy of an exported artefact on labelled frames: `python -m models.evaluate --data ROOT --artefact FOLDER`.

Runs the very pipeline that the robot runs on every sample that has an occupancy truth, and prints geometric IoU and
mIoU over the observed voxels (truth 255 is ignored).
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.core.errors import DatasetError, OccFusionError
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.runtime.pipeline import Pipeline

from .metrics import ConfusionMatrix


def labelled_samples(reader: NuScenesReader, scenes: list[str] | None) -> list[tuple[str, np.ndarray]]:
    """(sample token, truth) of every sample that has an occupancy truth."""
    tokens = [token for scene in scenes or reader.scenes() for token in reader.samples(scene)]
    pairs = [(token, reader.occupancy(token)) for token in tokens]
    labelled = [(token, truth) for token, truth in pairs if truth is not None]
    if not labelled:
        raise DatasetError(f"no sample with an occupancy truth among {len(tokens)} samples of {reader.root}")
    return labelled


def evaluate(pipeline: Pipeline, reader: NuScenesReader, scenes: list[str] | None = None) -> dict[str, Any]:
    """Figures over all labelled samples; see `report` for the fields."""
    matrix = ConfusionMatrix()
    samples = labelled_samples(reader, scenes)
    for token, truth in tqdm(samples, "evaluating", unit="frame"):
        matrix.add(pipeline(reader.frame(token)).labels, truth)
    return report(matrix, len(samples))


def report(matrix: ConfusionMatrix, frames: int) -> dict[str, Any]:
    """`iou`, `miou`, `per_class` (None where the truth lacks the class), `classes_present`, `frames`."""
    values, present = matrix.class_iou(), matrix.present()
    per_class = {c.name: float(v) if there else None for c, v, there in zip(OPENOCCUPANCY_CLASSES, values, present)}
    return {"iou": matrix.iou(), "miou": matrix.miou(), "per_class": per_class,
            "classes_present": int(present.sum()), "frames": frames}


def print_report(figures: dict[str, Any]) -> None:
    """A table for people."""
    for name, value in figures["per_class"].items():
        print(f"  {name:22s} {'absent' if value is None or math.isnan(value) else f'{value:.3f}'}")
    print(f"IoU {figures['iou']:.3f}   mIoU {figures['miou']:.3f} over {figures['classes_present']} classes present, "
          f"{figures['frames']} frames, observed voxels only")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data root in the nuScenes format")
    parser.add_argument("--artefact", type=Path, default=Path("models/zoo/nano"), help="exported model (%(default)s)")
    parser.add_argument("--scene", action="append", help="only this scene; may be given again")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--refine", default="active", choices=("none", "all", "active"))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(argv)
    try:
        pipeline = Pipeline.load(options.artefact, options.backend, options.refine)
        figures = evaluate(pipeline, NuScenesReader(options.data), options.scene)
    except OccFusionError as error:
        parser.exit(2, f"evaluate: {error}\n")
    print_report(figures)
    if options.json:
        options.json.write_text(json.dumps({"model": pipeline.contract.model_id, **figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
