"""The voxel grid: one home for range, voxel size, index order and the cell-center rule."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ContractError


def strides(size: tuple[int, ...]) -> tuple[int, int, int]:
    """Return how far apart in flat indices the neighbors along x, y and z of an (X, Y, Z) block lie."""
    return size[1] * size[2], size[2], 1


def flatten(x: Any, y: Any, z: Any, size: tuple[int, ...]) -> Any:
    """Turn indices into an (X, Y, Z) block of any size into flat ones, z fastest; see `GridSpec.flatten`."""
    return (x * size[1] + y) * size[2] + z


def unflatten(flat: Any, size: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """Turn flat indices back into those along x, y and z; the inverse of `flatten`."""
    return flat // (size[1] * size[2]), flat // size[2] % size[1], flat % size[2]


@dataclass(frozen=True)
class GridSpec:
    """A regular voxel grid in the grid frame (x right, y forward, z up for nuScenes' LIDAR_TOP).

    Index rule: ``index = floor((point - low) / voxel_size)``; center = ``low + (index + 0.5) * voxel_size``.
    Arrays over the grid have shape (X, Y, Z) and C order (z fastest).

    Attributes:
        low: metres, the low corner of voxel (0, 0, 0).
        voxel_size: metres, edge of the cubic voxel.
        size: voxels along x, y and z.
    """

    low: tuple[float, float, float] = (-51.2, -51.2, -5.0)
    voxel_size: float = 0.2
    size: tuple[int, int, int] = (512, 512, 40)

    def __post_init__(self) -> None:
        if len(self.low) != 3 or len(self.size) != 3 or not np.isfinite(self.low).all():
            raise ContractError(f"grid needs 3 values for low and size, got {self.low} and {self.size}")
        if not self.voxel_size > 0 or not np.isfinite(self.voxel_size):
            raise ContractError(f"voxel size must be a positive number of metres, got {self.voxel_size}")
        if min(self.size) < 1:
            raise ContractError(f"grid size must be at least 1 voxel along each axis, got {self.size}")
        object.__setattr__(self, "low", tuple(float(v) for v in self.low))
        object.__setattr__(self, "size", tuple(int(v) for v in self.size))

    @property
    def high(self) -> tuple[float, float, float]:
        """Metres, the high corner of the grid (exclusive)."""
        x, y, z = (lo + n * self.voxel_size for lo, n in zip(self.low, self.size))
        return x, y, z

    @property
    def num_voxels(self) -> int:
        """Number of voxels in the grid."""
        return self.size[0] * self.size[1] * self.size[2]

    def coarse(self, factor: int) -> "GridSpec":
        """The grid of the same range whose voxels are `factor` times as large along each axis."""
        if factor < 1 or any(n % factor for n in self.size):
            raise ContractError(f"coarse factor must divide the grid size {self.size}, got {factor}")
        x, y, z = self.size
        return GridSpec(self.low, self.voxel_size * factor, (x // factor, y // factor, z // factor))

    def indices(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Voxel indices of points.

        Args:
            points: (N, 3) float, metres, grid frame.

        Returns:
            indices (N, 3) int64 and inside (N,) bool; indices of points outside (or not finite) are meaningless.
        """
        scaled = np.floor((np.asarray(points, np.float64) - self.low) / self.voxel_size)
        inside = np.all((scaled >= 0) & (scaled < self.size), axis=1)  # False for NaN
        return np.where(inside[:, None], scaled, 0).astype(np.int64), inside

    def centers(self, indices: np.ndarray) -> np.ndarray:
        """Voxel centers: (N, 3) integer indices to (N, 3) float64 metres in the grid frame."""
        return np.asarray(self.low) + (np.asarray(indices) + 0.5) * self.voxel_size

    def flatten(self, x: Any, y: Any, z: Any) -> Any:
        """Turn voxel indices into flat ones, z fastest as in memory; numpy arrays, torch tensors or integers."""
        return flatten(x, y, z, self.size)

    def unflatten(self, flat: Any) -> tuple[Any, Any, Any]:
        """Turn flat indices back into those along x, y and z; the inverse of `flatten`."""
        return unflatten(flat, self.size)

    def flat_x_fastest(self, indices: np.ndarray) -> np.ndarray:
        """(N, 3) indices to (N,) int64 ``x + X * (y + Y * z)``, the order of OccupancyGrid3D messages."""
        x, y, z = np.asarray(indices, np.int64).T
        return x + self.size[0] * (y + self.size[1] * z)

    def unflatten_x_fastest(self, flat: np.ndarray) -> np.ndarray:
        """Inverse of `flat_x_fastest`: (N,) to (N, 3) int64."""
        flat = np.asarray(flat, np.int64)
        rows = flat // self.size[0]  # a quotient takes less than a remainder does
        slices = rows // self.size[1]
        return np.stack([flat - rows * self.size[0], rows - slices * self.size[1], slices]).T
