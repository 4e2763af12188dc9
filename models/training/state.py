"""The state of a training run on disk: tensors and plain values alone."""

import os
from pathlib import Path
from typing import Any

import torch

from occfusion_ros.core.atomic import replacing


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, atomically."""
    with replacing(path) as partial, open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state; nothing but tensors and plain values is ever unpickled."""
    return torch.load(path, weights_only=True, map_location="cpu")
