"""Weights on disk: safetensors with the model's configuration in the header (nothing is ever unpickled)."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.preprocessing import UNRECORDED, Preprocessing
from occfusion_ros.presample.presampler import PresampleConfig

from ..network.occfusion import ModelConfig, OccFusion


def config_from_dict(data: dict[str, Any]) -> ModelConfig:
    """Inverse of `dataclasses.asdict` for a `ModelConfig`."""
    presample = dict(data["presample"])
    grid = presample["grid"]
    presample["grid"] = GridSpec(tuple(grid["low"]), grid["voxel_size"], tuple(grid["size"]))
    presample["image_size"] = tuple(presample["image_size"])
    presample["preprocessing"] = Preprocessing(**presample.get("preprocessing", asdict(UNRECORDED)))
    return ModelConfig(**{**data, "presample": PresampleConfig(**presample), "bev": tuple(data["bev"])})


def save_checkpoint(path: Path, model: OccFusion, metadata: dict[str, Any], config: ModelConfig | None = None) -> None:
    """Write weights, configuration and metadata (JSON values) to `path`, atomically.

    Args:
        config: of the network that the weights are for, where it is not `model` itself: training sees windows of the
            grid, and no weight depends on the grid's size.
    """
    header = {"config": json.dumps(asdict(config or model.config)), "metadata": json.dumps(metadata)}
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    with replacing(path) as partial:
        try:
            save_file(weights, partial, header)
        except SafetensorError as error:  # what it makes of a file that cannot be written
            raise OSError(str(error)) from error


def load_checkpoint(path: Path) -> tuple[OccFusion, dict[str, Any]]:
    """Read a model in evaluation mode and its metadata.

    Raises:
        ContractError: the file is missing, damaged or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}
        model = OccFusion(config_from_dict(json.loads(header["config"])))
        model.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ContractError(f"{path}: expected a checkpoint written by models.train, got {error!r:.300}") from error
    return model.eval(), json.loads(header["metadata"])


def save_torch(path: Path, state: dict[str, Any]) -> None:
    """Write a training state (tensors and plain values only), atomically."""
    with replacing(path) as partial, open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def load_torch(path: Path) -> dict[str, Any]:
    """Read a training state (tensors and plain values only)."""
    return torch.load(path, weights_only=True, map_location="cpu")
