"""What later frames say of an earlier one: a second memory that goes through the frames backward in time."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.frames import OccupancyGrid, SensorFrame
from ..core.labels import EMPTY, IGNORE

Answer = Callable[["Sweep", OccupancyGrid], OccupancyGrid]


@dataclass(frozen=True)
class Sweep:
    """A frame once its images were used.

    Attributes:
        frame: without cameras. fixed_from_grid: (4, 4) float64, metres; None where there is no pose.
        wanted: whether its labels are written. begins_anew: whether time was set back just before it.
        record: what is to be written about it so far.
    """

    frame: SensorFrame
    fixed_from_grid: np.ndarray | None
    wanted: bool
    begins_anew: bool
    record: dict[str, Any]


def with_hindsight(
    predicted: Iterator[tuple[Sweep, OccupancyGrid]], memory: Callable[[], AbstractContextManager[Answer]]
) -> Iterator[tuple[Sweep, OccupancyGrid]]:
    """Answer the wanted ones of some frames from all of them.

    Args:
        predicted: frames in the order of time, with what the network says of each.
        memory: gives what answers frames one after another in three values (255: not known), beginning with nothing.
    """
    frames = [(sweep, _Packed(grid)) for sweep, grid in predicted]  # a megabyte each
    stamps, later = [sweep.frame.stamp_ns for sweep, _ in frames], {}
    with memory() as answer:
        for at in reversed(range(len(frames))):
            sweep, own = frames[at]
            turned = replace(sweep, frame=replace(sweep.frame, stamp_ns=stamps[-1] + stamps[0] - stamps[at]))
            after = answer(turned, own.grid())
            if sweep.wanted:
                later[at] = _Packed(after)
    with memory() as answer:
        for at, (sweep, packed) in enumerate(frames):
            own = packed.grid()
            before = answer(sweep, own)
            if sweep.wanted:
                yield sweep, merged(own, before, later.pop(at).grid())


def merged(own: OccupancyGrid, before: OccupancyGrid, after: OccupancyGrid) -> OccupancyGrid:
    """One answer of two memories: of the frames up to this one, and of those from this one on.

    What only one of them knows is taken from that one. What they disagree about is as before, but for what the frame
    itself claims and later frames have seen through. Movable classes are not remembered, so they are those of the own
    sweep.

    Args:
        own: what the network says of the frame.
    """
    labels = np.where(before.labels == IGNORE, after.labels, before.labels)
    claimed = (own.labels != EMPTY) & (own.labels != IGNORE)
    labels[claimed & (after.labels == EMPTY)] = EMPTY
    filled = ~claimed & (labels != EMPTY) & (labels != IGNORE)
    return replace(before, labels=labels, remembered=np.flatnonzero(filled))


class _Packed:
    """A grid whose arrays are compressed: of ten megabytes a tenth of one is left."""

    ARRAYS = ("labels", "occupancy", "class_confidence")

    def __init__(self, grid: OccupancyGrid) -> None:
        there = {name: getattr(grid, name) for name in self.ARRAYS if getattr(grid, name) is not None}
        self._arrays = {name: zlib.compress(np.ascontiguousarray(array), 1) for name, array in there.items()}
        self._rest = {name: value for name, value in vars(grid).items() if name not in self.ARRAYS}

    def grid(self) -> OccupancyGrid:
        """As it was."""
        size = self._rest["spec"].size
        arrays = {
            name: np.frombuffer(zlib.decompress(data), np.uint8).reshape(size).copy()
            for name, data in self._arrays.items()
        }
        return OccupancyGrid(**self._rest, **arrays)
