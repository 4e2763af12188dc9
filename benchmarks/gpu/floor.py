"""What a frame needs at least: operations and bytes, counted, over what a device does at most."""

from typing import Any

import torch

from benchmarks.performance.counting import Traffic, macs
from benchmarks.performance.networks import OccFusionParts
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.occfusion import ModelConfig
from occfusion_ros.runtime.pipeline import Pipeline

from .device import MIB, Ceilings

FUSER = ("image branch", "fusion", "decoder")


@torch.inference_mode()
def network_floor(config: ModelConfig, ceilings: Ceilings) -> list[dict[str, Any]]:
    """Parts of a network in half precision with six cameras: `part`, `gmacs`, `mib`, `ms`.

    Every multiply-add at the most, or every weight and result once over the memory, whichever is longer.
    """
    network, rows = OccFusionParts(config, config.refine_budget, "meta"), []
    for part, call in network.calls().items():
        with Traffic() as traffic:
            operations, _ = macs(call)
        weights = sum(p.numel() for module in network.modules()[part] for p in module.parameters())
        moved = traffic.bytes / 2 + 2 * weights  # results were counted in float32
        seconds = max(2 * operations / ceilings.flops, moved / ceilings.bytes)
        rows.append({"part": part, "gmacs": operations / 1e9, "mib": moved / MIB, "ms": 1e3 * seconds})
    return rows


@torch.inference_mode()
def stage_floor(
    pipeline: Pipeline, frame: SensorFrame, network: list[dict[str, Any]], ceilings: Ceilings
) -> dict[str, float]:
    """Milliseconds that each stage of a frame takes at least; `pipeline` runs on the CPU, where it is counted.

    Around the networks every result is counted once over the memory; sweep, grid and images of the network's size cross
    the bus.
    """
    parts = {row["part"]: row["ms"] for row in network}
    images, matrices = pipeline.presampler.prepare_images(frame), pipeline.presampler.projections(frame)
    with Traffic() as points:
        inputs = pipeline.presampler.prepare_points(frame.points, matrices)
    device = pipeline.fuser.device
    inputs = inputs.to(device)
    fused = pipeline.fuse(images.to(device), inputs)
    with Traffic() as select:
        candidates = pipeline.candidates(fused, inputs.returns)
        parents = pipeline.select(candidates)
    refined = pipeline.classify_children(fused, inputs, parents)
    with Traffic() as grid:
        labels = pipeline.compose(candidates, parents, refined, inputs.returns)

    def over_memory(moved: int) -> float:
        return 1e3 * moved / ceilings.bytes

    return {
        "presample": over_memory(points.bytes) + 1e3 * frame.points.nbytes / ceilings.upload,
        "images": over_memory(images.nbytes) + 1e3 * images.nbytes / ceilings.upload,
        "upload": 0.0,
        "fuser": sum(parts.get(part, 0.0) for part in FUSER),
        "select": over_memory(select.bytes),
        "refiner": parts["refiner"],
        "grid": over_memory(grid.bytes) + 1e3 * labels.nbytes / ceilings.download,
    }
