"""What a network costs: multiply-adds by part, time of a forward pass, and its peak memory in a fresh process.

`python -m benchmarks.cost ROW` prints the peak memory of one row in MB, as JSON; `benchmarks.study` starts it.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.occfusion import FuserOutput, ModelConfig, OccFusion
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler

from .rows import ROWS

CAMERAS, POINTS = 6, 30_000
REPEATS = 7
REPOSITORY = Path(__file__).resolve().parents[1]


def example(config: ModelConfig, seed: int = 0) -> tuple[dict[str, torch.Tensor], Presampler]:
    """Arguments of `fuse` without the features, for a made-up sweep and cameras all around; batch of one."""
    rng, grid = np.random.default_rng(seed), config.presample.grid
    low, high = np.array(grid.low), np.array(grid.high)
    points = np.c_[rng.uniform(low, high, (POINTS, 3)), rng.random(POINTS)].astype(np.float32)
    height, width = config.presample.image_size
    intrinsics = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height * config.presample.horizon], [0, 0, 1]])
    cameras = np.tile(np.eye(4), (CAMERAS, 1, 1))
    for camera, yaw in zip(cameras, np.arange(CAMERAS) * 2 * np.pi / CAMERAS):
        c, s = np.cos(yaw), np.sin(yaw)
        camera[:3, :3] = intrinsics @ np.array([[c, s, 0], [0, 0, -1], [-s, c, 0]])
    presampler = Presampler(config.presample)
    image_from_grid = torch.from_numpy(cameras).float()
    inputs = presampler.prepare_points(points, torch.empty((CAMERAS, 3, 0, 0)), image_from_grid)
    batch = {name: value[None] for name, value in inputs.engine_inputs().items() if name != "images"}
    return {**batch, "image_from_grid": image_from_grid[None]}, presampler


def children_of(parents: torch.Tensor, batch: dict[str, torch.Tensor], presampler: Presampler) -> dict[str, Any]:
    """Arguments of `refine` for the coarse voxels `parents` (K,), of which none holds a return; batch of one."""
    nothing = torch.empty(0, dtype=torch.long)
    children = describe_children(parents, presampler, batch["image_from_grid"][0], nothing)
    return {name: value[None] for name, value in children.engine_inputs().items()}


def macs(call: Callable[[], Any]) -> tuple[int, Any]:
    """Multiply-adds of convolutions and matrix products in `call`, and what it returns.

    Not counted: bilinear sampling, softmax, scatter and everything else that works element by element.
    """
    with FlopCounterMode(display=False) as counter:
        result = call()
    return counter.get_total_flops() // 2, result


def count(config: ModelConfig, refined: int) -> dict[str, float]:
    """GMACs of one frame by part, with `refined` coarse voxels refined, and parameters in millions.

    Nothing is computed where that is possible (on the `meta` device). The image branch is backbone and pyramid, and
    nothing where the network has no use for images.
    """
    device = "cpu" if config.fusion == "lift_splat" else "meta"  # where pixels land depends on values
    batch, presampler = example(config)
    children = children_of(torch.arange(refined), batch, presampler)
    batch = {name: value.to(device) for name, value in batch.items()}
    children = {name: value.to(device) for name, value in children.items()}
    with torch.device(device), torch.inference_mode():
        model = OccFusion(config).eval()
        images = torch.zeros((CAMERAS, 3, *config.presample.image_size), dtype=torch.uint8)
        dense = torch.zeros((1, config.coarse.num_voxels, config.width))
        features, backbone, pyramid = [torch.empty(CAMERAS, 0)], 0, 0
        if config.uses_images:
            backbone, features = macs(lambda: model.backbone(images))
            pyramid, _ = macs(lambda: model.pyramid(features))
        fuser, fused = macs(lambda: model.fuse(features, **batch))
        decoder, voxels = macs(lambda: model.decode(dense))
        heads, _ = macs(lambda: (model.coarse_head(voxels), model.occupancy_head(voxels)))
        refiner, _ = macs(lambda: model.refine(fused, **children, count=CAMERAS))
    unused = 0 if config.uses_images else sum(p.numel() for p in model.backbone.parameters())
    counted = {"image branch": backbone + pyramid, "fusion": fuser - pyramid - decoder - heads,
               "decoder": decoder + heads, "refiner": refiner}
    return {**{part: value / 1e9 for part, value in counted.items()}, "total": sum(counted.values()) / 1e9,
            "parameters": (sum(p.numel() for p in model.parameters()) - unused) / 1e6}


class Forward:
    """A forward pass of a network with random weights: image branch, fuser, refiner of `refined` voxels."""

    def __init__(self, config: ModelConfig, refined: int) -> None:
        self.config, self.model = config, OccFusion(config).eval()
        self.batch, presampler = example(config)
        self.images = torch.zeros((CAMERAS, 3, *config.presample.image_size), dtype=torch.uint8)
        parts = torch.arange(refined).split(ModelConfig.refine_budget)  # the pipeline refines so many at once
        self.children = [children_of(part, self.batch, presampler) for part in parts]

    @torch.inference_mode()
    def __call__(self) -> dict[str, float]:
        """Seconds of the parts; without images the image branch does not run."""
        times = {}
        features = self.timed(times, "image branch", self.see)
        fused = self.timed(times, "fuser", lambda: self.model.fuse(features, **self.batch))
        self.timed(times, "refiner", lambda: self.refine(fused))
        return times

    def refine(self, fused: FuserOutput) -> None:
        """Classify the children of all voxels that are to be refined."""
        for part in self.children:
            self.model.refine(fused, **part, count=CAMERAS)

    def see(self) -> list[torch.Tensor]:
        """Backbone features of the images."""
        return self.model.backbone(self.images) if self.config.uses_images else [torch.empty(CAMERAS, 0)]

    @staticmethod
    def timed(times: dict[str, float], name: str, call: Callable[[], Any]) -> Any:
        """The result of `call`, whose seconds are noted under `name`."""
        start = time.perf_counter()
        result = call()
        times[name] = time.perf_counter() - start
        return result


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
def refiner_time(config: ModelConfig, refined: int, repeats: int = REPEATS) -> float:
    """Median seconds in which the refiner classifies the children of `refined` voxels."""
    forward, times = Forward(config, refined), {}
    size = config.presample.image_size
    features = [torch.zeros(CAMERAS, channels, size[0] // stride, size[1] // stride)
                for channels, stride in zip(forward.model.backbone.channels, (8, 16, 32))]
    fused = forward.model.fuse(features, **forward.batch)
    forward.refine(fused)
    for number in range(repeats):
        forward.timed(times, str(number), lambda: forward.refine(fused))
    return statistics.median(times.values())


def own_memory(field: str) -> int:
    """Bytes of this process by a field of /proc/self/status: VmRSS now, VmHWM at most since the last reset."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


def raised(call: Callable[[], Any]) -> float:
    """MB by which `call` raises the resident memory of this process at its peak; Linux only."""
    before = own_memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, see proc(5)
    call()
    return (own_memory("VmHWM") - before) / 1e6


@torch.inference_mode()
def peak_memory_here(config: ModelConfig, refined: int) -> dict[str, float]:
    """MB that a first forward pass takes in this process, weights aside: the fuser alone, and everything."""
    forward = Forward(config, refined)
    features = [torch.zeros_like(level) for level in forward.see()]
    fuser = raised(lambda: forward.model.fuse(features, **forward.batch))
    return {"fuser": fuser, "all": raised(forward)}


def peak_memory(row: str, refined: int) -> dict[str, float]:
    """`peak_memory_here` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.cost", row, "--refined", str(refined)]
    # What is freed goes back to the system at once, so that resident memory is what is in use (glibc).
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--refined", type=int, default=1024, help="coarse voxels that are refined (%(default)s)")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(json.dumps(peak_memory_here(ROWS[options.row].model, options.refined)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
