"""The state of a training run on disk, tensors and plain values alone; and what weights say of the runs before."""

import os
from pathlib import Path
from typing import Any

import torch

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.errors import ContractError, one_line


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, atomically."""
    with replacing(path) as partial, open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state; nothing but tensors and plain values is ever unpickled.

    Raises:
        ContractError: it is none.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever unpickling makes of it
        raise ContractError(
            f"{path}: expected the state of a training run, got {one_line(error)}; remove it"
        ) from error


def began_from(trained_on: str) -> str:
    """What the `trained_on` of weights begins with that were trained on from others, whose own is given."""
    return f"{trained_on}; then "
