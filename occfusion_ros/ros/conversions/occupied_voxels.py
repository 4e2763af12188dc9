"""The occupied voxels of a grid, in the order of messages, and which of them can be seen."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...core.grid import GridSpec
from ...core.labels import IGNORE

BLOCK = 64  # rows along y
CROWDED = 4  # where more than one in so many words holds a label, to look at words first does not pay
WORD = 32  # bits that a flat index fits into: messages have uint32


def x_fastest(labels: np.ndarray) -> np.ndarray:
    """(X, Y, Z) uint8 labels to (X * Y * Z,) with x running fastest."""
    import cv2

    x, y, z = labels.shape
    dense = np.empty((z, y, x), np.uint8)
    for low in range(0, y, BLOCK):  # of which both forms lie in the caches; unlike numpy, OpenCV transposes in blocks
        rows = cv2.transpose(labels[:, low : low + BLOCK].reshape(x, -1))
        dense[:, low : low + BLOCK] = rows.reshape(-1, z, x).transpose(1, 0, 2)
    return dense.reshape(-1)


def x_slowest(flat: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Inverse of `x_fastest`: (X * Y * Z,) to a C-ordered (X, Y, Z) array."""
    return np.ascontiguousarray(flat.reshape(size[::-1]).transpose(2, 1, 0))


@dataclass(frozen=True)
class OccupiedVoxels:
    """The voxels of a grid in which something is.

    Attributes:
        spec: the grid.
        grid: (X, Y, Z) uint8 labels.
        flat: (N,) int64 ascending flat indices of the voxels, x fastest.
        z_fastest: (N,) int64 flat indices of the same voxels, z fastest.
        labels: (N,) uint8, neither EMPTY nor IGNORE.
    """

    spec: GridSpec
    grid: np.ndarray
    flat: np.ndarray
    z_fastest: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, spec: GridSpec) -> "OccupiedVoxels":
        """From (X, Y, Z) uint8 labels."""
        values = np.ascontiguousarray(labels).reshape(-1)
        there = cls.flat_of(values)
        x, y, z = spec.unflatten(there)
        pairs = np.sort((x + spec.size[0] * (y + spec.size[1] * z)) << WORD | there)  # a whole grid need not be turned
        there = pairs & ((1 << WORD) - 1)
        return cls(spec, labels, pairs >> WORD, there, values[there])

    @staticmethod
    def flat_of(dense: np.ndarray) -> np.ndarray:
        """(N,) int64 ascending places in (V,) uint8 labels where something is."""
        whole = len(dense) // 8 * 8
        eights = dense[:whole].view(np.uint64)  # labels at once: most are empty
        words = np.flatnonzero(eights != 0)
        if len(words) > whole // 8 // CROWDED:
            return np.flatnonzero(_is_solid(dense))
        place = np.flatnonzero(_is_solid(eights.take(words).view(np.uint8)))
        place = words[place >> 3] * 8 + (place & 7)
        return np.concatenate([place, whole + np.flatnonzero(_is_solid(dense[whole:]))])

    @cached_property
    def dense(self) -> np.ndarray:
        """(X * Y * Z,) uint8 labels, x fastest."""
        return x_fastest(self.grid)

    def chosen(self, mask: np.ndarray) -> "OccupiedVoxels":
        """Those where the (N,) mask is true, or those at these places; the grid stays whole."""
        return OccupiedVoxels(self.spec, self.grid, self.flat[mask], self.z_fastest[mask], self.labels[mask])

    def centers(self) -> np.ndarray:
        """(N, 3) float64 metres, grid frame."""
        return self.spec.centers(self.spec.unflatten_x_fastest(self.flat))

    @cached_property
    def exposed(self) -> "OccupiedVoxels":
        """Those with a face towards an empty or unknown voxel or the grid's border; the others cannot be seen."""
        seen = np.zeros(len(self.flat), bool)
        stride = 1
        for position, size in zip(self.spec.unflatten_x_fastest(self.flat).T, self.spec.size):
            for step, border in ((-stride, 0), (stride, size - 1)):
                neighbor = self.dense.take(self.flat + step, mode="clip")  # beyond a border, whatever is there
                seen |= (position == border) | ~_is_solid(neighbor)
            stride *= size
        return self.chosen(seen)

    def runs(self, longest: int) -> tuple["OccupiedVoxels", np.ndarray]:
        """First voxels of the runs along x of equal labels, and (R,) int64 how many voxels a run has.

        Longer runs are cut into runs of `longest`, the last of which has what is left.
        """
        begins = np.ones(len(self.flat), bool)
        begins[1:] = (
            (np.diff(self.flat) != 1) | (self.labels[1:] != self.labels[:-1]) | (self.flat[1:] % self.spec.size[0] == 0)
        )
        first = np.flatnonzero(begins)
        lengths = np.diff(first, append=len(self.flat))
        pieces = -(-lengths // longest)
        done = (np.arange(pieces.sum()) - np.repeat(pieces.cumsum() - pieces, pieces)) * longest
        first, lengths = np.repeat(first, pieces) + done, np.minimum(np.repeat(lengths, pieces) - done, longest)
        return OccupiedVoxels(
            self.spec, self.grid, self.flat[first], self.z_fastest[first], self.labels[first]
        ), lengths


def _is_solid(labels: np.ndarray) -> np.ndarray:
    """Which uint8 labels are neither EMPTY, 0, nor IGNORE, 255."""
    return labels - np.uint8(1) < IGNORE - 1  # 0 becomes 255


def at_voxels(values: np.ndarray, voxels: OccupiedVoxels) -> np.ndarray:
    """(N,) of what (X, Y, Z) `values` are at the voxels."""
    return values.reshape(-1)[voxels.z_fastest]
