"""What networks cost at their real size.

GMACs, parameters and peak memory by part, for one frame with six cameras, of the shipped `nano`, of `swift`, of
`base` and of a network like M-CONet with the images of `base`; all by one counter.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from tqdm import tqdm

from occfusion_ros.network.occfusion import ModelConfig

from ..ablation.variants import NETWORKS
from .counting import macs
from .networks import CAMERAS, MCONetParts, OccFusionParts, children_of, example
from .peak_memory import MCONET, peak_memory

REPEATS = 7
ALL_OCCUPIED = 7000  # coarse voxels that M-CONet refines: as many as are predicted occupied, see docs/results.md


@torch.inference_mode()
def count_parts(network: OccFusionParts | MCONetParts) -> dict[str, dict[str, float]]:
    """`gmacs` and `params_m` (millions) by part and in `total`."""
    parts = {}
    for part, call in network.calls().items():
        weights = sum(p.numel() for module in network.modules()[part] for p in module.parameters())
        parts[part] = {"gmacs": macs(call)[0] / 1e9, "params_m": weights / 1e6}
    return {**parts, "total": {key: sum(part[key] for part in parts.values()) for key in ("gmacs", "params_m")}}


def count(config: ModelConfig, refined: int) -> dict[str, float]:
    """GMACs of one frame by part with `refined` coarse voxels refined, and parameters in millions."""
    device = "cpu" if config.fusion == "lift_splat" else "meta"  # where pixels land depends on values
    parts = count_parts(OccFusionParts(config, refined, device))
    gmacs = {"image branch": 0.0, **{part: figures["gmacs"] for part, figures in parts.items()}}
    return {**gmacs, "parameters": parts["total"]["params_m"]}


def network_costs() -> list[dict[str, Any]]:
    """A row for each model and part: `model`, `part`, `gmacs`, `params_m`, `peak_mib`."""
    rows = []
    for name in tqdm([*NETWORKS, MCONET], "counting", unit="model"):
        refined = ALL_OCCUPIED if name == MCONET else NETWORKS[name].refine_budget
        network = (
            MCONetParts(NETWORKS["base"].presample.image_size, refined, "meta")
            if name == MCONET
            else OccFusionParts(NETWORKS[name], refined, "meta")
        )
        peak = peak_memory(name, refined)
        rows += [
            {"model": name, "part": part, **figures, "peak_mib": peak[part]}
            for part, figures in count_parts(network).items()
        ]
    return rows


class Forward:
    """A forward pass of a network with random weights: image branch, fuser, refiner of `refined` voxels."""

    def __init__(self, config: ModelConfig, refined: int) -> None:
        self.config, self.parts = config, OccFusionParts(config, 1)
        self._example = example(config)
        self.choose(refined)

    def choose(self, refined: int) -> None:
        """Let so many voxels be refined from now on."""
        parts = torch.arange(refined).split(ModelConfig.refine_budget)  # the pipeline refines so many at once
        self.children = [children_of(part, *self._example) for part in parts]

    @torch.inference_mode()
    def __call__(self) -> dict[str, float]:
        """Seconds of the parts; without images the image branch does not run."""
        times = {"image branch": 0.0, "fuser": 0.0}
        for part, call in self.parts.calls().items():
            if part != "refiner":
                times[part if part == "image branch" else "fuser"] += seconds(call)
        return {**times, "refiner": seconds(self.refine)}

    def refine(self) -> None:
        """Classify the children of all voxels that are to be refined."""
        for part in self.children:
            self.parts.model.refine(self.parts.fused, **part, count=CAMERAS)


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare_times(one: Forward, other: Forward, repeats: int = REPEATS) -> dict[str, float]:
    """Median seconds of `other` by part and in total, and `relative`: its total as a multiple of that of `one`.

    The two take turns, so that whatever else the machine does meets both alike.
    """
    one(), other()
    rounds = [(one(), other()) for _ in range(repeats)]
    times = {part: statistics.median(theirs[part] for _, theirs in rounds) for part in rounds[0][1]}
    total = statistics.median(sum(theirs.values()) for _, theirs in rounds)
    relative = statistics.median(sum(theirs.values()) / sum(ours.values()) for ours, theirs in rounds)
    return {**times, "total": total, "relative": relative}


@torch.inference_mode()
def refiner_times(config: ModelConfig, counts: Iterable[int], repeats: int = REPEATS) -> dict[int, float]:
    """Median seconds in which the refiner classifies the children of so many voxels, by their number."""
    forward, times = Forward(config, 1), {0: 0.0}
    forward()
    for refined in sorted(set(counts) - {0}):
        forward.choose(refined)
        forward.refine()
        times[refined] = statistics.median(seconds(forward.refine) for _ in range(repeats))
    return times
