"""Are exported engines the same function as the PyTorch model? Compared on frames, through the robot's pipeline."""

from dataclasses import asdict, dataclass

import torch
from tqdm import tqdm

from models.occfusion import OccFusion
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.runtime.pipeline import Pipeline

from .wrappers import FuserEngine, RefinerEngine

MAX_RELATIVE_ERROR = 1e-3  # of float outputs, relative to the largest value of the tensor
MIN_AGREEMENT = 0.9999  # share of equal labels among the occupied


class TorchBackend:
    """An engine's wrapper run as it is: the reference."""

    name = "torch"
    device = torch.device("cpu")

    def __init__(self, engine: FuserEngine | RefinerEngine) -> None:
        self.engine = engine.eval()

    @torch.inference_mode()
    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """See `Backend.run`."""
        outputs = self.engine(*(inputs[name] for name in self.engine.INPUTS))
        return dict(zip(self.engine.OUTPUTS, outputs if isinstance(outputs, tuple) else (outputs,)))


@dataclass(frozen=True)
class Comparison:
    """One quantity on one frame.

    Attributes:
        frame: which frame. quantity: engine output, or the whole grid with a refinement mode.
        max_abs, relative: largest difference, and that over the largest reference value (float tensors).
        agreement: share of equal values (labels and booleans) among those that either side calls occupied.
    """

    frame: str
    quantity: str
    max_abs: float | None = None
    relative: float | None = None
    agreement: float | None = None

    @property
    def passed(self) -> bool:
        """Within tolerance? Not a number is not."""
        if self.agreement is not None:
            return self.agreement >= MIN_AGREEMENT
        return self.relative is not None and self.relative <= MAX_RELATIVE_ERROR

    def to_dict(self) -> dict:
        """For JSON: what applies, and whether it passed."""
        return {**{key: value for key, value in asdict(self).items() if value is not None}, "passed": self.passed}


def compare(frame: str, quantity: str, got: torch.Tensor, reference: torch.Tensor) -> Comparison:
    """Compare two tensors of one shape and dtype."""
    if got.shape != reference.shape or got.dtype != reference.dtype:
        raise ValueError(f"{quantity}: expected {reference.dtype} {tuple(reference.shape)}, got {got.dtype} "
                         f"{tuple(got.shape)}")
    if not reference.is_floating_point():
        occupied = (got != 0) | (reference != 0)  # nearly all of a grid is empty, and would hide any disagreement
        agreement = (got == reference)[occupied].double().mean().item() if occupied.any() else 1.0
        return Comparison(frame, quantity, agreement=agreement)
    error = (got - reference).abs().max().item()
    return Comparison(frame, quantity, error, error / max(reference.abs().max().item(), 1e-12))


def parity_report(model: OccFusion, exported: Pipeline, frames: dict[str, SensorFrame]) -> list[Comparison]:
    """Every engine output and the whole grid, unrefined and refined, on every frame."""
    reference = Pipeline(exported.contract, TorchBackend(FuserEngine(model)), TorchBackend(RefinerEngine(model)))
    results = []
    for name, frame in tqdm(frames.items(), "comparing", unit="frame"):
        expected, got = (answer(pipeline, reference, frame) for pipeline in (reference, exported))
        results += [compare(name, quantity, got[quantity], value) for quantity, value in expected.items()]
    return results


def answer(pipeline: Pipeline, reference: Pipeline, frame: SensorFrame) -> dict[str, torch.Tensor]:
    """All that a pipeline says of a frame.

    The refiner is fed by the reference, and both refine the voxels that the reference selects: which of many equally
    uncertain voxels come among the first K is chance. That the selection is as good shows in "uncertainty, top K".
    """
    inputs = reference.presampler(frame).to(reference.fuser.device)
    fused, fed = pipeline.fuser.run(inputs.engine_inputs()), reference.fuser.run(inputs.engine_inputs())
    parents = reference.select(fed)
    refined = pipeline.classify_children(fused, inputs, parents)
    return {
        **{f"fuser {name}": fused[name] for name in FuserEngine.OUTPUTS},
        "uncertainty, top K": fused["uncertainty"].topk(len(parents)).values,
        "refiner labels": pipeline.classify_children(fed, inputs, parents),
        "grid, refine none": torch.from_numpy(pipeline.compose(fused, parents[:0], refined[:0], inputs.returns)),
        "grid, refine active": torch.from_numpy(pipeline.compose(fused, parents, refined, inputs.returns)),
    }


def print_table(results: list[Comparison]) -> None:
    """A table for people."""
    print(f"{'frame':30s} {'quantity':22s} {'max abs':>10s} {'relative':>10s} {'agreement':>11s}")
    for r in results:
        numbers = [f"{r.max_abs:10.2e}" if r.max_abs is not None else " " * 10,
                   f"{r.relative:10.2e}" if r.relative is not None else " " * 10,
                   f"{r.agreement:11.4%}" if r.agreement is not None else " " * 11]
        print(f"{r.frame:30s} {r.quantity:22s} {' '.join(numbers)}  {'ok' if r.passed else 'FAILED'}")
