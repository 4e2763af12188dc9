"""The memory of what stands still: earlier frames fill what the present one does not see, and say what is free.

Every frame adds evidence to a volume in the fixed frame and is answered from it. Returns of its own sweep and whatever
may move are answered as the network predicts them; what moves is remembered only on demand, and never against a ray.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from ..core.errors import InvalidFrameError
from ..core.frames import OccupancyGrid, SensorFrame
from ..core.grid import GridSpec
from .answer import IN_DOUBT, NONE, NOT_REACHED
from .columns import DEPTH
from .compiled_volume import CompiledVolume
from .motion_check import MotionCheck
from .volume import MOST, RollingVolume, metres_from_voxels

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

    def __init__(
        self, grid: GridSpec, settings: MemorySettings = MemorySettings(), threads: int = 0, device: str = ""
    ) -> None:
        """
        Args:
            grid: of the frames.
            settings: how long and how far it remembers.
            threads: how many work side by side; 0: two, or one where there is only one core.
            device: where PyTorch does the work, by its name for it; empty: compiled code, on the processor.

        Raises:
            InvalidFrameError: the grid is higher than 64 voxels.
        """
        if grid.size[2] > DEPTH:
            raise InvalidFrameError(f"memory: expected a grid of at most {DEPTH} voxels along z, got {grid.size[2]}")
        self.grid = grid
        self.settings = settings
        self.state = MemoryState()
        wide = max(*grid.size[:2], 2 * round(settings.range_m / grid.voxel_size))
        self.volume = _volume(grid, wide, threads, device)
        self._motion = MotionCheck()
        self._metres_from_voxels = metres_from_voxels(grid)
        self._faded_ns = [0] * FADE_PARTS

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.volume.nbytes

    def close(self) -> None:
        """End the threads."""
        self.volume.close()

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

        Time that goes back and a pose that jumps reset the memory first. Frames of one stamp count together as one, in
        whatever order they come; the volume stands where the pose of the first of them puts it.

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
        again = frame.stamp_ns == self.state.last_ns
        if not again:
            self.volume.center_on(fixed_from_grid[:3, :3] @ _middle(self.grid) + fixed_from_grid[:3, 3])
        self.volume.see(predicted.labels, frame, self._volume_from_grid(fixed_from_grid))
        if again:
            self.volume.add_again()
        else:
            self._fade(frame.stamp_ns)
            self.volume.add()
            self._count(frame.stamp_ns)
        labels, filled = self.volume.answer(self.settings.movable_s > 0, UNKNOWN_FORMS[unknown])
        return replace(predicted, labels=labels, remembered=filled)

    def _check(self, predicted: OccupancyGrid, fixed_from_grid: np.ndarray) -> None:
        if predicted.spec != self.grid:
            raise InvalidFrameError(f"memory: expected a prediction on {self.grid}, got {predicted.spec}")
        turn = fixed_from_grid[:3, :3]
        if not np.isfinite(fixed_from_grid).all() or not np.allclose(turn @ turn.T, np.eye(3), atol=1e-3):
            raise InvalidFrameError(f"memory: expected a rigid pose, got {fixed_from_grid.tolist()}")

    def _volume_from_grid(self, fixed_from_grid: np.ndarray) -> np.ndarray:
        """(4, 4) float64 from voxels of the grid to voxels of the volume, each from its low corner."""
        return self.volume.volume_from_fixed() @ fixed_from_grid @ self._metres_from_voxels

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
            self.volume.fade(start, end, *units)

    def _count(self, stamp_ns: int) -> None:
        state = self.state
        state.frames += 1
        state.first_ns = stamp_ns if state.first_ns is None else state.first_ns
        state.last_ns = stamp_ns


def _middle(grid: GridSpec) -> np.ndarray:
    return (np.asarray(grid.low) + grid.high) / 2


def _volume(grid: GridSpec, wide: int, threads: int, device: str) -> RollingVolume:
    if not device:
        return CompiledVolume(grid, wide, threads)
    from .torch_volume import TorchVolume

    return TorchVolume(grid, wide, device)
