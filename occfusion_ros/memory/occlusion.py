"""What the rays of one sweep have not reached: unknown space where there is no memory."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from ..core.errors import InvalidFrameError
from ..core.frames import OccupancyGrid, SensorFrame
from ..core.grid import GridSpec
from ..core.labels import EMPTY, IGNORE
from ..core.processor import usable_cores
from .columns import unpack
from .ray_casting import RayCaster, sweep_rays


class Occlusion:
    """Casts the rays of each sweep through its own grid; one frame at a time."""

    def __init__(self, grid: GridSpec, threads: int = 0) -> None:
        """
        Args:
            grid: of the frames.
            threads: how many work side by side; 0: two, or one where there is only one core.
        """
        self.grid = grid
        threads = threads or min(2, usable_cores())
        self._pool = ThreadPoolExecutor(threads, "occlusion")
        self._rays = RayCaster(grid.size, grid.voxel_size, self._pool, threads)
        self._voxels_from_grid = np.diag([*[1 / grid.voxel_size] * 3, 1.0])
        self._voxels_from_grid[:3, 3] = -np.asarray(grid.low) / grid.voxel_size

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def answer(self, predicted: OccupancyGrid, frame: SensorFrame) -> OccupancyGrid:
        """Give a frame's prediction in which empty voxels that no ray of the frame has reached are unknown.

        Raises:
            InvalidFrameError: the prediction is of another grid.
        """
        if predicted.spec != self.grid:
            raise InvalidFrameError(f"occlusion: expected a prediction on {self.grid}, got {predicted.spec}")
        self._rays.cast(sweep_rays(frame, self._voxels_from_grid))
        reached = unpack(self._rays.passed | self._rays.returned, self.grid.size[2])
        labels = predicted.labels.copy()
        np.putmask(labels, (labels == EMPTY) & ~reached, IGNORE)
        return replace(predicted, labels=labels)
