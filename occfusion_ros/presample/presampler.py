"""`SensorFrame` to the fuser's fixed-size tensors."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F

from ..core.contract import ModelContract
from ..core.errors import InvalidFrameError
from ..core.frames import PastPoints, SensorFrame
from ..core.grid import GridSpec, flatten
from ..core.preprocessing import INTENSITY_STEPS, Preprocessing
from ..core.processor import usable_cores
from .ages import NUM_AGES, Ages, Earlier, ages_of
from .points import LOCAL_STEPS, SAMPLINGS, VoxelPoints, argsort, divided, presample, synthetic_pattern, voxelize
from .projection import assign_cameras, fit_pixels, fit_projection, seen_pixels

NUM_STATISTICS = 4
_RESAMPLERS = ThreadPoolExecutor(usable_cores(), "resample")


def _own_threads() -> None:
    """Threads do not come along into a forked process: it would wait for them for ever."""
    global _RESAMPLERS
    _RESAMPLERS = ThreadPoolExecutor(usable_cores(), "resample")


os.register_at_fork(after_in_child=_own_threads)


@dataclass(frozen=True)
class PresampleConfig:
    """What the fuser expects; see `ModelContract` for the meaning of the fields that are not explained here.

    Attributes:
        sampling: how a voxel's theta points come about, see `points.presample`; the others are there to compare with
            "both". With "fps" and "none" a voxel with too few returns keeps slots that no camera sees.
        use_lidar: False leaves out every return, to compare with cameras alone.
    """

    grid: GridSpec = GridSpec()
    coarse_factor: int = 4
    points_per_voxel: int = 4
    fusion_queries: int = 8192
    image_size: tuple[int, int] = (256, 704)
    horizon: float = 0.27
    max_cameras: int = 8
    sampling: str = "both"
    use_lidar: bool = True
    preprocessing: Preprocessing = Preprocessing()

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {self.sampling!r}")

    @classmethod
    def of(cls, contract: ModelContract) -> "PresampleConfig":
        """How frames are pre-sampled for a model."""
        return cls(
            contract.grid,
            contract.coarse_factor,
            contract.points_per_voxel,
            contract.fusion_queries,
            contract.image_size,
            contract.horizon,
            contract.max_cameras,
            preprocessing=contract.preprocessing,
        )

    @property
    def num_features(self) -> int:
        """Features of a fused voxel: one per sub-voxel, those of age where the model has them, then the statistics."""
        return self.coarse_factor**3 + NUM_AGES * self.preprocessing.lags + NUM_STATISTICS


@dataclass(frozen=True)
class FusedVoxels:
    """What pre-sampling makes of one sweep; Q queries, theta points each.

    Attributes:
        voxel_index: (Q,) int64 flat coarse voxel (z fastest); the number of coarse voxels marks an unused query.
        voxel_features: (Q, F) float32, sub-voxel returns (0 or 1), then log count, mean height, mean intensity, range;
            with lags `Ages.freshness` in place of the returns, and `Ages.statistics` behind it.
        point_features: (Q, theta, 4) float32, position in the voxel (-0.5..0.5) and 1 for a real return.
        point_uv: (Q, theta, 2) float32, 0..1 across the image of `point_camera`.
        point_camera: (Q, theta) int64, index into images, -1 where no camera sees the point.
        image_from_grid: (N, 4, 4) float32 projection; empty (0, 4, 4) where there is no camera.
        returns: (R,) int64 flat fine voxels (z fastest) that hold a return of the present sweep, ascending.
        present: (T,) float32, 1 for coarse voxels that hold one, else 0.
    """

    voxel_index: torch.Tensor
    voxel_features: torch.Tensor
    point_features: torch.Tensor
    point_uv: torch.Tensor
    point_camera: torch.Tensor
    image_from_grid: torch.Tensor
    returns: torch.Tensor
    present: torch.Tensor

    NETWORK_INPUTS = ("voxel_index", "voxel_features", "point_features", "point_uv", "point_camera")
    KNOWN_INPUTS = (*NETWORK_INPUTS, "present")

    def network_inputs(self, names: Sequence[str] = NETWORK_INPUTS) -> dict[str, torch.Tensor]:
        """The tensors that enter the fuser beside the images, by name; a screen asks for `present` besides."""
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device) -> "FusedVoxels":
        """The same on `device`; tensors that are there already are not copied."""
        return FusedVoxels(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class Presampler:
    """Pre-sampling on one device; holds the constant tables of a grid."""

    def __init__(self, config: PresampleConfig, device: torch.device | str = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self.coarse = config.grid.coarse(config.coarse_factor)
        # Tables are made on the CPU: roots and sums of squares are rounded in other ways on a GPU.
        distance = self.centers(torch.arange(self.coarse.num_voxels)).norm(dim=1)
        self.range = distance.to(self.device)
        # Rank of each voxel by distance from the sensor: ties are broken by the index, on every device alike.
        self.by_range = torch.sort(distance, stable=True).indices.to(self.device)
        self.rank = torch.empty_like(self.by_range)
        self.rank[self.by_range] = torch.arange(len(self.range), device=self.device)

    def __call__(self, frame: SensorFrame) -> FusedVoxels:
        """Describe the sweep of a frame; its images are neither read nor resampled.

        Raises:
            InvalidFrameError: it has more cameras than the model takes.
        """
        image_from_grid, seen = self.projections(frame), self.seen_pixels(frame)
        return self.prepare_points(frame.points, image_from_grid, seen, frame.body_removed, frame.past)

    def projections(self, frame: SensorFrame) -> torch.Tensor:
        """Project the grid to the network's images: (N, 4, 4) float32; raises as `__call__`."""
        config = self.config
        if len(frame.cameras) > config.max_cameras:
            raise InvalidFrameError(f"the model takes at most {config.max_cameras} cameras, got {len(frame.cameras)}")
        matrices = [fit_projection(camera, config.image_size, config.horizon) for camera in frame.cameras]
        return torch.from_numpy(np.reshape(matrices, (-1, 4, 4)).astype(np.float32)).to(self.device)

    def prepare_images(self, frame: SensorFrame) -> torch.Tensor:
        """Resample the images: (N, 3, h, w) uint8 RGB; one gray image where there is no camera."""
        return self.start_images(frame)()

    def start_images(self, frame: SensorFrame) -> Callable[[], torch.Tensor]:
        """As `prepare_images`, but other threads resample the images meanwhile: the call that is returned waits."""
        config = self.config
        if not frame.cameras:
            gray = torch.full((1, 3, *config.image_size), 127, dtype=torch.uint8, device=self.device)
            return lambda: gray
        pending = [
            _RESAMPLERS.submit(fit_pixels, camera, config.image_size, config.horizon) for camera in frame.cameras
        ]
        return lambda: torch.stack([image.result() for image in pending]).to(self.device)

    def seen_pixels(self, frame: SensorFrame) -> torch.Tensor | None:
        """(N, h, w) bool, pixels that show the scene; None where all of all cameras do."""
        config = self.config
        each = [seen_pixels(camera, config.image_size, config.horizon) for camera in frame.cameras]
        if all(one is None for one in each):
            return None
        every = torch.ones(config.image_size, dtype=torch.bool)
        return torch.stack([every if one is None else one for one in each]).to(self.device)

    def prepare_points(
        self,
        points: np.ndarray,
        image_from_grid: torch.Tensor,
        seen: torch.Tensor | None = None,
        body_removed: bool = False,
        past: PastPoints | None = None,
    ) -> FusedVoxels:
        """Everything that depends on the sweep.

        Args:
            points: (N, 4) float32, grid frame; `body_removed`: without the vehicle already, see `SensorFrame`.
            seen: by `seen_pixels`. past: of earlier sweeps; left out by models without lags.
        """
        points = points if self.config.use_lidar else points[:0]
        past = past if past and self.config.use_lidar and self.config.preprocessing.lags else PastPoints()
        voxels, returns, ages = self._voxelize(points, past, body_removed)
        present = voxels.voxel[ages.present] if ages else voxels.voxel
        index = self._choose_queries(voxels.voxel, present)
        local, real, features = self._describe(voxels, index, ages)
        position = (local.double() + 0.5) / LOCAL_STEPS - 0.5  # (Q, theta, 3)
        used = (index < self.coarse.num_voxels)[:, None]
        if self.config.sampling in ("fps", "none"):
            used = used & real
        centers = self.centers(index.clamp(max=self.coarse.num_voxels - 1))
        world = (centers[:, None] + position * self.coarse.voxel_size).float()  # (Q, theta, 3)
        uv, camera = assign_cameras(
            world.flatten(0, 1), image_from_grid, self.config.image_size, self.config.preprocessing.near, seen
        )
        camera = camera.view(real.shape).masked_fill(~used, -1)
        point_features = torch.cat([position.float(), real[..., None].float()], -1)
        held = torch.zeros(self.coarse.num_voxels, device=self.device)
        held[present] = 1
        uv = uv.view(*real.shape, 2)
        return FusedVoxels(index, features, point_features, uv, camera, image_from_grid, returns, held)

    def centers(self, flat: torch.Tensor) -> torch.Tensor:
        """(Q,) flat coarse index (z fastest) to (Q, 3) float64 voxel centers, metres."""
        index = torch.stack(self.coarse.unflatten(flat), 1)
        low = torch.tensor(self.coarse.low, dtype=torch.float64, device=flat.device)
        return low + (index + 0.5) * self.coarse.voxel_size

    def _voxelize(
        self, points: np.ndarray, past: PastPoints, body_removed: bool
    ) -> tuple[VoxelPoints, torch.Tensor, Ages | None]:
        """Group the usable points by coarse voxel; also the fine voxels that the sweep returns from, and ages."""
        grid, factor = self.config.grid, self.config.coarse_factor
        fine, coarse, fraction, intensity = self._placed(torch.from_numpy(points).to(self.device), body_removed)
        flat, returns = self.coarse.flatten(*coarse).long(), grid.flatten(*fine).long()
        returns = torch.unique_consecutive(returns[argsort(returns)])
        if not self.config.preprocessing.lags:
            return voxelize(flat, fraction, intensity), returns, None
        earlier = Earlier.of(past, grid, factor, self.device)
        x, y, z = (index - factor * block for index, block in zip(fine, coarse))
        child = flatten(x, y, z, (factor,) * 3).long()
        ages = ages_of(flat, child, earlier, (self.coarse.num_voxels, factor**3))
        flat = torch.cat([flat, earlier.voxel[ages.chosen]])
        fraction = torch.cat([fraction, earlier.fraction(ages.chosen, factor)])
        return voxelize(flat, fraction, torch.cat([intensity, earlier.intensity[ages.chosen]])), returns, ages

    def _placed(
        self, points: torch.Tensor, body_removed: bool
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor, torch.Tensor]:
        """The usable points: fine and coarse voxel by axis, three (M,) int32 each; place inside the coarse one (M, 3);
        intensity (M,). Axis by axis, because rows of three are slow.
        """
        grid, factor, own = self.config.grid, self.config.coarse_factor, self.config.preprocessing.ego_radius
        *axes, intensity = points.T.contiguous()
        x, y, z = (axis.double() for axis in axes)
        scaled = [divided(axis - low, grid.voxel_size) for axis, low in zip((x, y, z), grid.low)]
        keep = torch.ones_like(x, dtype=torch.bool) if body_removed else x * x + y * y > own**2
        for place, size in zip(scaled, grid.size):
            keep &= (place >= 0) & (place < size)
        kept = keep.nonzero()[:, 0]
        scaled = [place[kept] for place in scaled]
        fine = [place.int() for place in scaled]  # floor: scaled is not negative
        coarse = [torch.div(index, factor, rounding_mode="trunc") for index in fine]
        fraction = [divided(place, factor) - block for place, block in zip(scaled, coarse)]
        return fine, coarse, torch.stack(fraction, 1), intensity[kept]

    def _choose_queries(self, occupied: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(Q,) int64: voxels with returns of the present sweep, those with others, their neighbors, then the rest.

        Nearest first within each. Padded at the end where the grid has fewer voxels than there are queries.

        Args:
            occupied, present: (V,) flat coarse voxels with any return, and with one of the present sweep.
        """
        total, budget = self.coarse.num_voxels, self.config.fusion_queries
        is_near = self._with_neighbors(occupied)
        near = is_near.nonzero()[:, 0]
        turn = torch.full((total,), 2, device=self.device)
        turn[occupied] = 1
        turn[present] = 0
        order = argsort(self.rank[near] + total * turn[near])[:budget]
        nearest = self.by_range[:budget]  # enough: what is lacking is less than what of these is not near
        others = nearest[~is_near[nearest]][: budget - len(order)]
        chosen = torch.cat([near[order], others])
        return F.pad(chosen, (0, budget - len(chosen)), value=total)

    def _with_neighbors(self, flat: torch.Tensor) -> torch.Tensor:
        """(V,) flat coarse voxels to (T,) bool over the coarse grid: the voxels in their 3 x 3 x 3 blocks."""
        x, y, z = self.coarse.size
        padded = torch.zeros((x + 2, y + 2, z + 2), dtype=torch.bool, device=self.device)  # a border spares the checks
        steps = torch.cartesian_prod(*(torch.arange(3, device=self.device),) * 3)  # (27, 3)
        center = flatten(*self.coarse.unflatten(flat), padded.shape)
        block = flatten(steps[:, 0], steps[:, 1], steps[:, 2], padded.shape)
        padded.view(-1)[(center[:, None] + block).view(-1)] = True
        return padded[1:-1, 1:-1, 1:-1].flatten()

    def _describe(
        self, voxels: VoxelPoints, index: torch.Tensor, ages: Ages | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Per query: local points (Q, theta, 3), real (Q, theta) and features (Q, F)."""
        theta = self.config.points_per_voxel
        row = torch.full((self.coarse.num_voxels + 1,), len(voxels.voxel), device=self.device)
        row[voxels.voxel] = torch.arange(len(voxels.voxel), device=self.device)
        row = row[index]  # the last row stands for a voxel without returns
        local, real = presample(voxels, theta, self.config.sampling)
        local = torch.cat([local, synthetic_pattern(theta, self.device)[None]]).index_select(0, row)
        real = torch.cat([real, real.new_zeros(1, theta)]).index_select(0, row)
        nothing = torch.zeros((1, self.config.num_features), device=self.device)
        features = torch.cat([self._features(voxels, ages), nothing]).index_select(0, row)
        features[:, -1] = divided(F.pad(self.range, (0, 1))[index], self.config.preprocessing.range_scale)
        return local, real, features

    def _features(self, voxels: VoxelPoints, ages: Ages | None) -> torch.Tensor:
        """(V, F) float32, see `FusedVoxels`; the range is set later."""
        factor, owner = self.config.coarse_factor, voxels.owner
        sub = voxels.local * factor // LOCAL_STEPS  # (M, 3)
        slot = (sub[:, 0] * factor + sub[:, 1]) * factor + sub[:, 2]
        features = torch.zeros((len(voxels.voxel), self.config.num_features), device=self.device)
        features[owner, slot] = 1.0
        if ages:
            features[:, : factor**3 + NUM_AGES] = torch.cat([ages.freshness, ages.statistics], 1)
        sums = torch.zeros((len(voxels.voxel), 2), dtype=torch.long, device=self.device)
        sums.index_add_(0, owner, torch.stack([voxels.local[:, 2], voxels.intensity], 1))
        mean = sums.double() / voxels.count[:, None]
        features[:, -4] = voxels.count.double().log1p().float()
        features[:, -3] = (mean[:, 0] / LOCAL_STEPS - 0.5).float()
        features[:, -2] = divided(mean[:, 1], INTENSITY_STEPS).float()
        return features
