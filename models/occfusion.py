"""The OccFusion network: image branch, LiDAR voxels, point-to-point fusion, decoder, active coarse-to-fine."""

from dataclasses import dataclass

import torch
from torch import nn

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import NUM_LABELS
from occfusion_ros.presample.presampler import PresampleConfig

from .backbone import EfficientNetLite0, FeaturePyramid
from .decoder import BevDecoder
from .fusion import PointFusion, stack_cameras
from .refiner import Refiner


@dataclass(frozen=True)
class ModelConfig:
    """Size of a network.

    Attributes:
        presample: grid, theta, query budget, image size.
        width: channels of image features and of fused voxels.
        decoded: channels of a voxel after the decoder.
        bev: channels of the decoder's levels.
        refine_budget: K at inference.
    """

    presample: PresampleConfig = PresampleConfig()
    width: int = 32
    decoded: int = 32
    bev: tuple[int, ...] = (96, 160, 256)
    refine_budget: int = 1024

    @property
    def coarse(self) -> GridSpec:
        """The grid of the fuser."""
        return self.presample.grid.coarse(self.presample.coarse_factor)


@dataclass
class FuserOutput:
    """What the fuser says of every coarse voxel (T of them, z fastest).

    Attributes:
        coarse: (B, T, 17) logits. occupancy: (B, T, 64) logits of each sub-voxel being occupied.
        voxel_features: (B, T, V). image_map: (B, C, N * h, w) finest image features, cameras stacked.
    """

    coarse: torch.Tensor
    occupancy: torch.Tensor
    voxel_features: torch.Tensor
    image_map: torch.Tensor


class OccFusion(nn.Module):
    """All parts of the network; `fuse` and `refine` are the two engines of an exported artefact."""

    def __init__(self, config: ModelConfig = ModelConfig()) -> None:
        super().__init__()
        self.config = config
        factor, height = config.presample.coarse_factor, config.coarse.size[2]
        voxel_width = config.width + config.decoded
        self.backbone = EfficientNetLite0()
        self.pyramid = FeaturePyramid(EfficientNetLite0.channels, config.width)
        self.voxel_encoder = nn.Sequential(nn.Linear(config.presample.num_features, 64), nn.ReLU(),
                                           nn.Linear(64, config.width))
        self.fusion = PointFusion(config.width)
        self.decoder = BevDecoder(height * config.width, height * config.decoded, config.bev)
        self.coarse_head = nn.Linear(voxel_width, NUM_LABELS)
        self.occupancy_head = nn.Linear(voxel_width, factor**3)
        self.refiner = Refiner(config.coarse.size, factor, voxel_width, config.width, NUM_LABELS)
        # By label, added to the logit of being occupied at inference; fitted on validation data after training.
        self.register_buffer("occupancy_shift", torch.zeros(NUM_LABELS))
        self.register_buffer("refined_shift", torch.zeros(NUM_LABELS))

    def fuse(self, features: list[torch.Tensor], voxel_index: torch.Tensor, voxel_features: torch.Tensor,
             point_features: torch.Tensor, point_uv: torch.Tensor, point_camera: torch.Tensor) -> FuserOutput:
        """From backbone features (B * N, C, h, w) and pre-sampled points (see `FuserInputs`, with a batch axis)."""
        batch = len(voxel_index)
        count = features[0].shape[0] // batch
        maps = [stack_cameras(level, batch) for level in self.pyramid(features)]
        query = self.voxel_encoder(voxel_features)  # (B, Q, C)
        fused = self.fusion(query, point_features, point_uv, point_camera, maps, count)
        voxels = self.decode(self.to_grid(fused, voxel_index))
        return FuserOutput(self.coarse_head(voxels), self.occupancy_head(voxels), voxels, maps[0])

    def to_grid(self, fused: torch.Tensor, voxel_index: torch.Tensor) -> torch.Tensor:
        """Scatter (B, Q, C) to the dense coarse grid (B, T, C); voxels without a query are zero."""
        batch, total = len(fused), self.config.coarse.num_voxels
        dense = fused.new_zeros(batch * (total + 1), fused.shape[2])  # one slot more for unused queries
        rows = voxel_index + torch.arange(batch, device=fused.device)[:, None] * (total + 1)
        dense = dense.index_put((rows.flatten(),), fused.flatten(0, 1))
        return dense.view(batch, total + 1, -1)[:, :total]

    def decode(self, dense: torch.Tensor) -> torch.Tensor:
        """(B, T, C) fused voxels to (B, T, C + D) voxel features."""
        batch, total, _ = dense.shape
        x, y, _ = self.config.coarse.size
        folded = dense.reshape(batch, x, y, -1).permute(0, 3, 1, 2)  # (B, Z * C, X, Y)
        decoded = self.decoder(folded).permute(0, 2, 3, 1).reshape(batch, total, self.config.decoded)
        return torch.cat([decoded, dense.to(decoded.dtype)], 2)

    def refine(self, fuser: FuserOutput, parent: torch.Tensor, child_uv: torch.Tensor, parent_camera: torch.Tensor,
               child_seen: torch.Tensor, child_return: torch.Tensor, count: int) -> torch.Tensor:
        """(B, K, 64, 17) logits of the children of the chosen parents; see `Refiner`."""
        return self.refiner(fuser.voxel_features, fuser.image_map, parent, child_uv, parent_camera, child_seen,
                            child_return, count)


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """Uncertainty of a coarse voxel: entropy in nats of its class distribution, (..., L) logits to (...)."""
    log_probability = logits.float().log_softmax(-1)
    return -(log_probability.exp() * log_probability).sum(-1)
