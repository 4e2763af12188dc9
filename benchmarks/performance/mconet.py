"""A network like M-CONet, of its published size: only there to count what it costs. It is never trained.

Layers and widths follow OpenOccupancy's configuration Multimodal-R50_img1600_cascade_x4 (arXiv 2303.03991): ResNet-50
with a second-style neck, lift-splat with BEVDepth's depth network and 112 depth bins, a sparse LiDAR encoder, VisFuser,
a 3-D ResNet-18 with a 3-D pyramid, and refinement of every coarse voxel that is predicted occupied. Two things are
simpler: the deformable convolution of the depth network is a plain one, and its camera-aware gates are left out.
"""

import torch
import torch.nn.functional as F
from torch import nn

from occfusion_ros.network.decoder import Residual
from occfusion_ros.network.resnet import ResNet50

from .sparse_convolution import SparseEncoder, SparseTensor

BINS, WIDTH, LABELS, GRID = 112, 80, 17, (128, 128, 10)


def conv2d(inputs: int, outputs: int, kernel: int = 3, dilation: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def conv3d(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class SecondNeck(nn.Module):
    """SECONDFPN: four levels of features brought to stride 16, 128 channels each."""

    def __init__(self) -> None:
        super().__init__()
        levels = [
            nn.Conv2d(256, 128, 4, 4, bias=False),
            nn.Conv2d(512, 128, 2, 2, bias=False),
            nn.ConvTranspose2d(1024, 128, 1, bias=False),
            nn.ConvTranspose2d(2048, 128, 2, 2, bias=False),
        ]
        self.levels = nn.ModuleList(nn.Sequential(x, nn.BatchNorm2d(128), nn.ReLU(inplace=True)) for x in levels)

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([level(x) for level, x in zip(self.levels, features)], 1)


class Aspp(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., arXiv 1706.05587) as in BEVDepth."""

    def __init__(self, width: int, middle: int = 256) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv2d(width, middle, 1), *(conv2d(width, middle, 3, d) for d in (6, 12, 18))])
        self.whole = conv2d(width, middle, 1)
        self.output = conv2d(5 * middle, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        return self.output(torch.cat([*(branch(x) for branch in self.branches), whole], 1))


class DepthNet(nn.Module):
    """BEVDepth's depth network (arXiv 2206.10092): logits of depth and context features."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.reduce, self.context = conv2d(width, width), nn.Conv2d(width, WIDTH, 1)
        self.depth = nn.Sequential(
            *(Residual(width) for _ in range(3)), Aspp(width), conv2d(width, width), nn.Conv2d(width, BINS, 1)
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.reduce(x)
        return self.depth(x), self.context(x)


class BasicBlock3d(nn.Module):
    """Two 3 x 3 x 3 convolutions with a skip."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv3d(inputs, outputs, 3, stride),
            nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.skip = None
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + (self.skip(x) if self.skip else x))


class MCONetLike(nn.Module):
    """All parts; the methods are the parts whose cost is counted."""

    STAGES = ((80, 1), (160, 2), (320, 2), (640, 2))

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck, self.depth_net = ResNet50(), SecondNeck(), DepthNet()
        self.lidar = SparseEncoder(WIDTH)
        self.fuse_image, self.fuse_lidar = conv3d(WIDTH, WIDTH, 7), conv3d(WIDTH, WIDTH, 7)
        self.gate = nn.Sequential(conv3d(2 * WIDTH, 16), nn.Conv3d(16, 1, 1), nn.Sigmoid())
        stages, inputs = [], WIDTH
        for outputs, stride in self.STAGES:
            stages.append(nn.Sequential(BasicBlock3d(inputs, outputs, stride), BasicBlock3d(outputs, outputs, 1)))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv3d(width, 256, 1) for width, _ in self.STAGES)
        self.smooth = nn.ModuleList(conv3d(256, 256) for _ in self.STAGES)
        self.heads = nn.ModuleList(conv3d(256, 128) for _ in self.STAGES)
        self.weights = nn.Conv3d(128, len(self.STAGES), 1)
        self.classify = nn.Sequential(conv3d(128, 64, 1), nn.Conv3d(64, LABELS, 1))
        self.see = nn.Sequential(nn.Conv2d(512, 128, 1))
        self.see_mlp = nn.Sequential(nn.Linear(128, 64), nn.ReLU())
        self.refine_mlp = nn.Sequential(nn.Linear(128 + 64, 64), nn.ReLU(), nn.Linear(64, LABELS))

    def image_branch(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) uint8 to (N, 512, H / 16, W / 16)."""
        return self.neck(self.backbone.levels(images))

    def view_transform(self, features: torch.Tensor, voxel: torch.Tensor) -> torch.Tensor:
        """Lift (N, 512, h, w) and splat into (1, 80, X, Y, Z); voxel (N, D, h, w) int64 flat, -1 outside."""
        depth, context = self.depth_net(features)
        volume = depth.softmax(1)[:, None] * context[:, :, None]  # (N, C, D, h, w)
        total = GRID[0] * GRID[1] * GRID[2]
        grid = volume.new_zeros(total + 1, WIDTH)
        grid = grid.index_add(0, voxel.flatten() % (total + 1), volume.permute(0, 2, 3, 4, 1).reshape(-1, WIDTH))
        return grid[:total].T.reshape(1, WIDTH, *GRID)

    def lidar_branch(self, voxels: SparseTensor) -> torch.Tensor:
        """(1, 80, X, Y, Z)."""
        return self.lidar(voxels)

    def fusion(self, image: torch.Tensor, lidar: torch.Tensor) -> torch.Tensor:
        """VisFuser: a gate between the two."""
        image, lidar = self.fuse_image(image), self.fuse_lidar(lidar)
        weight = self.gate(torch.cat([image, lidar], 1))
        return weight * image + (1 - weight) * lidar

    def decoder(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fused voxels to voxel features (1, 128, X, Y, Z) and logits (1, 17, X, Y, Z)."""
        levels = [x := stage(x) for stage in self.stages]
        levels = [lateral(level) for lateral, level in zip(self.lateral, levels)]
        for index in (2, 1, 0):
            levels[index] = levels[index] + F.interpolate(levels[index + 1], levels[index].shape[2:])
        heads = [
            F.interpolate(head(smooth(level)), GRID, mode="trilinear")
            for head, smooth, level in zip(self.heads, self.smooth, levels)
        ]
        weights = self.weights(sum(heads)).softmax(1)
        features = sum(weights[:, i : i + 1] * head for i, head in enumerate(heads))
        return features, self.classify(features)

    def refiner(
        self, voxels: torch.Tensor, features: torch.Tensor, place: torch.Tensor, pixel: torch.Tensor
    ) -> torch.Tensor:
        """Children (P,) classified from voxel and image features, (P, 17) logits.

        Args:
            voxels: (1, 128, X, Y, Z). features: (N, 512, h, w). place: (P, 3) in -1..1. pixel: (N, P, 2) in -1..1.
        """
        own = F.grid_sample(voxels, place[None, :, None, None], align_corners=False)[0, :, :, 0, 0].T  # (P, 128)
        maps = self.see(features)
        seen = sum(
            F.grid_sample(one[None], where[None, :, None], align_corners=False)[0, :, :, 0].T
            for one, where in zip(maps, pixel)
        )
        return self.refine_mlp(torch.cat([own, self.see_mlp(seen)], 1))
