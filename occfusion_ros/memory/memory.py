"""The memory of what stands still: earlier frames fill what the present one does not see, and say what is free.

Every frame adds evidence to a volume in the fixed frame and is answered from it. Returns of its own sweep and whatever
may move are answered as the network predicts them; what moves is remembered only on demand, and never against a ray.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..core.errors import InvalidFrameError
from ..core.frames import OccupancyGrid, SensorFrame
from ..core.grid import GridSpec
from ..core.labels import FLAT_GROUND, IGNORE, MOVABLE, THINGS
from ..core.processor import usable_cores
from . import bits
from .answer import correct, fill, mark_unknown
from .carrying import carry, moved, places
from .doubt import answered_in_doubt
from .motion_check import MotionCheck
from .ray_casting import RayCaster, sweep_rays
from .volume import MOST, Gains, RollingVolume, add_free, add_predicted, fade

logger = logging.getLogger(__name__)

UNKNOWN_FORMS = ("none", "occluded", "confidence")
"""Which empty voxels are answered as unknown: none, those that no ray has reached, now or in memory, or those of them
that the prediction, too, says nothing sure of: they come as IGNORE."""

HEIGHT_MARGIN = 4.0  # metres that the volume reaches above and below the grid, for roads that rise and fall
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
        """
        self.grid = grid
        self.settings = settings
        self.state = MemoryState()
        self.threads = threads or min(2, usable_cores())
        self.volume = RollingVolume(volume_size(grid, settings.range_m), grid.voxel_size)
        self._pool = ThreadPoolExecutor(self.threads, "memory")
        self._rays = RayCaster(self.volume.size, grid.voxel_size, self._pool, self.threads)
        self._claimed = np.zeros_like(self._rays.passed)
        self._returned = np.zeros(bits.words_of(grid.size), np.uint64)
        self._motion = MotionCheck()
        self._grid_metres = np.eye(4)  # from voxels, from the grid's low corner
        self._grid_metres[:3, :3] *= grid.voxel_size
        self._grid_metres[:3, 3] = grid.low
        self._faded_ns = [0] * FADE_PARTS

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.volume.nbytes + self._rays.nbytes + self._claimed.nbytes + self._returned.nbytes

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
        if unknown == "confidence":
            return answered_in_doubt(predicted, lambda sure: self.answer(sure, frame, fixed_from_grid, "occluded"))
        self._check(predicted, fixed_from_grid)
        if reason := self._motion.jump(frame.stamp_ns, fixed_from_grid):
            self.reset(reason)
            self._motion.jump(frame.stamp_ns, fixed_from_grid)
        self.volume.center_on(fixed_from_grid[:3, :3] @ _middle(self.grid) + fixed_from_grid[:3, 3])
        pose = self._volume_from_grid(fixed_from_grid)
        self._cast(frame, pose)
        own, labels = self._predicted(predicted.labels)
        if frame.stamp_ns != self.state.last_ns:
            self._fade(frame.stamp_ns)
            self._add(own, labels, pose)
            self._count(frame.stamp_ns)
        return self._answer(predicted, own, labels, pose, unknown)

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
        bits.set_at(self._returned, moved(frame.points, grid_from_metres), self.grid.size)
        self._rays.cast(sweep_rays(frame, pose @ grid_from_metres), turned=int(self.volume.offset[2]))

    def _predicted(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The voxels of the grid that are predicted occupied, (N, 3) int32, and their labels, (N,) uint8."""
        parts = self._side_by_side(partial(bits.nonzero, np.ascontiguousarray(labels)), self.grid.size[0])
        voxels, values = (np.concatenate(several) for several in zip(*parts))
        known = values != IGNORE
        return (voxels, values) if known.all() else (voxels[known], values[known])

    def _add(self, own: np.ndarray, labels: np.ndarray, pose: np.ndarray) -> None:
        volume, rays, state = self.volume, self._rays, self._state()
        self._claimed[:] = 0
        carried = self._carried(own, pose, volume.size)
        sweep = (rays.passed, rays.returned, self._claimed)

        def add(start: int, end: int) -> None:
            for voxels, rows in carried:
                add_predicted(*state, voxels, rows, start, end, labels, *sweep, _MOVABLE, _FLAT, GAINS)
            add_free(*state, rays.passed, self._claimed, start, end, _MOVABLE, GAINS[2])

        self._side_by_side(add, volume.size[0])

    def _state(self) -> tuple[np.ndarray, ...]:
        """What the compiled loops ask of the volume."""
        volume = self.volume
        return volume.voxels, volume.occupied, volume.known, volume.settled, volume.offset

    def _carried(self, source: np.ndarray, pose: np.ndarray, size: tuple) -> list[tuple[np.ndarray, np.ndarray]]:
        """See `carry`: its results for shares of the source, rows counted over all of them."""
        bounds = np.linspace(0, len(source), self.threads + 1).astype(int)
        parts = self._pool.map(lambda start, end: carry(source[start:end], pose, size), bounds, bounds[1:])
        return [(voxels, rows + start) for (voxels, rows), start in zip(parts, bounds)]

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
            fade(*self._state()[:-1], start, end, *units, _MOVABLE)

    def _count(self, stamp_ns: int) -> None:
        state = self.state
        state.frames += 1
        state.first_ns = stamp_ns if state.first_ns is None else state.first_ns
        state.last_ns = stamp_ns

    def _answer(
        self, predicted: OccupancyGrid, own: np.ndarray, labels: np.ndarray, pose: np.ndarray, unknown: str
    ) -> OccupancyGrid:
        volume, out, table = self.volume, predicted.labels.copy(), (_MOVABLE, _THING, _FLAT)

        def correct_some(start: int, end: int) -> None:
            at = places(own[start:end], pose, volume.size)
            correct(out, own[start:end], labels[start:end], at, volume.voxels, volume.offset, self._returned, *table)

        self._side_by_side(correct_some, len(own))
        filled = self._side_by_side(partial(self._fill, out, np.linalg.inv(pose)), volume.size[0])
        if unknown == "occluded":
            mark = partial(
                mark_unknown,
                volume_from_grid=pose,
                known=volume.known,
                offset=volume.offset,
                passed=self._rays.passed,
                depth=volume.size[2],
                label=np.uint8(IGNORE),
            )
            self._side_by_side(lambda start, end: mark(out, start, end), self.grid.size[0])
        return replace(predicted, labels=out, remembered=np.sort(np.concatenate(filled)))

    def _fill(self, out: np.ndarray, grid_from_volume: np.ndarray, start: int, end: int) -> np.ndarray:
        """Fill with what is remembered in slices of the volume; the flat voxels of the grid that were filled, (M,).

        What the frame has itself is in the grid already, if in a neighbor, where the two are turned to each other.
        """
        volume = self.volume
        remembered = bits.listed(volume.occupied, self._claimed, volume.offset, volume.size, start, end)
        voxels, rows = carry(remembered, grid_from_volume, self.grid.size)
        show = self.settings.movable_s > 0
        return fill(out, voxels, rows, remembered, volume.voxels, volume.offset, _MOVABLE, show)

    def _side_by_side(self, work: Callable[[int, int], Any], count: int) -> list:
        """What `work` gives for shares of `count` slices, each from a start to an end."""
        bounds = np.linspace(0, count, self.threads + 1).astype(int)
        return list(self._pool.map(work, bounds, bounds[1:]))


def volume_size(grid: GridSpec, range_m: float) -> tuple[int, int, int]:
    """Give the voxels of a volume that reaches `range_m` metres to the sides, and at least as far as the grid."""
    wide = max(*grid.size[:2], 2 * round(range_m / grid.voxel_size))
    return wide, wide, grid.size[2] + 2 * round(HEIGHT_MARGIN / grid.voxel_size)


def _middle(grid: GridSpec) -> np.ndarray:
    return (np.asarray(grid.low) + grid.high) / 2


def _table(labels: tuple[int, ...]) -> np.ndarray:
    table = np.zeros(256, bool)
    table[list(labels)] = True
    return table


_MOVABLE, _THING, _FLAT = _table(MOVABLE), _table(THINGS), _table(FLAT_GROUND)
GAINS = np.array([Gains.returned, Gains.predicted, Gains.passed])
