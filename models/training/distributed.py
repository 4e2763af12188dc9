"""One process or several: the processes of a run that torchrun started, and their devices."""

import os
from datetime import timedelta

import torch
import torch.distributed as dist

from occfusion_ros.core.processor import this_processor


def pick_device(name: str) -> torch.device:
    """The device of this process; with `auto` its own GPU where there is one."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    return torch.device(kind, int(os.environ.get("LOCAL_RANK", 0))) if kind == "cuda" else torch.device(kind)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 itself: a CPU that emulates it takes several times as long as float32."""
    return device.type != "cpu" or this_processor().has_bfloat16


def gathered(values: torch.Tensor) -> torch.Tensor:
    """(B, ...) of every process, one after the other: (processes * B, ...)."""
    if not dist.is_initialized():
        return values
    parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, values)
    return torch.cat(parts)


def join_processes(device: str) -> None:
    """Meet the other processes if torchrun started this one."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        own = pick_device(device)
        if own.type == "cuda":
            torch.cuda.set_device(own)
        # Processes wait for each other while frames are prepared, which takes hours.
        dist.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=timedelta(days=1))
