"""The networks that are measured, from weights."""

from pathlib import Path

import torch

from occfusion_ros.core.contract import ModelContract, NetworkFile, NetworkSpec, TensorSpec
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.presample.presampler import PresampleConfig

ZOO = Path(__file__).resolve().parents[2] / "models" / "zoo"
CONFIGS = {
    "nano": ModelConfig(),
    "base": ModelConfig(
        PresampleConfig(points_per_voxel=8, fusion_queries=16384, image_size=(896, 1600)),
        width=64,
        decoded=64,
        bev=(192, 320, 512),
        refine_budget=4096,
        backbone="resnet50",
    ),
    "swift": ModelConfig(
        PresampleConfig(image_size=(192, 512), preprocessing=Preprocessing(lags=True)),
        decoded=16,
        bev=(48, 64, 128, 192),
        separables=3,
        offsets=1,
        refiner_width=32,
        refine_budget=512,
        screened=24576,
    ),
}
"""models/configs/*.yaml, whose reader is not needed here."""
DECIDED = 20.0


def network(name: str, config: ModelConfig) -> OccFusion:
    """A network in evaluation mode: with the weights of the shipped model of that name, else with random ones.

    Random heads are scaled, so that answers are decided and do not turn with the last bit.
    """
    weights = ZOO / name / "weights.safetensors"
    if weights.exists():
        return load_checkpoint(weights)[0]
    torch.manual_seed(0)
    model = OccFusion(config).eval()
    with torch.no_grad():
        for head in (model.coarse_head, model.occupancy_head, model.refiner.head[-1]):
            head.weight *= DECIDED
    return model


def contract(name: str, model: OccFusion) -> ModelContract:
    """What the pipeline must know of a network that runs from its weights."""
    from export.contract import make_contract

    return make_contract(model, {"model_id": name, "trained_on": "", "accuracy": {}}, "", specs(model))


def specs(model: OccFusion) -> tuple[NetworkSpec, NetworkSpec]:
    """Tensors of fuser and refiner; the numbers of cameras and of refined voxels are dynamic axes."""
    from export.contract import example_inputs
    from occfusion_ros.network.wrappers import RefinerNetwork, ScreenedFuserNetwork, networks_of

    config, fuser = model.config, networks_of(model)[0]
    inputs, children = (
        {name: (str(tensor.dtype)[6:], tuple(tensor.shape)) for name, tensor in tensors.items()}
        for tensors in example_inputs(config, fuser)
    )
    inputs["images"] = ("uint8", ("cameras", *inputs["images"][1][1:]))
    children = {name: (dtype, ("parents", *shape[1:])) for name, (dtype, shape) in children.items()}
    rows, columns = (length // RefinerNetwork.IMAGE_STRIDE for length in config.presample.image_size)
    total, children_each = config.coarse.num_voxels, config.presample.coarse_factor**3
    image_map = {"image_map": ("float32", (1, config.width, f"{rows}*cameras", columns))}
    if isinstance(fuser, ScreenedFuserNetwork):
        answered, screened = fuser.room, {"screened": ("int64", (fuser.room,))}
        features = {
            "decoded": ("float32", (1, total, config.decoded)),
            "fused": ("float32", (config.presample.fusion_queries + 1, config.width)),
            "fused_row": ("int64", (total,)),
            **image_map,
        }
    else:
        answered, screened = total, {}
        features = {"grid_features": ("float32", (1, total, config.width + config.decoded)), **image_map}
    answer = {
        "occupancy": ("uint8", (answered, children_each)),
        "semantic": ("uint8", (answered,)),
        "semantic_confidence": ("uint8", (answered,)),
        "uncertainty": ("float32", (answered,)),
    }
    return (
        _spec(inputs, {**answer, **features, **screened}),
        _spec(
            {**features, **children}, {name: ("uint8", ("parents", children_each)) for name in RefinerNetwork.OUTPUTS}
        ),
    )


def _spec(inputs: dict[str, tuple], outputs: dict[str, tuple]) -> NetworkSpec:
    """From dtypes and shapes by name; there is no file."""
    sides = (tuple(TensorSpec(name, *what) for name, what in side.items()) for side in (inputs, outputs))
    return NetworkSpec({"fp32": NetworkFile("weights", "0" * 64)}, *sides)
