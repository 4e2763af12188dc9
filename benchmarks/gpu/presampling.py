"""Pre-sampling on the device against the CPU: the same bits, and how long it takes."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from occfusion_ros.core.frames import PastPoints, SensorFrame
from occfusion_ros.network.occfusion import ModelConfig
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import FusedVoxels, PresampleConfig, Presampler

from .device import Device


def cases(frame: SensorFrame, dense: SensorFrame) -> dict[str, SensorFrame]:
    """Frames to compare on: all cameras, one, none, many returns, no return, and earlier sweeps."""
    lags = np.linspace(0.1, 1, len(dense.points), dtype=np.float32)
    return {
        "all cameras": frame,
        "one camera": replace(frame, cameras=frame.cameras[:1]),
        "no camera": replace(frame, cameras=()),
        "dense sweep": replace(dense, cameras=frame.cameras),
        "no return": replace(frame, points=frame.points[:0]),
        "earlier sweeps": replace(frame, past=PastPoints(dense.points + np.float32([0.3, 0.7, 0, 0]), lags)),
    }


def for_frame(config: PresampleConfig, frame: SensorFrame) -> PresampleConfig:
    """The pre-sampling of a model, with lags where the frame has earlier sweeps."""
    return replace(config, preprocessing=replace(config.preprocessing, lags=len(frame.past.points) > 0))


def compare(device: Device, config: ModelConfig, frames: dict[str, SensorFrame]) -> dict[str, Any]:
    """Both devices on the same frames.

    Returns:
        `different`: by frame, the tensors whose bits differ; `frames`, the names of all.
    """
    different: dict[str, list[str]] = {}
    for name, frame in frames.items():
        here, there = (Presampler(for_frame(config.presample, frame), at) for at in ("cpu", device.torch))
        one, other = here(frame), there(frame).to(torch.device("cpu"))
        tensors = {key: (value, getattr(other, key)) for key, value in vars(one).items()}
        tensors["images"] = here.prepare_images(frame), there.prepare_images(frame).cpu()
        tensors |= _children(here, there, config, one)
        different[name] = [key for key, (mine, theirs) in tensors.items() if not torch.equal(mine, theirs)]
    return {"different": {name: keys for name, keys in different.items() if keys}, "frames": list(frames)}


def _children(
    here: Presampler, there: Presampler, config: ModelConfig, inputs: FusedVoxels
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What the refiner is told, by both; the same parents on both devices."""
    parents = inputs.voxel_index[inputs.voxel_index < here.coarse.num_voxels][: config.refine_budget]
    moved = inputs.to(there.device)
    one = describe_children(parents, here, inputs.image_from_grid, inputs.returns).network_inputs()
    other = describe_children(parents.to(there.device), there, moved.image_from_grid, moved.returns).network_inputs()
    return {key: (value, other[key].cpu()) for key, value in one.items()}


def times(device: Device, config: ModelConfig, frames: dict[str, SensorFrame], repeats: int) -> dict[str, float]:
    """Milliseconds of everything that depends on the sweep, by frame, on the device."""
    result = {}
    for name, frame in frames.items():
        presampler = Presampler(for_frame(config.presample, frame), device.torch)
        prepare = partial(presampler.prepare_points, frame.points, presampler.projections(frame), past=frame.past)
        result[name] = 1e3 * device.seconds(prepare, repeats)
    return result
