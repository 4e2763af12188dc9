"""What a network tells the robot: its contract, and the tensors at the doors of its two networks."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from occfusion_ros.core.atomic import write_text
from occfusion_ros.core.contract import ModelContract, NetworkSpec
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.network.wrappers import FuserNetwork
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.artifact import CONTRACT_FILE

GRID_FRAME = "origin 1.84 m above the road, x right, y forward, z up (nuScenes LIDAR_TOP)"


def make_contract(
    model: OccFusion, metadata: dict[str, Any], weights: str, networks: tuple[NetworkSpec, NetworkSpec]
) -> ModelContract:
    """What training fixed, for the robot.

    Args:
        metadata: what the checkpoint says of itself. weights: hash of the checkpoint.
    """
    config, p = model.config, model.config.presample
    try:
        return ModelContract(
            model_id=metadata["model_id"],
            grid=p.grid,
            coarse_factor=p.coarse_factor,
            grid_frame=GRID_FRAME,
            classes=OPENOCCUPANCY_CLASSES,
            max_cameras=p.max_cameras,
            image_size=p.image_size,
            horizon=p.horizon,
            points_per_voxel=p.points_per_voxel,
            fusion_queries=p.fusion_queries,
            refine_budget=config.refine_budget,
            preprocessing=p.preprocessing,
            fuser=networks[0],
            refiner=networks[1],
            confidence=None,
            checkpoint_sha256=weights,
            trained_on=metadata["trained_on"],
            accuracy=metadata["accuracy"],
        )
    except KeyError as error:
        raise ContractError(f"expected {error} in the checkpoint's metadata, got {sorted(metadata)}") from error


def write_contract(contract: ModelContract, folder: Path) -> None:
    """Write `contract.yaml`, at once or not at all."""
    import yaml

    text = yaml.safe_dump(contract.to_dict(), sort_keys=False, default_flow_style=None, width=120)
    write_text(folder / CONTRACT_FILE, text)


def example_inputs(
    config: ModelConfig, fuser: type[FuserNetwork] | FuserNetwork = FuserNetwork
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Inputs of the right shapes: those of a fuser for two cameras, and a few children for the refiner."""
    presampler = Presampler(config.presample)
    images = torch.zeros((2, 3, *config.presample.image_size), dtype=torch.uint8)
    image_from_grid = torch.eye(4).repeat(2, 1, 1)
    voxels = presampler.prepare_points(np.zeros((0, 4), np.float32), image_from_grid)
    children = describe_children(torch.arange(3), presampler, image_from_grid, voxels.returns)
    inputs = {"images": images, **voxels.network_inputs(fuser.INPUTS[1:])}
    return inputs, children.network_inputs()
