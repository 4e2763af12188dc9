"""Pairs each LiDAR sweep with the nearest image of every camera. No ROS, no threads, no clock of its own."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

JUMP_NS = 1_000_000_000  # a stamp this far behind its predecessor means that time was set back (a bag that loops)
REPLAYED = 3  # so many sweeps in a row from before the newest one, in order, mean that too, however little it was
SILENT_NS = 1_000_000_000  # a camera that was missing last time and whose newest image is this old is not waited for
INTERVALS = 8  # last distances of a camera's stamps that tell its rhythm
AT_ONCE = 2  # most sweeps released together: one to be computed and one to wait for its turn


@dataclass(frozen=True)
class Match:
    """A sweep and the images that belong to it.

    Attributes:
        stamp_ns: nanoseconds, the sweep's stamp.
        cloud: the item given with the sweep.
        images: by camera, the stamp in nanoseconds and the item of the nearest image.
        missing: cameras without an image within the tolerance.
        nearest_ns: by camera, nanoseconds, the stamp of the nearest image, however far; None where none came.
    """

    stamp_ns: int
    cloud: Any
    images: dict[str, tuple[int, Any]]
    missing: tuple[str, ...]
    nearest_ns: dict[str, int | None] = field(default_factory=dict, compare=False)


@dataclass
class _Image:
    """An image at hand; `arrival` numbers messages in the order in which they came."""

    item: Any
    arrival: int
    used: bool = False


@dataclass
class _Camera:
    """Recent images of one camera, ascending by stamp, and the newest stamp seen."""

    stamps: list[int] = field(default_factory=list)
    items: list[_Image] = field(default_factory=list)
    newest_ns: int | None = None
    intervals_ns: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS))

    def insert(self, stamp_ns: int, image: _Image) -> list[_Image]:
        """Keep an image; returns those with the same stamp, which it replaces."""
        at = bisect_left(self.stamps, stamp_ns)
        equal = slice(at, at + (self.stamps[at : at + 1] == [stamp_ns]))
        replaced = self.items[equal]
        self.stamps[equal], self.items[equal] = [stamp_ns], [image]
        if self.newest_ns is None:
            self.newest_ns = stamp_ns
        elif stamp_ns > self.newest_ns:
            self.intervals_ns.append(stamp_ns - self.newest_ns)
            self.newest_ns = stamp_ns
        return replaced

    def next_ns(self) -> int:
        """The earliest stamp that the next image will have if the camera keeps its rhythm; that of the newest where
        the rhythm is not known yet."""
        known = len(self.intervals_ns) == INTERVALS
        return self.newest_ns + (min(self.intervals_ns) if known else 0)

    def keep(self, wanted: Callable[[int, _Image], bool]) -> list[_Image]:
        """Drop the images that are not wanted, by stamp and image; returns them."""
        pairs = list(zip(self.stamps, self.items))
        kept = [pair for pair in pairs if wanted(*pair)]
        self.stamps, self.items = [stamp for stamp, _ in kept], [image for _, image in kept]
        return [image for stamp, image in pairs if not wanted(stamp, image)]

    def nearest(self, stamp_ns: int) -> tuple[int, _Image] | None:
        if not self.stamps:
            return None
        at = bisect_left(self.stamps, stamp_ns)
        best = min(range(max(at - 1, 0), min(at + 1, len(self.stamps))), key=lambda i: abs(self.stamps[i] - stamp_ns))
        return self.stamps[best], self.items[best]


class Synchronizer:
    """LiDAR-anchored pairing: sweeps wait a little for late images and are released in the order of their stamps.

    A sweep is ready when no image that is still to come can be nearer than those at hand (every camera has one at or
    after the sweep's stamp), or when it has waited long enough. With `by_rhythm`, none is to come either where the next
    image would be further from the sweep than the newest, if it follows as soon as any of the last `INTERVALS` did.
    Memory is bounded whatever comes in.

    Attributes:
        tolerance_ns: nanoseconds that the stamps of sweep and image may differ; may change at any time.
        max_wait_ns: nanoseconds that a sweep may wait for images; may change at any time.
        by_rhythm: whether cameras are expected to keep their rhythm; may change at any time.
        dropped: sweeps that were not released, by cause (``crowded``: too many waited for the same images,
            ``out_of_order``, ``time_jump``, and ``superseded``: released, but given up by whoever computes them).
        missing: released sweeps that went without an image, by camera.
        used: images that at least one sweep got, by camera.
        unused: images that no sweep got, by cause (``expired``: too old for any sweep to come, ``duplicate``: another
            with the same stamp came, ``displaced``: too many at once, ``time_jump``).
        late: images that came after the sweep they belong to had been released without one, by camera.
    """

    def __init__(
        self, cameras: tuple[str, ...], tolerance_ns: int, max_wait_ns: int, depth: int = 8, at_once: int = AT_ONCE
    ) -> None:
        """`depth`: most images kept per camera, and most sweeps waiting. `at_once`: most that are released together."""
        self._cameras = {name: _Camera() for name in cameras}
        self.tolerance_ns = tolerance_ns
        self.max_wait_ns = max_wait_ns
        self.by_rhythm = False
        self._depth, self._at_once = depth, at_once
        self._sweeps: deque[tuple[int, Any, int]] = deque()  # stamp, item, arrival; ascending by stamp
        self._newest_ns: int | None = None  # stamp of the newest sweep seen
        self._behind: list[int] = []  # stamps of the sweeps since then that came from before it
        self._restart_ns: int | None = None  # the stamp to which such sweeps set time back
        self._arrivals = self._sweep_arrival = 0  # messages so far, and up to the last sweep that was queued
        self._released: tuple[int, tuple[str, ...]] | None = None  # stamp and missing cameras of the last match
        self.dropped: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.used: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()

    @property
    def waiting(self) -> bool:
        """Whether a sweep waits to be released by `poll`."""
        return bool(self._sweeps)

    def add_image(self, camera: str, stamp_ns: int, item: Any) -> None:
        """Keep an image until sweeps that could need it are gone."""
        images = self._cameras[camera]
        if images.newest_ns is not None and stamp_ns < images.newest_ns - JUMP_NS:
            self._forget(images, stamp_ns)
        self._arrivals += 1
        self._discard("duplicate", images.insert(stamp_ns, _Image(item, self._arrivals)))
        if len(images.items) > self._depth:
            first = min(image.arrival for image in images.items)
            self._discard("displaced", images.keep(lambda _, image: image.arrival != first))
        if self._released and camera in self._released[1]:
            self.late[camera] += abs(stamp_ns - self._released[0]) <= self.tolerance_ns

    def add_cloud(self, stamp_ns: int, item: Any, now_ns: int) -> bool:
        """Queue a sweep. `now_ns` is the caller's clock, the one `poll` is given.

        Returns:
            Whether time was found to have jumped back, so that what came before is forgotten.
        """
        behind = self._newest_ns is not None and stamp_ns <= self._newest_ns
        jumped = behind and self._is_jump(stamp_ns)
        if jumped:
            self._reset(stamp_ns)
        elif behind:
            self.dropped["out_of_order"] += 1
            return False
        self._behind.clear()
        self._newest_ns = stamp_ns
        self._sweep_arrival = self._arrivals
        self._sweeps.append((stamp_ns, item, now_ns))
        if len(self._sweeps) > self._depth:
            self._drop_oldest("crowded")
        return jumped

    def set_back(self) -> list[Match]:
        """The caller's clock was set back, by whatever step: what waits is released, the rest is forgotten.

        What belongs to the sweeps that wait has come: a recording that begins again will not go on where it ended.
        """
        for _ in range(len(self._sweeps) - self._at_once):
            self._drop_oldest("crowded")
        matches = [self._release(*sweep[:2]) for sweep in self._sweeps]
        self._sweeps.clear()
        self._behind.clear()
        self._newest_ns = self._released = None
        for camera in self._cameras.values():
            self._discard("time_jump", camera.keep(lambda stamp, _: False))
            camera.newest_ns = None
            camera.intervals_ns.clear()
        return matches

    def _is_jump(self, stamp_ns: int) -> bool:
        """Whether a sweep from before the newest one means that time was set back, rather than that it is late."""
        again = stamp_ns in self._behind  # what is late comes once, a bag of few sweeps again and again
        if self._behind and stamp_ns < self._behind[-1]:
            self._behind.clear()
        self._behind.append(stamp_ns)
        if again or len(self._behind) == REPLAYED:
            self._restart_ns = self._behind[0]
            return True
        if stamp_ns < self._newest_ns - JUMP_NS:
            self._restart_ns = None  # this is another run than the one that began there
            return True
        return stamp_ns == self._restart_ns

    def poll(self, now_ns: int) -> list[Match]:
        """Release the sweeps that are ready, the oldest first.

        An image that comes in may be what several sweeps waited for, where sweeps come faster than images. The newest
        two of these are released, the others are dropped.
        """
        ready = sum(1 for _ in takewhile(lambda sweep: self._is_ready(*sweep, now_ns), self._sweeps))
        for _ in range(ready - self._at_once):
            self._drop_oldest("crowded")
        return [self._release(*self._sweeps.popleft()[:2]) for _ in range(min(ready, self._at_once))]

    def _is_ready(self, stamp_ns: int, item: Any, arrival_ns: int, now_ns: int) -> bool:
        # The stamps of later sweeps tell the time too, where the caller's clock stands still.
        waited_ns = max(now_ns - arrival_ns, self._newest_ns - stamp_ns)
        return waited_ns >= self.max_wait_ns or not any(
            self._may_come(name, camera, stamp_ns) for name, camera in self._cameras.items()
        )

    def _may_come(self, name: str, camera: _Camera, stamp_ns: int) -> bool:
        """Whether a nearer image of a camera is to be expected."""
        if camera.newest_ns is None:
            return True
        ahead_ns = stamp_ns - camera.newest_ns
        if self.by_rhythm and camera.next_ns() - stamp_ns >= ahead_ns:
            return False
        return ahead_ns > 0 and not (ahead_ns > SILENT_NS and self._was_missing(name, stamp_ns))

    def _was_missing(self, name: str, stamp_ns: int) -> bool:
        """Whether the sweep just before went without a camera; one from before a pause tells nothing of it."""
        return self._released is not None and self._released[0] >= stamp_ns - SILENT_NS and name in self._released[1]

    def _release(self, stamp_ns: int, item: Any) -> Match:
        nearest = {name: camera.nearest(stamp_ns) for name, camera in self._cameras.items()}
        found = {name: pair for name, pair in nearest.items() if pair and abs(pair[0] - stamp_ns) <= self.tolerance_ns}
        images = {name: (stamp, image.item) for name, (stamp, image) in found.items()}
        missing = tuple(name for name in self._cameras if name not in images)
        self.missing.update(missing)
        self._released = (stamp_ns, missing)
        for name, (_, image) in found.items():
            self.used[name] += not image.used
            image.used = True
        for camera in self._cameras.values():
            self._discard("expired", camera.keep(lambda stamp, _: stamp >= stamp_ns - self.tolerance_ns))
        stamps = {name: pair[0] if pair else self._cameras[name].newest_ns for name, pair in nearest.items()}
        return Match(stamp_ns, item, images, missing, stamps)

    def _reset(self, stamp_ns: int) -> None:
        """Forget what came before time jumped back to `stamp_ns`; images may have jumped before the sweeps.

        Time jumped after the last sweep, so what came before it is of the past; so is what is stamped much later.
        """
        while self._sweeps:
            self._drop_oldest("time_jump")
        self._released = None
        for camera in self._cameras.values():
            self._forget(camera, stamp_ns, self._sweep_arrival)

    def _forget(self, camera: _Camera, stamp_ns: int, arrival: int = 0) -> None:
        """Drop images that came up to an arrival, and those that are stamped much later than `stamp_ns`."""
        self._discard(
            "time_jump", camera.keep(lambda stamp, image: image.arrival > arrival and stamp <= stamp_ns + JUMP_NS // 2)
        )
        camera.newest_ns = camera.stamps[-1] if camera.stamps else None
        camera.intervals_ns.clear()

    def _drop_oldest(self, cause: str) -> None:
        self._sweeps.popleft()
        self.dropped[cause] += 1

    def _discard(self, cause: str, images: list[_Image]) -> None:
        self.unused[cause] += sum(not image.used for image in images)
