"""Voxels as a dense block of colored cells, cropped and merged: for programs without a sparse form."""

from dataclasses import dataclass

import numpy as np

from ...core.grid import GridSpec
from ...core.labels import IGNORE
from .occupied_voxels import OccupiedVoxels

FIELDS = ("red", "green", "blue", "alpha", "label")  # of a cell, a byte each


@dataclass(frozen=True)
class Cells:
    """A block of cells.

    Attributes:
        spec: its grid.
        values: (Z, Y, X, 5) uint8, `FIELDS`; where nothing is alpha is 0, and the label 255 where that is not known.
    """

    spec: GridSpec
    values: np.ndarray


def cells_of(voxels: OccupiedVoxels, colors: np.ndarray, range_m: float = 0.0, merge: int = 1) -> Cells:
    """Voxels as cells.

    A cell has the class that most of its occupied voxels have (of several the one with the lowest label), and the mean
    color of those. It is unknown where all of its voxels are.

    Args:
        colors: (N, 3) uint8, of the voxels.
        range_m: metres from the frame's origin along x and y beyond which voxels are left out; 0: none.
        merge: voxels along each edge of a cell.
    """
    spec = voxels.spec
    low, high = _window(spec, range_m)
    size = -(-(high - low) // merge)
    coarse = GridSpec(
        tuple(np.asarray(spec.low) + low * spec.voxel_size), spec.voxel_size * merge, tuple(size.tolist())
    )
    indices = spec.unflatten_x_fastest(voxels.flat)
    inside = ((indices >= low) & (indices < high)).all(axis=1)
    cells = coarse.flat_x_fastest((indices[inside] - low) // merge)
    values = np.zeros((coarse.num_voxels, len(FIELDS)), np.uint8)
    values[_unknown(voxels, low, high, merge), -1] = IGNORE
    keys, member, counts = np.unique(cells << 8 | voxels.labels[inside], return_inverse=True, return_counts=True)
    order = np.lexsort((keys, -counts, keys >> 8))
    _, first = np.unique(keys[order] >> 8, return_index=True)
    best = order[first]
    sums = [np.bincount(member, channel, len(keys)) for channel in colors[inside].T]
    values[keys[best] >> 8] = np.stack(
        [*(np.rint(channel[best] / counts[best]) for channel in sums), np.full(len(best), 255), keys[best] & 255], 1
    )
    return Cells(coarse, values.reshape(*coarse.size[::-1], len(FIELDS)))


def _window(spec: GridSpec, range_m: float) -> tuple[np.ndarray, np.ndarray]:
    """First voxel along each axis, and the one after the last, (3,) int64 each; the whole grid where none would be."""
    size = np.array(spec.size)
    if not range_m:
        return np.zeros(3, np.int64), size
    low = np.floor((-range_m - np.asarray(spec.low)) / spec.voxel_size + 1e-6).astype(np.int64)
    high = np.ceil((range_m - np.asarray(spec.low)) / spec.voxel_size - 1e-6).astype(np.int64)
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    low[2], high[2] = 0, size[2]
    return (low, high) if (low < high).all() else (np.zeros(3, np.int64), size)


def _unknown(voxels: OccupiedVoxels, low: np.ndarray, high: np.ndarray, merge: int) -> np.ndarray:
    """Which cells, x fastest, are unknown throughout."""
    dense = voxels.dense.reshape(voxels.spec.size[::-1])
    unknown = dense[tuple(map(slice, low[::-1], high[::-1]))] == IGNORE
    for axis in range(3):
        along = np.moveaxis(unknown, axis, 0)
        merged = along[::merge]
        for part in (along[i::merge] for i in range(1, merge)):
            merged[: len(part)] &= part  # the last cell may be cut
        unknown = np.moveaxis(merged, 0, axis)
    return unknown.ravel()
