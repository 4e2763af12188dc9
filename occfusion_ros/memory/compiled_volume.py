"""A volume of columns whose frames are added and answered by compiled code, on the processor's cores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..core.frames import SensorFrame
from ..core.grid import GridSpec
from ..core.labels import IGNORE
from ..core.processor import usable_cores
from . import columns, equal_stamps
from .answer import answer
from .evidence import GAINS, KINDS, add, fade
from .ray_casting import RayCaster, moved, sweep_rays
from .volume import EVIDENCE, LABEL, LEAD, MOST, RollingVolume, metres_from_voxels


class CompiledVolume(RollingVolume):
    """Evidence, labels and leads of voxels, with bits beside them, by columns along z.

    Attributes:
        voxels: (X, Y, 3, 64) int8: evidence of what is known; label (as uint8) and lead, 0 to 127, of voxels that
            are occupied. What they hold of others means nothing.
        words: (X, Y, 3) uint64 bits: evidence is positive; there is any; it is free, and cannot be more so.
        threads: how many work side by side.
    """

    def __init__(self, grid: GridSpec, wide: int, threads: int = 0) -> None:
        """
        Args:
            grid: of the frames. wide: voxels of the volume along x and y.
            threads: how many work side by side; 0: two, or one where there is only one core.
        """
        super().__init__(grid, wide)
        self.voxels = np.zeros((wide, wide, 3, columns.DEPTH), np.int8)
        self.words = np.zeros((wide, wide, 3), np.uint64)
        self.threads = threads or min(2, usable_cores())
        self._pool = ThreadPoolExecutor(self.threads, "memory")
        self._rays = RayCaster(self.size, grid.voxel_size, self._pool, self.threads)
        self._claimed = np.zeros_like(self._rays.passed)
        self._own, self._returned = np.zeros((2, *grid.size[:2]), np.uint64)  # bits of the grid
        self._grid, self._grid_from_metres = grid, np.linalg.inv(metres_from_voxels(grid))
        self._labels, self._pose = np.zeros(grid.size, np.uint8), np.eye(4)  # of the frame that is seen
        self._notes: list[np.ndarray] = []  # of the last stamp, see `equal_stamps`

    @property
    def nbytes(self) -> int:
        """See `RollingVolume`."""
        kept = self.voxels.nbytes + self.words.nbytes + self._rays.nbytes + self._claimed.nbytes + 2 * self._own.nbytes
        return kept + sum(notes.nbytes for notes in self._notes)

    def close(self) -> None:
        """See `RollingVolume`."""
        self._pool.shutdown()

    def clear(self) -> None:
        """See `RollingVolume`."""
        self.words[:] = 0
        self._notes = []

    def forget(self, axis: int, places: np.ndarray) -> None:
        """See `RollingVolume`."""
        if axis < 2:
            np.moveaxis(self.words, axis, 0)[places] = 0
        else:
            self.words &= ~np.bitwise_or.reduce(np.uint64(1) << places.astype(np.uint64))

    def content(self) -> tuple[np.ndarray, np.ndarray]:
        """See `RollingVolume`."""
        back, bits = tuple((-self.offset).tolist()), (self.words[..., columns.KNOWN], self.words[..., columns.OCCUPIED])
        known, full = (np.roll(columns.unpack(words, columns.DEPTH), back, (0, 1, 2)) for words in bits)
        voxels = np.stack([np.roll(self.voxels[:, :, k], back, (0, 1, 2))[known] for k in (EVIDENCE, LABEL, LEAD)])
        voxels[1:] *= full[known]
        return known, voxels

    def restore(self, low: np.ndarray, known: np.ndarray, voxels: np.ndarray) -> None:
        """See `RollingVolume`."""
        self.low = low
        for k, values in enumerate(voxels):
            dense = np.zeros(self.size, np.int8)
            dense[known] = values
            self.voxels[:, :, k] = np.roll(dense, tuple(self.offset.tolist()), (0, 1, 2))
        evidence = self.voxels[:, :, EVIDENCE]
        for k, flags in enumerate((evidence > 0, evidence != 0, evidence == -MOST)):
            self.words[..., k] = columns.pack(flags)

    def see(self, labels: np.ndarray, frame: SensorFrame, volume_from_grid: np.ndarray) -> None:
        """See `RollingVolume`."""
        self._labels, self._pose = np.ascontiguousarray(labels), volume_from_grid
        self._returned[:] = 0
        columns.set_at(self._returned, moved(frame.points, self._grid_from_metres), self._grid.size)
        self._rays.cast(sweep_rays(frame, volume_from_grid @ self._grid_from_metres))
        self._side_by_side(lambda *part: columns.occupied(self._labels, self._own, *part, IGNORE), self._grid.size[0])

    def add(self) -> None:
        """See `RollingVolume`."""
        self._notes = self._added()

    def add_again(self) -> None:
        """See `RollingVolume`."""
        earlier = np.concatenate(self._notes)
        now = equal_stamps.as_now(self.voxels, self.words, earlier)
        equal_stamps.put(self.voxels, self.words, earlier)
        self._notes = [equal_stamps.strongest(earlier, np.concatenate(self._added()))]
        equal_stamps.put(self.voxels, self.words, now[np.isin(earlier, self._notes[0])])

    def _added(self) -> list[np.ndarray]:
        """Add what the frame says; gives notes of what was changed, (N,) uint64 each."""
        rays, grid_from_volume = self._rays, np.linalg.inv(self._pose)

        def add_some(start: int, end: int) -> np.ndarray:
            seen = self._labels, self._own, grid_from_volume, rays.passed, rays.returned, self._claimed
            return add(self.voxels, self.words, self.offset, *seen, start, end, KINDS, GAINS)

        return self._side_by_side(add_some, self.size[0])

    def fade(self, start: int, end: int, units: int, movable_units: int) -> None:
        """See `RollingVolume`."""
        fade(self.voxels, self.words, start, end, units, movable_units, KINDS)

    def answer(self, show: bool, unknown: int) -> tuple[np.ndarray, np.ndarray]:
        """See `RollingVolume`."""
        out, pose, grid = self._labels.copy(), self._pose, (self._own, self._returned)
        seen = self.voxels, self.words, self.offset, self._claimed, self._rays.passed

        def answer_some(start: int, end: int) -> np.ndarray:
            return answer(out, *grid, pose, *seen, start, end, KINDS, show, unknown)

        return out, np.concatenate(self._side_by_side(answer_some, self._grid.size[0]))

    def _side_by_side(self, work: Callable[[int, int], Any], count: int) -> list:
        """What `work` gives for shares of `count` slices, each from a start to an end."""
        bounds = np.linspace(0, count, self.threads + 1).astype(int)
        return list(self._pool.map(work, bounds, bounds[1:]))
