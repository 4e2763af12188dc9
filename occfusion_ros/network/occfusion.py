"""The OccFusion network: image branch, LiDAR voxels, point-to-point fusion, decoder, active coarse-to-fine."""

from dataclasses import dataclass

import torch
from torch import nn

from ..core.grid import GridSpec
from ..core.labels import NUM_LABELS
from ..presample.presampler import PresampleConfig
from .backbone import EfficientNetLite0, FeaturePyramid
from .decoder import BevDecoder
from .fusion import FusedPoints, LidarOnly, PointFusion, stack_cameras
from .lift_splat import LiftSplatFusion
from .refiner import Refiner
from .resnet import ResNet50

BACKBONES = {"efficientnet_lite0": EfficientNetLite0, "resnet50": ResNet50}
FUSIONS = {
    "point": lambda config: PointFusion(config.width, config.coarse.num_voxels, config.offsets),
    "lift_splat": lambda config: LiftSplatFusion(config.width, config.coarse, config.presample.image_size),
    "lidar": lambda config: LidarOnly(config.coarse.num_voxels),
}


@dataclass(frozen=True)
class ModelConfig:
    """Size of a network.

    Attributes:
        presample: grid, theta, query budget, image size.
        width: channels of image features and of fused voxels.
        decoded: channels of a voxel after the decoder.
        bev: channels of the decoder's levels.
        separables: how many of them, from the finest on, have separable convolutions.
        offsets: places near each point where "point" samples the images.
        refiner_width: channels of a child inside the refiner.
        refine_budget: K at inference.
        screened: most coarse voxels whose children an exported network looks at, those with returns and those that a
            cheap screen over all of them lets pass; 0: all of them, without a screen.
        fusion: how cameras and LiDAR become voxels, one of `FUSIONS`: "point" is the method, the others are there to
            compare with. Cameras alone are "point" with `presample.use_lidar` off.
        backbone: one of `BACKBONES`.
    """

    presample: PresampleConfig = PresampleConfig()
    width: int = 32
    decoded: int = 32
    bev: tuple[int, ...] = (96, 128, 256)
    separables: int = 0
    offsets: int = 2
    refiner_width: int = 64
    refine_budget: int = 1024
    screened: int = 0
    fusion: str = "point"
    backbone: str = "efficientnet_lite0"

    def __post_init__(self) -> None:
        for name, choices in (("fusion", FUSIONS), ("backbone", BACKBONES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.screened < 0:
            raise ValueError(f"screened must not be negative, got {self.screened}")

    @property
    def coarse(self) -> GridSpec:
        """The grid of the fuser."""
        return self.presample.grid.coarse(self.presample.coarse_factor)

    @property
    def uses_images(self) -> bool:
        """Whether anything reads the image backbone's features."""
        return self.fusion != "lidar"


@dataclass
class FuserOutput:
    """What the fuser says of every coarse voxel (T of them, z fastest).

    Attributes:
        coarse: (B, T, 17) logits. occupancy: (B, T, 64) logits of each sub-voxel being occupied.
        voxel_features: (B, T, V).
        image_map: (B, C, N * h, w) finest image features, cameras stacked; (B, 0) where the network has none.
        auxiliary_loss: (B,) what the fusion itself wants to be trained on, None where it wants nothing.
        screen: (B, T) logits of any child being occupied, None where the network has no screen.
    """

    coarse: torch.Tensor
    occupancy: torch.Tensor
    voxel_features: torch.Tensor
    image_map: torch.Tensor
    auxiliary_loss: torch.Tensor | None = None
    screen: torch.Tensor | None = None


class OccFusion(nn.Module):
    """All parts of the network; `fuse` and `refine` are the two engines of an exported artifact."""

    def __init__(self, config: ModelConfig = ModelConfig()) -> None:
        super().__init__()
        self.config = config
        factor, height = config.presample.coarse_factor, config.coarse.size[2]
        voxel_width = config.width + config.decoded
        self.backbone = BACKBONES[config.backbone]()
        self.pyramid = FeaturePyramid(self.backbone.channels, config.width) if config.uses_images else None
        self.voxel_encoder = nn.Sequential(
            nn.Linear(config.presample.num_features, 64), nn.ReLU(), nn.Linear(64, config.width)
        )
        self.fusion = FUSIONS[config.fusion](config)
        # The screen of a column's voxels, where there is one, is the last channels that the decoder makes of it.
        decoded = height * (config.decoded + (config.screened > 0))
        self.decoder = BevDecoder(height * config.width, decoded, config.bev, config.separables)
        self.coarse_head = nn.Linear(voxel_width, NUM_LABELS)
        self.occupancy_head = nn.Linear(voxel_width, factor**3)
        image_width = config.width if config.uses_images else 0
        self.refiner = Refiner(config.coarse.size, factor, voxel_width, image_width, NUM_LABELS, config.refiner_width)
        # By label, added to the logit of being occupied at inference; fitted on validation data after training.
        self.register_buffer("occupancy_shift", torch.zeros(NUM_LABELS))
        self.register_buffer("refined_shift", torch.zeros(NUM_LABELS))

    def fuse(
        self,
        features: list[torch.Tensor],
        voxel_index: torch.Tensor,
        voxel_features: torch.Tensor,
        point_features: torch.Tensor,
        point_uv: torch.Tensor,
        point_camera: torch.Tensor,
        image_from_grid: torch.Tensor | None = None,
    ) -> FuserOutput:
        """From backbone features (B * N, C, h, w) and pre-sampled points (see `FusedVoxels`, with a batch axis).

        Only a fusion that places pixels in space ("lift_splat") reads `image_from_grid` (B, N, 4, 4).
        """
        points = FusedPoints(voxel_index, point_features, point_uv, point_camera, image_from_grid)
        decoded, fused, *others = self.encode(features, voxel_features, points)
        voxels = torch.cat([decoded, fused], 2)
        return FuserOutput(self.coarse_head(voxels), self.occupancy_head(voxels), voxels, *others)

    def encode(
        self, features: list[torch.Tensor], voxel_features: torch.Tensor, points: FusedPoints
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """What the heads read, side by side, (B, T, D) and (B, T, C), and the last three of `FuserOutput`."""
        batch = len(points.voxel_index)
        count = features[0].shape[0] // batch
        maps = [stack_cameras(level, batch) for level in self.pyramid(features)] if self.pyramid else []
        query = self.voxel_encoder(voxel_features)  # (B, Q, C)
        dense, auxiliary_loss = self.fusion(query, points, maps, count)
        decoded, screen = self.decode(dense)
        image_map = maps[0] if maps else decoded.new_empty(batch, 0)
        return decoded, dense.to(decoded.dtype), image_map, auxiliary_loss, screen

    def decode(self, dense: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, T, C) fused voxels to (B, T, D) decoded ones, and the screen, see `FuserOutput`."""
        batch, total, _ = dense.shape
        x, y, z = self.config.coarse.size
        folded = dense.reshape(batch, x, y, -1).permute(0, 3, 1, 2)  # (B, Z * C, X, Y)
        decoded, screen = self.decoder(folded), None
        if self.config.screened:
            decoded, screen = decoded[:, :-z], decoded[:, -z:]
            screen = screen.permute(0, 2, 3, 1).reshape(batch, total)  # (B, Z, X, Y) to (B, T)
        return decoded.permute(0, 2, 3, 1).reshape(batch, total, self.config.decoded), screen

    def refine(
        self,
        fuser: FuserOutput,
        parent: torch.Tensor,
        child_uv: torch.Tensor,
        parent_camera: torch.Tensor,
        child_seen: torch.Tensor,
        child_return: torch.Tensor,
        count: int,
    ) -> torch.Tensor:
        """(B, K, 64, 17) logits of the children of the chosen parents; see `Refiner`."""
        features = fuser.voxel_features.flatten(0, 1)  # (B * T, V)
        return self.refiner(
            lambda rows: features.index_select(0, rows),
            fuser.image_map,
            parent,
            child_uv,
            parent_camera,
            child_seen,
            child_return,
            count,
        )


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Uncertainty of a coarse voxel: entropy in nats of its class distribution, (..., L) logits to (...)."""
    log_probability = logits.float().log_softmax(-1)
    return -(log_probability.exp() * log_probability).sum(-1)
