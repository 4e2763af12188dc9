"""Define what is compared: every variant is a network and a way of training it, on one budget for all."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.training.augment import AugmentConfig
from models.training.config import TrainConfig, load_config
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.occfusion import ModelConfig

REFERENCE = "reference"
SHIPPED = "shipped"  # a network that was trained elsewhere, measured as it is
MODELS = Path(__file__).resolve().parents[2] / "models"
NETWORKS = {name: load_config(MODELS / f"configs/{name}.yaml")[1] for name in ("nano", "swift", "base")}
"""Networks at their real size."""

NETWORK = NETWORKS["swift"]
WEIGHTS = MODELS / "zoo/swift/weights.safetensors"
"""What the study is of: a shipped network, whose image backbone, as it is, sees for every variant."""

WINDOW = GridSpec((GridSpec.low[0] / 2, GridSpec.low[1] / 2, GridSpec.low[2]), size=(256, 256, GridSpec.size[2]))
"""The part of the grid that is trained and measured: 51.2 m x 51.2 m around the vehicle."""

# Without the screen: what it blocks is not what is compared.
MODEL = replace(NETWORK, presample=replace(NETWORK.presample, grid=WINDOW, fusion_queries=4096), screened=0)
# Cameras alone: no return says which voxels matter, so every coarse voxel is a query, with one point.
CAMERA = replace(
    MODEL,
    presample=replace(MODEL.presample, use_lidar=False, points_per_voxel=1, fusion_queries=WINDOW.coarse(4).num_voxels),
)
# Every frame keeps its cameras, because variants are compared with them; few steps need a fast average of the weights.
TRAIN = TrainConfig(
    window=0,
    batch=2,
    refined=512,
    learning_rate=3e-3,
    ema=0.99,
    pictures=0,
    threads=2,
    first_seed=3000,
    rig="mixed",
    augment=AugmentConfig(all_cameras=0.0, some_cameras=0.2, beams=0.1, sector=0.05),
)

NONE, ALL = "none", "all"
SHARES = {"active10": 0.10, "active25": 0.25, "active50": 0.50}
ANYWHERE = {"anywhere10": 0.10, "anywhere25": 0.25, "anywhere50": 0.50}
EVERY_MODE = (NONE, ALL, *SHARES, *ANYWHERE)
STANDARD = "active25"
"""The refinement with which every variant is measured."""


@dataclass(frozen=True)
class Variant:
    """One network and its training.

    Attributes:
        title: for the page. model: the network. train: changes of `TRAIN`. modes: refinements to measure it with.
    """

    title: str
    model: ModelConfig = MODEL
    train: dict[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = (NONE, STANDARD)


def _presampled(**changes: Any) -> ModelConfig:
    return replace(MODEL, presample=replace(MODEL.presample, **changes))


VARIANTS = {
    REFERENCE: Variant("OccFusion: both, theta 4, active share 0.7", modes=EVERY_MODE),
    "lift_splat": Variant("depth-based baseline (lift-splat)", replace(MODEL, fusion="lift_splat")),
    "lidar": Variant("LiDAR only", replace(MODEL, fusion="lidar")),
    "camera": Variant("cameras only", CAMERA),
    "sampling_none": Variant("neither", _presampled(sampling="none")),
    "sampling_fps": Variant("farthest point sampling only", _presampled(sampling="fps")),
    "sampling_synthetic": Variant("synthetic points only", _presampled(sampling="synthetic")),
    "theta2": Variant("both, theta 2", _presampled(points_per_voxel=2)),
    "theta8": Variant("both, theta 8", _presampled(points_per_voxel=8)),
    "active_off": Variant("off", train={"active_share": 0.0}),
    **{
        f"active{round(share * 100)}": Variant(f"{share:.1f}", train={"active_share": share})
        for share in (0.2, 0.5, 0.6, 0.8, 0.9, 1.0)
    },
}
"""The variants of the study."""
