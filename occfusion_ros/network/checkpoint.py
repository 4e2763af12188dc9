"""Weights on disk: safetensors with the model's configuration in the header (nothing is ever unpickled)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from ..core.atomic import replacing
from ..core.errors import ContractError
from ..core.grid import GridSpec
from ..core.preprocessing import UNRECORDED, Preprocessing
from ..presample.presampler import PresampleConfig
from .occfusion import ModelConfig, OccFusion

DAMAGED = (ContractError, SafetensorError, LookupError, OverflowError, RuntimeError, TypeError, ValueError)
"""What reading a file raises that is not what it should be."""


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
        return read_checkpoint(path.read_bytes(), str(path))
    except OSError as error:
        raise ContractError(f"{path}: expected a checkpoint written by models.train, got {error!r:.300}") from error


def read_checkpoint(content: bytes, file: str) -> tuple[OccFusion, dict[str, Any]]:
    """Build a model in evaluation mode from a file's content, and read its metadata.

    Args:
        file: its name, for messages.

    Raises:
        ContractError: it is damaged or of another network.
    """
    try:
        weights = load(content)
        length = int.from_bytes(content[:8], "little")  # of the header, which `load` does not give
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        config, metadata = config_from_dict(json.loads(header["config"])), json.loads(header["metadata"])
        with torch.device("meta"):  # a configuration may claim any size: no memory before it fits the weights
            OccFusion(config).load_state_dict(weights, assign=True)
        model = OccFusion(config)
        model.load_state_dict(weights)
    except DAMAGED as error:
        raise ContractError(f"{file}: expected a checkpoint written by models.train, got {error!r:.300}") from error
    return model.eval(), metadata
