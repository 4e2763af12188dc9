"""Networks taken apart into the parts whose cost is counted, with made-up inputs of the real sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.performance.mconet import BINS, GRID, MCONetLike
from benchmarks.performance.sparse_convolution import SparseTensor, voxel_means
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.fusion import FusedPoints, stack_cameras
from occfusion_ros.network.occfusion import FuserOutput, ModelConfig, OccFusion
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler
from synthetic import seeds

CAMERAS, POINTS = 6, 30_000
SWEEPS, SWEEP_SECONDS = 10, 0.05  # of M-CONet's LiDAR branch
DRIVE = seeds.TIMING[0]  # synthetic drive whose sweeps it gets


def example(config: ModelConfig, seed: int = 0) -> tuple[dict[str, torch.Tensor], Presampler]:
    """Arguments of `fuse` without the features, for a made-up sweep and cameras all around; batch of one."""
    rng, grid = np.random.default_rng(seed), config.presample.grid
    low, high = np.array(grid.low), np.array(grid.high)
    points = np.c_[rng.uniform(low, high, (POINTS, 3)), rng.random(POINTS)].astype(np.float32)
    height, width = config.presample.image_size
    intrinsics = np.array([[0.8 * width, 0, width / 2], [0, 0.8 * width, height * config.presample.horizon], [0, 0, 1]])
    cameras = np.tile(np.eye(4), (CAMERAS, 1, 1))
    for camera, yaw in zip(cameras, np.arange(CAMERAS) * 2 * np.pi / CAMERAS):
        c, s = np.cos(yaw), np.sin(yaw)
        camera[:3, :3] = intrinsics @ np.array([[c, s, 0], [0, 0, -1], [-s, c, 0]])
    presampler = Presampler(config.presample)
    image_from_grid = torch.from_numpy(cameras).float()
    inputs = presampler.prepare_points(points, image_from_grid)
    batch = {name: value[None] for name, value in inputs.network_inputs().items()}
    return {**batch, "image_from_grid": image_from_grid[None]}, presampler


def children_of(parents: torch.Tensor, batch: dict[str, torch.Tensor], presampler: Presampler) -> dict[str, Any]:
    """Arguments of `refine` for the coarse voxels `parents` (K,), of which none holds a return; batch of one."""
    nothing = torch.empty(0, dtype=torch.long)
    children = describe_children(parents, presampler, batch["image_from_grid"][0], nothing)
    return {name: value[None] for name, value in children.network_inputs().items()}


class OccFusionParts:
    """An OccFusion network with random weights; its methods, in this order, are one frame with six cameras.

    Args:
        config: of the network. refined: coarse voxels that are refined. device: "meta" computes nothing.
    """

    def __init__(self, config: ModelConfig, refined: int, device: str = "cpu") -> None:
        batch, presampler = example(config)
        children = children_of(torch.arange(refined), batch, presampler)
        self.batch = {name: value.to(device) for name, value in batch.items()}
        self.children = {name: value.to(device) for name, value in children.items()}
        with torch.device(device):
            self.model = OccFusion(config).eval()
            self.images = torch.zeros((CAMERAS, 3, *config.presample.image_size), dtype=torch.uint8)
        self.maps: list[torch.Tensor] = []

    def calls(self) -> dict[str, Callable[[], Any]]:
        """What a frame takes, by part; each call needs the ones before it."""
        first = {"image branch": self.image_branch} if self.model.config.uses_images else {}
        return {**first, "fusion": self.fusion, "decoder": self.decoder, "refiner": self.refiner}

    def modules(self) -> dict[str, list[nn.Module]]:
        """What has the weights of each part."""
        model = self.model
        first = {"image branch": [model.backbone, model.pyramid]} if model.config.uses_images else {}
        return {
            **first,
            "fusion": [model.voxel_encoder, model.fusion],
            "decoder": [model.decoder, model.coarse_head, model.occupancy_head],
            "refiner": [model.refiner],
        }

    def image_branch(self) -> None:
        """Images to feature maps."""
        self.maps = [stack_cameras(level, 1) for level in self.model.pyramid(self.model.backbone(self.images))]

    def fusion(self) -> None:
        """Pre-sampled points and feature maps to dense voxels."""
        names = ("voxel_index", "point_features", "point_uv", "point_camera", "image_from_grid")
        points = FusedPoints(*(self.batch[name] for name in names))
        query = self.model.voxel_encoder(self.batch["voxel_features"])
        self.dense, _ = self.model.fusion(query, points, self.maps, CAMERAS)

    def decoder(self) -> None:
        """Dense voxels to voxel features and the two heads."""
        voxels = torch.cat([self.model.decode(self.dense)[0], self.dense], 2)
        image_map = self.maps[0] if self.maps else voxels.new_empty(1, 0)
        self.fused = FuserOutput(self.model.coarse_head(voxels), self.model.occupancy_head(voxels), voxels, image_map)

    def refiner(self) -> None:
        """Children of the voxels that are refined, classified."""
        self.model.refine(self.fused, **self.children, count=CAMERAS)


class MCONetParts:
    """`MCONetLike` with random weights; the interface of `OccFusionParts`. Its LiDAR branch is computed on any device.

    Args:
        image_size: (height, width) pixels. refined: coarse voxels that are refined.
    """

    def __init__(self, image_size: tuple[int, int], refined: int, device: str = "cpu") -> None:
        with torch.device(device):
            self.model = MCONetLike().eval()
            self.images = torch.zeros((CAMERAS, 3, *image_size), dtype=torch.uint8)
            cells = (image_size[0] // 16, image_size[1] // 16)
            total = GRID[0] * GRID[1] * GRID[2]
            self.voxel = torch.arange(CAMERAS * BINS * cells[0] * cells[1]).view(CAMERAS, BINS, *cells) % total
            self.place = torch.zeros(refined * 64, 3)
            self.pixel = torch.zeros(CAMERAS, refined * 64, 2)
        self.model.lidar = type(self.model.lidar)().eval()  # what it costs depends on where there is something
        self.device = device
        self.voxels = sweeps_of_a_drive()

    def calls(self) -> dict[str, Callable[[], Any]]:
        """What a frame takes, by part; each call needs the ones before it."""
        return {
            "image branch": self.image_branch,
            "view transform": self.view_transform,
            "LiDAR branch": self.lidar_branch,
            "fusion": self.fusion,
            "decoder": self.decoder,
            "refiner": self.refiner,
        }

    def modules(self) -> dict[str, list[nn.Module]]:
        """What has the weights of each part."""
        m = self.model
        return {
            "image branch": [m.backbone, m.neck],
            "view transform": [m.depth_net],
            "LiDAR branch": [m.lidar],
            "fusion": [m.fuse_image, m.fuse_lidar, m.gate],
            "decoder": [m.stages, m.lateral, m.smooth, m.heads, m.weights, m.classify],
            "refiner": [m.see, m.see_mlp, m.refine_mlp],
        }

    def image_branch(self) -> None:
        """Images to features at stride 16."""
        self.features = self.model.image_branch(self.images)

    def view_transform(self) -> None:
        """Features lifted with a depth distribution and splat into voxels."""
        self.image_voxels = self.model.view_transform(self.features, self.voxel)

    def lidar_branch(self) -> None:
        """Sweeps through the sparse encoder."""
        self.lidar_voxels = self.model.lidar_branch(self.voxels).to(self.device)

    def fusion(self) -> None:
        """The gate between the two."""
        self.fused = self.model.fusion(self.image_voxels, self.lidar_voxels)

    def decoder(self) -> None:
        """Fused voxels to voxel features and classes."""
        self.decoded, _ = self.model.decoder(self.fused)

    def refiner(self) -> None:
        """Children of the voxels that are refined, classified."""
        self.model.refiner(self.decoded, self.features, self.place, self.pixel)


def sweeps_of_a_drive() -> SparseTensor:
    """Voxels of 0.1 m of ten successive sweeps of a synthetic drive."""
    from synthetic import SyntheticDrive

    drive, places = SyntheticDrive(DRIVE, interval=SWEEP_SECONDS), []
    for index in range(SWEEPS):
        sweep, map_from_grid = drive.sweep(index)
        if index == 0:
            grid_from_map = np.linalg.inv(map_from_grid)
        matrix = grid_from_map @ map_from_grid
        places.append(np.c_[sweep.points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3], sweep.points[:, 3]])
    points = torch.from_numpy(np.concatenate(places)).float()
    return voxel_means(points, GridSpec.low, 0.1, tuple(8 * edge for edge in GRID))
