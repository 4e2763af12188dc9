"""The volume of remembered voxels: it rolls along with the vehicle by whole voxels, so nothing is ever resampled.

A voxel takes three bytes: evidence for being occupied (positive) or free (negative), in units of a sixteenth of a
log-odds; the label that leads; and by how many frames it leads the others, by majority vote (Boyer and Moore,
"MJRTY: A Fast Majority Vote Algorithm", 1981). No evidence means that nothing is known. Bits beside them say where
evidence is positive, where there is any, and where no more can be added, so that most of the volume need not be looked
at. It is 64 voxels high, of which the bits fit into a word.
"""

from abc import ABC, abstractmethod

import numpy as np

from ..core.frames import SensorFrame
from ..core.grid import GridSpec
from .columns import DEPTH

EVIDENCE, LABEL, LEAD = 0, 1, 2  # of a voxel's three bytes
MOST = 64  # units; evidence ends there on both sides: 4 log-odds


class RollingVolume(ABC):
    """A volume of voxels that stands still in the fixed frame until it rolls, and what a memory does with it.

    What holds the voxels is a ring: a voxel keeps its place in memory for as long as it is in the volume.

    Attributes:
        size: voxels along x, y and z; 64 along z.
        voxel_size: metres.
        low: (3,) int64, the low corner in voxels from the fixed frame's origin.
    """

    def __init__(self, grid: GridSpec, wide: int) -> None:
        """
        Args:
            grid: of the frames. wide: voxels of the volume along x and y.
        """
        self.size = (wide, wide, DEPTH)
        self.voxel_size = grid.voxel_size
        self.low = np.zeros(3, np.int64)

    @property
    def offset(self) -> np.ndarray:
        """(3,) int64: where the low corner lies in memory."""
        return self.low % self.size

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that it takes, with all that is kept from frame to frame."""

    @abstractmethod
    def close(self) -> None:
        """Free what would outlive it."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def forget(self, axis: int, places: np.ndarray) -> None:
        """Empty the slices at these places in memory, across an axis."""

    @abstractmethod
    def content(self) -> tuple[np.ndarray, np.ndarray]:
        """Give what is known, (X, Y, Z) bool from the low corner, and the bytes of those voxels, (3, N) int8."""

    @abstractmethod
    def restore(self, low: np.ndarray, known: np.ndarray, voxels: np.ndarray) -> None:
        """Take over what `content` gave of a volume of this size with its low corner at `low`."""

    @abstractmethod
    def see(self, labels: np.ndarray, frame: SensorFrame, volume_from_grid: np.ndarray) -> None:
        """Take up a frame: cast its rays, and find what it predicts to be occupied.

        Args:
            labels: (X, Y, Z) uint8, predicted. volume_from_grid: (4, 4) float64, both in voxels from their low corners.
        """

    @abstractmethod
    def add(self) -> None:
        """Add what the frame that was seen says."""

    @abstractmethod
    def add_again(self) -> None:
        """Add what the frame says, of the same stamp as the last one, where that is more; see `equal_stamps`."""

    @abstractmethod
    def fade(self, start: int, end: int, units: int, movable_units: int) -> None:
        """Take units of evidence from all voxels in the slices x of a range of memory, towards nothing known."""

    @abstractmethod
    def answer(self, show: bool, unknown: int) -> tuple[np.ndarray, np.ndarray]:
        """Answer the frame that was seen; see `answer.answer`.

        Returns:
            (X, Y, Z) uint8 labels, and (M,) int64, flat voxels that were filled, ascending, z fastest.
        """

    def center_on(self, position: np.ndarray) -> None:
        """Roll so that a position, (3,) metres in the fixed frame, is in the middle; what leaves is forgotten."""
        low = np.round(position / self.voxel_size).astype(np.int64) - np.asarray(self.size) // 2
        for axis, (old, new) in enumerate(zip(self.low, low)):
            if abs(new - old) >= self.size[axis]:
                self.clear()
            elif new != old:
                first = old if new > old else new
                self.forget(axis, np.arange(first, first + abs(new - old)) % self.size[axis])
        self.low = low

    def volume_from_fixed(self) -> np.ndarray:
        """(4, 4) float64: metres in the fixed frame to voxels from the low corner."""
        matrix = np.eye(4)
        matrix[:3, :3] /= self.voxel_size
        matrix[:3, 3] = -self.low
        return matrix


def metres_from_voxels(grid: GridSpec) -> np.ndarray:
    """(4, 4) float64: voxels from a grid's low corner to metres in its frame."""
    matrix = np.eye(4)
    matrix[:3, :3] *= grid.voxel_size
    matrix[:3, 3] = grid.low
    return matrix
