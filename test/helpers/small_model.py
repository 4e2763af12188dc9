"""A network small enough to export and run within seconds, with answers that vary although it was never trained."""

from pathlib import Path

import torch

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.checkpoint import save_checkpoint
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.presample.presampler import PresampleConfig

CONFIG = ModelConfig(
    PresampleConfig(
        GridSpec((-6.4, -6.4, -5.0), 0.2, (64, 64, 40)),
        points_per_voxel=3,
        fusion_queries=300,
        image_size=(64, 96),
        max_cameras=6,
    ),
    width=16,
    decoded=8,
    bev=(16, 24),
    separables=1,
    offsets=1,
    refiner_width=8,
    refine_budget=40,
)
"""With what `models/configs/swift.yaml` does otherwise than `nano`, but for earlier sweeps and the screen."""


def small_model(config: ModelConfig = CONFIG) -> OccFusion:
    """Evaluation mode; random weights, heads scaled so that no class and no child is always right."""
    torch.manual_seed(3)
    model = OccFusion(config).eval()
    with torch.no_grad():
        for head, scale in ((model.coarse_head, 12), (model.occupancy_head, 12), (model.refiner.head[-1], 20)):
            head.weight *= scale
        for layer in (model.fusion.output[0], model.fusion.output[-1]):
            layer.weight *= 4  # so that images count
        model.refiner.place.normal_()
        model.refiner.returned.normal_()
        model.occupancy_shift.fill_(0.1)
        model.refined_shift.fill_(1.5)
    return model


def save_small_checkpoint(path: Path) -> Path:
    """Write `small_model` as a checkpoint."""
    said = {"model_id": "small", "trained_on": "nothing", "accuracy": {}, "train": {"frames": "/of/this/machine"}}
    save_checkpoint(path, small_model(), said)
    return path
