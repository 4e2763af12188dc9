"""The memory of what stands still: earlier frames fill what the present one does not see, and say what is free.

Every frame adds evidence to a volume in the fixed frame and is answered from it. Returns of its own sweep and whatever
may move are answered as the network predicts them; what moves is remembered only on demand, and never against a ray.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import InvalidFrameError
from ..core.frames import OccupancyGrid, SensorFrame
from ..core.grid import GridSpec
from ..core.labels import FLAT_GROUND, IGNORE, MOVABLE, THINGS
from ..core.processor import usable_cores
from . import columns
from .answer import IN_DOUBT, NONE, NOT_REACHED, answer
from .motion_check import MotionCheck
from .ray_casting import RayCaster, moved, sweep_rays
from .volume import IS_FLAT, IS_MOVABLE, IS_THING, MOST, Gains, RollingVolume, add, fade

logger = logging.getLogger(__name__)

UNKNOWN_FORMS = {"none": NONE, "occluded": NOT_REACHED, "confidence": IN_DOUBT}
"""Which empty voxels are answered as unknown: none, those that no ray has reached, now or in memory, or those of them
that the prediction, too, says nothing sure of: they come as IGNORE."""

FADE_PARTS = 8  # of the volume, one with every frame
NS_PER_S = 1e9


@dataclass(frozen=True)
class MemorySettings:
    """How long and how far is remembered.

    Attributes:
        static_s: seconds in which full evidence of what stands still fades to none; infinity: never.
        movable_s: seconds for which what may move is shown where nothing looks; 0: not at all.
        range_m: metres from the vehicle to the volume's sides; 0: as far as the grid.
    """

    static_s: float = 60.0
    movable_s: float = 0.0
    range_m: float = 0.0


MEMORIES = {"short": MemorySettings(), "long": MemorySettings(static_s=np.inf)}


@dataclass
class MemoryState:
    """What there is to tell of a memory.

    Attributes:
        frames: how many it holds since the last reset.
        first_ns, last_ns: nanoseconds, stamps of the first and the last of them; None without one.
        resets: how often it was reset. reset_reason: why, the last time.
    """

    frames: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    resets: int = 0
    reset_reason: str = ""


class Memory:
    """Remembers frames of one grid; one frame at a time.

    The volume reaches as far above the grid as below, 64 voxels in all; what leaves it where a road climbs or the
    vehicle pitches is answered by the frame alone.

    Attributes:
        settings: how long and how far it remembers.
        state: what there is to tell of it.
        volume: the evidence.
    """

    def __init__(self, grid: GridSpec, settings: MemorySettings = MemorySettings(), threads: int = 0) -> None:
        """
        Args:
            grid: of the frames.
            settings: how long and how far it remembers.
            threads: how many work side by side; 0: two, or one where there is only one core.

        Raises:
            InvalidFrameError: the grid is higher than 64 voxels.
        """
        if grid.size[2] > columns.DEPTH:
            raise InvalidFrameError(
                f"memory: expected a grid of at most {columns.DEPTH} voxels along z, got {grid.size[2]}"
            )
        self.grid = grid
        self.settings = settings
        self.state = MemoryState()
        self.threads = threads or min(2, usable_cores())
        wide = max(*grid.size[:2], 2 * round(settings.range_m / grid.voxel_size))
        self.volume = RollingVolume(wide, grid.voxel_size)
        self._pool = ThreadPoolExecutor(self.threads, "memory")
        self._rays = RayCaster(self.volume.size, grid.voxel_size, self._pool, self.threads)
        self._claimed = np.zeros_like(self._rays.passed)
        self._own, self._returned = np.zeros((2, *grid.size[:2]), np.uint64)  # bits of the grid
        self._motion = MotionCheck()
        self._grid_metres = np.eye(4)  # from voxels, from the grid's low corner
        self._grid_metres[:3, :3] *= grid.voxel_size
        self._grid_metres[:3, 3] = grid.low
        self._faded_ns = [0] * FADE_PARTS

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.volume.nbytes + self._rays.nbytes + self._claimed.nbytes + 2 * self._own.nbytes

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def reset(self, reason: str) -> None:
        """Forget everything."""
        if self.state.frames:
            logger.info("memory reset: %s", reason)
            self.volume.clear()
            self._faded_ns = [0] * FADE_PARTS
            self.state = MemoryState(resets=self.state.resets + 1, reset_reason=reason)
        self._motion = MotionCheck()

    def answer(
        self, predicted: OccupancyGrid, frame: SensorFrame, fixed_from_grid: np.ndarray, unknown: str = "none"
    ) -> OccupancyGrid:
        """Remember a frame and answer it from all that is remembered.

        Time that goes back and a pose that jumps reset the memory first. A frame whose stamp is that of the last one is
        answered, but adds nothing.

        Args:
            predicted: what the network says of the frame.
            frame: its sweep.
            fixed_from_grid: (4, 4) float64 rigid, metres, at the sweep's stamp.
            unknown: one of `UNKNOWN_FORMS`.

        Raises:
            InvalidFrameError: the prediction is of another grid, or the pose is no rigid transform.
        """
        self._check(predicted, fixed_from_grid)
        if reason := self._motion.jump(frame.stamp_ns, fixed_from_grid):
            self.reset(reason)
            self._motion.jump(frame.stamp_ns, fixed_from_grid)
        self.volume.center_on(fixed_from_grid[:3, :3] @ _middle(self.grid) + fixed_from_grid[:3, 3])
        pose = self._volume_from_grid(fixed_from_grid)
        self._cast(frame, pose)
        labels = np.ascontiguousarray(predicted.labels)
        self._side_by_side(lambda *part: columns.occupied(labels, self._own, *part, IGNORE), self.grid.size[0])
        if frame.stamp_ns != self.state.last_ns:
            self._fade(frame.stamp_ns)
            self._add(labels, np.linalg.inv(pose))
            self._count(frame.stamp_ns)
        return self._answer(predicted, pose, UNKNOWN_FORMS[unknown])

    def _check(self, predicted: OccupancyGrid, fixed_from_grid: np.ndarray) -> None:
        if predicted.spec != self.grid:
            raise InvalidFrameError(f"memory: expected a prediction on {self.grid}, got {predicted.spec}")
        turn = fixed_from_grid[:3, :3]
        if not np.isfinite(fixed_from_grid).all() or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
            raise InvalidFrameError(f"memory: expected a rigid pose, got {fixed_from_grid.tolist()}")

    def _volume_from_grid(self, fixed_from_grid: np.ndarray) -> np.ndarray:
        """(4, 4) float64 from voxels of the grid to voxels of the volume, each from its low corner."""
        return self.volume.volume_from_fixed() @ fixed_from_grid @ self._grid_metres

    def _cast(self, frame: SensorFrame, pose: np.ndarray) -> None:
        """Cast the sweep's rays through the volume, and mark its returns in the grid."""
        grid_from_metres = np.linalg.inv(self._grid_metres)
        self._returned[:] = 0
        columns.set_at(self._returned, moved(frame.points, grid_from_metres), self.grid.size)
        self._rays.cast(sweep_rays(frame, pose @ grid_from_metres))

    def _add(self, labels: np.ndarray, grid_from_volume: np.ndarray) -> None:
        volume, rays = self.volume, self._rays
        sweep = rays.passed, rays.returned, self._claimed

        def add_some(start: int, end: int) -> None:
            frame = labels, self._own, grid_from_volume
            add(volume.voxels, volume.words, volume.offset, *frame, *sweep, start, end, KINDS, GAINS)

        self._side_by_side(add_some, volume.size[0])

    def _fade(self, stamp_ns: int) -> None:
        """Take from a part of the volume, the next one with every frame, what time has taken since it was its turn."""
        part, width = self.state.frames % FADE_PARTS, -(-self.volume.size[0] // FADE_PARTS)
        before, self._faded_ns[part] = self._faded_ns[part], stamp_ns
        units = [
            int(min(MOST, stamp_ns // each - before // each)) if (each := span * NS_PER_S / MOST) else 0
            for span in (self.settings.static_s, self.settings.movable_s)
        ]
        if before and any(units):
            start, end = part * width, min((part + 1) * width, self.volume.size[0])
            fade(self.volume.voxels, self.volume.words, start, end, *units, KINDS)

    def _count(self, stamp_ns: int) -> None:
        state = self.state
        state.frames += 1
        state.first_ns = stamp_ns if state.first_ns is None else state.first_ns
        state.last_ns = stamp_ns

    def _answer(self, predicted: OccupancyGrid, pose: np.ndarray, unknown: int) -> OccupancyGrid:
        volume, out = self.volume, predicted.labels.copy()
        seen = volume.voxels, volume.words, volume.offset, self._claimed, self._rays.passed
        show = self.settings.movable_s > 0

        def answer_some(start: int, end: int) -> np.ndarray:
            return answer(out, self._own, self._returned, pose, *seen, start, end, KINDS, show, unknown)

        filled = self._side_by_side(answer_some, self.grid.size[0])
        return replace(predicted, labels=out, remembered=np.concatenate(filled))

    def _side_by_side(self, work: Callable[[int, int], Any], count: int) -> list:
        """What `work` gives for shares of `count` slices, each from a start to an end."""
        bounds = np.linspace(0, count, self.threads + 1).astype(int)
        return list(self._pool.map(work, bounds, bounds[1:]))


def _middle(grid: GridSpec) -> np.ndarray:
    return (np.asarray(grid.low) + grid.high) / 2


def _kinds() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    for kind, labels in ((IS_MOVABLE, MOVABLE), (IS_FLAT, FLAT_GROUND), (IS_THING, THINGS)):
        kinds[list(labels)] |= kind
    return kinds


KINDS = _kinds()
GAINS = np.array([Gains.returned, Gains.predicted, Gains.passed])
