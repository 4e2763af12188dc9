"""The surface to drive or walk on, and what blocks it: steps and slopes, and what stands within a height band."""

from dataclasses import dataclass

import numpy as np

from ..core.grid import GridSpec
from ..core.labels import FLAT_GROUND, IGNORE

_IS_FLAT = np.isin(np.arange(256), FLAT_GROUND)
SLOPE_M = 2.0  # metres over which a slope is measured: voxels are too coarse for less


@dataclass(frozen=True)
class Passable:
    """What a vehicle, robot or person can pass.

    Attributes:
        step_m: metres, the highest step. slope: the steepest slope, metres up for each metre along.
        band_m: metres above the surface between which the center of a voxel must lie to block.
        costs: (256,) uint8 by label, 0 to 100; what costs 100 blocks.
    """

    step_m: float
    slope: float
    band_m: tuple[float, float]
    costs: np.ndarray


@dataclass(frozen=True)
class Surface:
    """Flat ground seen from above, column by column.

    Attributes:
        spec: the grid.
        places, names: (N,) int64 flat voxels that are occupied, z fastest, and their labels, (N,) uint8.
        level: (X, Y) int64, the voxel whose top it is; -1 where there is none.
        nearest: (X, Y) int64, `level` of the nearest column that has one; -1 where none has.
        labels: (X, Y) uint8, of that voxel; 0 where there is none.
    """

    spec: GridSpec
    places: np.ndarray
    names: np.ndarray
    level: np.ndarray
    nearest: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, spec: GridSpec) -> "Surface":
        """From (X, Y, Z) uint8 labels: the top of the lowest flat ground of each column, so that bridges are roofs."""
        labels = labels.reshape(-1)  # (X * Y * Z,)
        places = np.flatnonzero(labels - np.uint8(1) < IGNORE - 1)  # neither 0, which becomes 255, nor 255
        names = labels[places]
        level, named = np.full(spec.size[:2], -1), np.zeros(spec.size[:2], np.uint8)
        flat, depth = places[_IS_FLAT[names]], spec.size[2]
        if len(flat):
            goes_on = np.append((flat[1:] == flat[:-1] + 1) & (flat[1:] % depth != 0), False)  # upwards
            top = flat[~goes_on]
            first = np.append(True, top[1:] // depth != top[:-1] // depth)  # of each column: z runs fastest
            level.reshape(-1)[top[first] // depth] = top[first] % depth
            named.reshape(-1)[top[first] // depth] = labels[top[first]]
        return cls(spec, places, names, level, _of_nearest(level), named)

    def heights(self) -> np.ndarray:
        """(X, Y) float32 metres in the grid frame, NaN where there is no surface."""
        heights = self.spec.low[2] + (self.level + 1) * self.spec.voxel_size
        return np.where(self.level < 0, np.nan, heights).astype(np.float32)

    def broken(self, passable: Passable) -> np.ndarray:
        """(X, Y) bool: the surface is there, and too steep, or beside a step that is too high."""
        height = self.heights()
        broken = np.zeros(height.shape, bool)
        reach = max(1, round(SLOPE_M / self.spec.voxel_size / 2))
        for axis in (0, 1):
            along, mark = np.moveaxis(height, axis, 0), np.moveaxis(broken, axis, 0)
            # A step of whole voxels is exact but for float32; slopes are measured from both sides.
            step = np.abs(np.diff(along, axis=0)) > passable.step_m + 1e-3
            mark[1:] |= step
            mark[:-1] |= step
            if len(along) > 2 * reach:
                rise = np.abs(along[2 * reach :] - along[: -2 * reach])
                mark[reach:-reach] |= rise > passable.slope * 2 * reach * self.spec.voxel_size + 1e-3
        return broken & (self.level >= 0)


def _of_nearest(level: np.ndarray) -> np.ndarray:
    """Levels of the nearest columns that have one."""
    import cv2

    there = level >= 0
    if not there.any():
        return level
    _, zone = cv2.distanceTransformWithLabels((~there).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_zone = np.zeros(zone.max() + 1, np.int64)
    of_zone[zone[there]] = level[there]
    return of_zone[zone]


def obstacles(surface: Surface, passable: Passable) -> np.ndarray:
    """Give the voxels that block, (N, 3) int64.

    Those are voxels of classes that block whose center lies within the band above the surface, or above the nearest
    where there is none below; and the surface itself where it is broken. Where no surface is known at all, all voxels
    of classes that block do.
    """
    spec, broken = surface.spec, surface.broken(passable)
    blocks = (passable.costs == 100)[surface.names]
    voxels = np.stack(spec.unflatten(surface.places[blocks]), axis=1)  # (N, 3)
    ground = surface.nearest[voxels[:, 0], voxels[:, 1]]
    above = (voxels[:, 2] - ground - 0.5) * spec.voxel_size  # of centers
    low, high = passable.band_m
    voxels = voxels[(ground < 0) | ((low <= above) & (above <= high))]
    steep = np.argwhere(broken)
    return np.concatenate([voxels, np.c_[steep, surface.level[broken]]])


def costs(surface: Surface, blocking: np.ndarray, passable: Passable) -> np.ndarray:
    """Give what it costs to be in each column, (X, Y) int8: 0 to 100 where something blocks, -1 where nothing is known.

    Args:
        blocking: (N, 3) voxels, what `obstacles` gives.
    """
    found = np.where(surface.level < 0, -1, passable.costs[surface.labels].astype(np.int64)).astype(np.int8)
    found[blocking[:, 0], blocking[:, 1]] = 100
    return found
