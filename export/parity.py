"""Do exported networks answer as PyTorch does? `python -m export.parity ARTIFACT --data ROOT`.

Every backend and precision that runs here is compared with PyTorch on the artifact's weights in float32 on real frames,
through the robot's pipeline: tensors, labels, and, where frames have an occupancy truth, IoU and mIoU.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from models.evaluate import samples
from models.evaluation.metrics import ConfusionMatrix
from occfusion_ros.core.atomic import write_text
from occfusion_ros.core.command import one_sentence, parser_of
from occfusion_ros.core.contract import ModelContract
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.processor import this_processor
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.wrappers import RefinerNetwork, networks_of
from occfusion_ros.presample.presampler import FusedVoxels
from occfusion_ros.runtime.artifact import NETWORKS, load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.backends.registry import BACKENDS, unavailable_reason
from occfusion_ros.runtime.backends.torch_backend import TorchBackend
from occfusion_ros.runtime.candidates import BY_ROW
from occfusion_ros.runtime.pipeline import Pipeline
from occfusion_ros.runtime.selection import any_child

from .frames import parity_frames, recorded_frames

Tensors = dict[str, torch.Tensor]

CONFIDENCES = {
    "fuser occupancy": 16,
    "fuser semantic_confidence": 32,  # of empty voxels too, whose class INT8 hardly knows
    "refiner occupancy": 16,
    "refiner class_confidence": 32,
}
"""By how many steps of a byte they may differ; whether a voxel is occupied is compared by itself."""
MIOU_LOSS = 0.01  # largest loss in any precision, of the mIoU of the reference


@dataclass(frozen=True)
class Limit:
    """What a precision must keep.

    Attributes:
        relative: largest error of a float output, relative to the tensor's largest value; None for no limit.
        agreement: least share of equal labels.
        occupied: least share of equal labels among the voxels that either side calls occupied.
    """

    relative: float | None
    agreement: float
    occupied: float


LIMITS = {
    "fp32": Limit(1e-3, 0.9999, 0.9999),
    "fp16": Limit(None, 0.999, 0.995),
    "bf16": Limit(None, 0.98, 0.9),
    # What INT8 may lose is said by MIOU_LOSS.
    "int8": Limit(None, 0.85, 0.8),
}


@dataclass(frozen=True)
class Comparison:
    """One quantity on one frame.

    Attributes:
        frame: which frame. quantity: network output, or the whole grid with a refinement mode.
        max_abs, relative: largest difference, and that over the largest reference value (float tensors).
        agreement, occupied: share of equal values (labels), of all and of those that either side calls occupied:
            nearly all of a grid is empty, and would hide a disagreement.
    """

    frame: str
    quantity: str
    max_abs: float | None = None
    relative: float | None = None
    agreement: float | None = None
    occupied: float | None = None

    def keeps(self, limit: Limit) -> bool:
        """Within the limit? Not a number is not."""
        if self.agreement is not None:
            return self.agreement >= limit.agreement and self.occupied >= limit.occupied
        return math.isfinite(self.relative) if limit.relative is None else self.relative <= limit.relative


@dataclass
class Report:
    """What one backend says beside the reference.

    Attributes:
        backend, precision: which. comparisons: by frame and quantity.
        iou, miou: on the labeled frames, (reference, this backend); None without labels.
        frame_ms: time of the first frame, milliseconds, when it was seen before.
    """

    backend: str
    precision: str
    comparisons: list[Comparison] = field(default_factory=list)
    iou: tuple[float, float] | None = None
    miou: tuple[float, float] | None = None
    frame_ms: float = math.nan

    @property
    def failures(self) -> list[str]:
        """What misses its limit."""
        failed = [f"{c.quantity} on {c.frame}" for c in self.comparisons if not c.keeps(LIMITS[self.precision])]
        if self.miou and self.miou[1] < self.miou[0] * (1 - MIOU_LOSS):
            failed.append(f"mIoU {self.miou[1]:.4f} against {self.miou[0]:.4f}")
        return [f"{self.backend} {self.precision}: {failure}" for failure in failed]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what applies, and whether it passed; without times, which hang on what else the machine does."""
        values = {key: value for key, value in asdict(self).items() if key != "frame_ms"}
        return {
            **values,
            "passed": not self.failures,
            "comparisons": [
                {key: value for key, value in asdict(c).items() if value is not None} for c in self.comparisons
            ],
        }


def compare(frame: str, quantity: str, got: torch.Tensor, reference: torch.Tensor, within: int = 0) -> Comparison:
    """Compare two tensors of one shape and dtype; bytes count as equal that differ by no more than `within`."""
    if got.shape != reference.shape or got.dtype != reference.dtype:
        raise ValueError(
            f"{quantity}: expected {reference.dtype} {tuple(reference.shape)}, got {got.dtype} {tuple(got.shape)}"
        )
    if not reference.is_floating_point():
        occupied = (got != 0) | (reference != 0)
        equal = (got.int() - reference.int()).abs() <= within if within else got == reference
        shares = _share(equal, equal.numel()), _share(equal & occupied, int(occupied.count_nonzero()))
        return Comparison(frame, quantity, None, None, *shares)
    error = (got - reference).abs().max().item()
    return Comparison(frame, quantity, error, error / max(reference.abs().max().item(), 1e-12))


def _share(true: torch.Tensor, of: int) -> float:
    return int(true.count_nonzero()) / of if of else 1.0


def eager_pipeline(model: OccFusion, contract: Any) -> Pipeline:  # ModelContract
    """The network itself as a pipeline, on the CPU in float32: the reference of an export."""
    halves = zip(networks_of(model), NETWORKS, (contract.fuser, contract.refiner))
    return Pipeline(
        contract, *(TorchBackend(net, name, spec, "fp32", torch.device("cpu")) for net, name, spec in halves)
    )


def runnable(folder: Path, wanted: Iterable[str] = BACKENDS) -> Iterator[tuple[str, str]]:
    """(backend, precision) of everything that runs an artifact here, of the backends that are wanted."""
    spec = load_artifact(folder).contract.fuser
    for name in wanted:
        if reason := unavailable_reason(name):
            print(f"not compared: {reason}", flush=True)
        else:
            yield from ((name, precision) for precision in BACKENDS[name]().precisions(spec))


@dataclass(frozen=True)
class Expected:
    """What the reference says of one frame.

    Attributes:
        images, voxels: what the fuser is fed with. fused: its outputs. parents: (K,) voxels that are refined.
        answers: see `answers_of`.
    """

    images: torch.Tensor
    voxels: FusedVoxels
    fused: Tensors
    parents: torch.Tensor
    answers: Tensors


class Reference:
    """The network in PyTorch, and what it says of the frames on which networks are compared.

    Args:
        pipeline: runs on the CPU. frames: by name. labeled: frames with their occupancy truth, for accuracy.
    """

    def __init__(
        self, pipeline: Pipeline, frames: dict[str, SensorFrame], labeled: list[tuple[SensorFrame, np.ndarray]]
    ) -> None:
        self.frames, self.labeled = frames, labeled
        self.expected = {
            name: self._expect(pipeline, frame) for name, frame in tqdm(frames.items(), "reference", unit="frame")
        }
        self.matrix = accuracy(pipeline, labeled) if labeled else None

    @staticmethod
    def _expect(pipeline: Pipeline, frame: SensorFrame) -> Expected:
        images, voxels = pipeline.presampler.prepare_images(frame), pipeline.presampler(frame)
        fused = copied(pipeline.fuse(images, voxels))
        parents = pipeline.select(pipeline.candidates(fused, voxels.returns))
        return Expected(images, voxels, fused, parents, answers_of(pipeline, images, voxels, fused, parents))


def examine(folder: Path, backend: str, precision: str, reference: Reference) -> Report:
    """One backend beside the reference."""
    pipeline = Pipeline.load(folder, backend, settings=BackendSettings(precision=precision))
    report = Report(backend, precision)
    for name in tqdm(reference.frames, f"{backend} {precision}", unit="frame"):
        expected = reference.expected[name]
        got = answers_of(pipeline, expected.images, expected.voxels, expected.fused, expected.parents)
        report.comparisons += [
            compare(name, quantity, got[quantity], value, CONFIDENCES.get(quantity, 0))
            for quantity, value in expected.answers.items()
        ]
    first = next(iter(reference.frames.values()))
    report.frame_ms = pipeline(first).stage_ms["total"]
    if reference.matrix:
        ours, theirs = reference.matrix, accuracy(pipeline, reference.labeled)
        report.iou, report.miou = (ours.iou(), theirs.iou()), (ours.miou(), theirs.miou())
    return report


def answers_of(
    pipeline: Pipeline, images: torch.Tensor, voxels: FusedVoxels, fed: Tensors, parents: torch.Tensor
) -> Tensors:
    """All that a pipeline says of a frame, on the CPU.

    The refiner is fed with `fed`, and `parents` are refined, whatever pipeline it is: which of many equally uncertain
    voxels come among the first K is chance. That the selection is as good shows in "uncertainty, top K".
    """
    device = pipeline.fuser.device
    voxels, parents, fed = voxels.to(device), parents.to(device), copied(fed, device)
    fused = copied(pipeline.fuse(images.to(device), voxels), device)
    refined, of_reference = (pipeline.classify_children(said, voxels, parents) for said in (fused, fed))
    unrefined = {name: tensor[:0] for name, tensor in refined.items()}
    candidates = pipeline.candidates(fused, voxels.returns, parents)
    grids = {
        "none": pipeline.compose(candidates, parents[:0], unrefined, voxels.returns),
        "active": pipeline.compose(candidates, parents, refined, voxels.returns),
    }
    grids = {mode: torch.from_numpy(candidates.dense(labels)) for mode, labels in grids.items()}
    total = pipeline.contract.grid.coarse(pipeline.contract.coarse_factor).num_voxels
    fused, expected = of_all_voxels(fused, fed, total), of_all_voxels(fed, fed, total)
    # The class of a voxel in which nothing is comes from nothing, and is told to nobody.
    fused = fused | {"semantic": fused["semantic"] * any_child(expected["occupancy"])}
    answers = {
        **{f"fuser {name}": value for name, value in fused.items() if name != "screened"},
        "fuser occupied": fused["occupancy"] >> 7,
        "uncertainty, top K": fused["uncertainty"].topk(len(parents)).values,
        **{f"refiner {name}": of_reference[name] for name in RefinerNetwork.OUTPUTS},
        **{f"grid, refine {mode}": labels for mode, labels in grids.items()},
    }
    return {name: value.cpu() for name, value in answers.items()}


def of_all_voxels(fused: Tensors, fed: Tensors, total: int) -> Tensors:
    """The fuser's outputs with a row for each of `total` coarse voxels, where a screen makes them fewer: zeros where it
    blocks.

    Rows that only one of `fused` and the reference's `fed` has are the reference's: which voxels near the threshold
    pass is chance, and whether that does harm shows in the grids.
    """
    if "screened" not in fused:
        return fused
    dense = dict(fused)
    ours, theirs = (_spread(said["screened"], torch.ones_like(said["screened"]), total) > 0 for said in (fused, fed))
    for name in BY_ROW:
        own, expected = (_spread(said["screened"], said[name], total) for said in (fused, fed))
        both = (ours & theirs).view(-1, *[1] * (own.dim() - 1))
        dense[name] = torch.where(both, own, expected)
    return dense


def _spread(screened: torch.Tensor, rows: torch.Tensor, total: int) -> torch.Tensor:
    """(M, ...) rows of the (M,) voxels that passed to (total, ...), zeros elsewhere."""
    passed = screened >= 0
    return rows.new_zeros((total, *rows.shape[1:])).index_copy_(0, screened[passed], rows[passed])


def copied(values: Tensors, device: torch.device | str = "cpu") -> Tensors:
    """Copies on a device: the next run of a network overwrites what it returned."""
    return {name: value.clone().to(device) for name, value in values.items()}


def accuracy(pipeline: Pipeline, labeled: list[tuple[SensorFrame, np.ndarray]]) -> ConfusionMatrix:
    """Over the observed voxels of labeled frames."""
    matrix = ConfusionMatrix()
    for frame, truth in labeled:
        matrix.add(pipeline(frame).labels, truth)
    return matrix


def labeled_examples(root: Path | None, count: int, contract: ModelContract) -> list[tuple[SensorFrame, np.ndarray]]:
    """The first frames of a data root that have an occupancy truth, with it; `count` at most, none without a root."""
    if root is None:
        return []
    recorded = recorded_frames(root, contract)
    return [(recorded.frame(scene, token), truth) for scene, token, truth in islice(samples(recorded.reader), count)]


def table(reports: list[Report]) -> str:
    """For people: the worst figures of every backend."""
    lines = [
        f"{'backend':12s} {'precision':9s} {'tensors':>9s} {'labels':>10s} {'occupied':>10s} {'grid':>10s} "
        f"{'IoU':>15s} {'mIoU':>15s} {'frame, ms':>9s}"
    ]
    for r in reports:
        labels = [c for c in r.comparisons if c.agreement is not None]
        worst = [
            min((c.agreement for c in labels), default=1),
            min((c.occupied for c in labels), default=1),
            min((c.occupied for c in labels if c.quantity.startswith("grid")), default=1),
        ]
        errors = [c.relative for c in r.comparisons if c.relative is not None]
        changes = [f"{pair[0]:.4f} {pair[1] - pair[0]:+.4f}" if pair else "-" for pair in (r.iou, r.miou)]
        lines.append(
            f"{r.backend:12s} {r.precision:9s} {max(errors, default=0):9.1e} "
            f"{' '.join(f'{share:10.4%}' for share in worst)} {changes[0]:>15s} {changes[1]:>15s} "
            f"{r.frame_ms:9.0f}  {'ok' if not r.failures else 'FAILED'}"
        )
    return "\n".join(
        [
            *lines,
            "tensors: worst relative error of float outputs; labels: least share of equal ones in any output",
            "and frame; occupied: among the voxels that either side calls occupied; grid: the same of the",
            "pipeline's grids; IoU and mIoU of the reference and their change",
        ]
    )


def as_json(model_id: str, reports: list[Report]) -> str:
    """For machines, with the processor, on which low precisions depend."""
    processor = this_processor()
    report = {
        "model": model_id,
        "reference": "PyTorch",
        "processor": [processor.name, *processor.notable],
        "passed": not any(r.failures for r in reports),
        "backends": [r.to_dict() for r in reports],
    }
    return json.dumps(report, indent=1) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status: 1 where a backend misses its limits."""
    parser = parser_of("python -m export.parity", __doc__)
    parser.add_argument("artifact", type=Path, help="folder of an exported model")
    parser.add_argument("--data", type=Path, help="nuScenes data root (default: synthetic frames)")
    parser.add_argument("--frames", type=int, default=4, help="frames to compare on (%(default)s)")
    parser.add_argument("--labeled", type=int, default=8, help="frames with occupancy truth, at most (%(default)s)")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="only these")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args(argv)
    with one_sentence(parser, "parity"):
        pipeline = Pipeline.load(options.artifact, "torch", settings=BackendSettings(precision="fp32"))
        reference = Reference(
            pipeline,
            parity_frames(options.data, options.frames, pipeline.contract),
            labeled_examples(options.data, options.labeled, pipeline.contract),
        )
        reports = [
            examine(options.artifact, name, precision, reference)
            for name, precision in runnable(options.artifact, options.backend)
        ]
        print(table(reports))
        if options.json:
            write_text(options.json, as_json(pipeline.contract.model_id, reports))
    failures = [failure for report in reports for failure in report.failures]
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
