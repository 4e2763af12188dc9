"""A tree of timed coordinate transforms, for machines without tf2. Plain Python and numpy."""

from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from ...core.errors import OccFusionError

CACHE_NS = 10_000_000_000  # as long as tf2 keeps transforms
MAX_STAMPS = 20_000  # of one frame: ten seconds at 2 kHz
MAX_FRAMES = 10_000
MAX_DEPTH = 1000  # of the tree, as in tf2
MAX_NAME = 255  # characters of a frame's name
MAX_METERS = 1e9  # farther away is no vehicle


class TransformError(OccFusionError):
    """A transform that cannot be given at the stamp asked for."""


class UnknownFrameError(TransformError):
    """A frame that no transform has named so far."""


class UnconnectedFramesError(TransformError):
    """Two frames that belong to different trees."""


class ExtrapolationError(TransformError):
    """A stamp before or after the transforms at hand."""


@dataclass
class _Edge:
    """Transforms from a child frame to its parent, ascending by stamp; a static one holds at any stamp.

    `values` are (7,) float64: translation x, y, z in metres and unit quaternion x, y, z, w.
    """

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def insert(self, stamp_ns: int, value: np.ndarray) -> None:
        if self.static or (self.stamps and stamp_ns < self.stamps[-1] - CACHE_NS):  # time was set back
            self.stamps, self.values = [], []
        at = bisect_left(self.stamps, stamp_ns)
        known = self.stamps[at : at + 1] == [stamp_ns]
        self.stamps[at : at + known], self.values[at : at + known] = [stamp_ns], [value]
        expired = max(bisect_left(self.stamps, self.stamps[-1] - CACHE_NS), len(self.stamps) - MAX_STAMPS)
        del self.stamps[:expired], self.values[:expired]

    def at(self, stamp_ns: int, child: str) -> np.ndarray:
        """(4, 4) ``parent_from_child``."""
        if self.static:
            return _matrix(self.values[0])
        if not self.stamps[0] <= stamp_ns <= self.stamps[-1]:
            raise ExtrapolationError(
                f"transform {self.parent} from {child}: wanted at {stamp_ns} ns, "
                f"known from {self.stamps[0]} to {self.stamps[-1]} ns"
            )
        after = bisect_left(self.stamps, stamp_ns)
        before = max(after - 1, 0)
        span = self.stamps[after] - self.stamps[before]
        ratio = (stamp_ns - self.stamps[before]) / span if span else 0.0
        return _matrix(_interpolated(self.values[before], self.values[after], ratio))


class TransformTree:
    """Frames, each with at most one parent, and the transforms between them over the last ten seconds."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}  # by child frame

    def insert(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: np.ndarray,
        quaternion: np.ndarray,
        static: bool = False,
    ) -> None:
        """Add ``parent_from_child``.

        Args:
            translation: (3,) metres.
            quaternion: (4,) x, y, z, w; of unit length up to rounding.

        Raises:
            TransformError: not a rigid transform, not one between two named frames, or one frame too many.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not (0 < len(parent) <= MAX_NAME and 0 < len(child) <= MAX_NAME) or parent == child:
            raise TransformError(
                f"transform: expected two different frames of at most {MAX_NAME} characters, got "
                f"{parent!r:.300} and {child!r:.300}"
            )
        value = _rigid(parent, child, translation, quaternion)
        edge = self._edges.get(child)
        if edge is None and len(self._edges) >= MAX_FRAMES:
            raise TransformError(f"transform {parent} from {child}: expected at most {MAX_FRAMES} frames")
        if edge is None or (edge.parent, edge.static) != (parent, static):
            edge = self._edges[child] = _Edge(parent, static)
        edge.insert(stamp_ns, value)

    def clear(self) -> None:
        """Forget everything but static transforms."""
        self._edges = {child: edge for child, edge in self._edges.items() if edge.static}

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 ``target_from_source`` at a stamp.

        Raises:
            UnknownFrameError, UnconnectedFramesError, ExtrapolationError: as the names say.
        """
        target, source = self._path_to_root(target_frame), self._path_to_root(source_frame)
        common = next((frame for frame in source if frame in target), None)
        if common is None:
            raise UnconnectedFramesError(f"frames {target_frame!r} and {source_frame!r} are not in one tree")
        return np.linalg.inv(self._ascend(target, common, stamp_ns)) @ self._ascend(source, common, stamp_ns)

    def _path_to_root(self, frame: str) -> list[str]:
        path = [frame.lstrip("/")]
        if path[0] not in self._edges and all(edge.parent != path[0] for edge in self._edges.values()):
            raise UnknownFrameError(f"frame {frame!r} is unknown; known frames: {sorted(self._edges)}")
        while path[-1] in self._edges:
            path.append(self._edges[path[-1]].parent)
            if len(path) > MAX_DEPTH:
                raise UnconnectedFramesError(f"frame {frame!r}: expected at most {MAX_DEPTH} frames to the root")
            if path[-1] in path[:-1]:
                raise UnconnectedFramesError(f"transforms form a loop: {' -> '.join(path)}")
        return path

    def _ascend(self, path: list[str], ancestor: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) ``ancestor_from_frame`` for the first frame of a path to the root."""
        ancestor_from_frame = np.eye(4)
        for frame in path[: path.index(ancestor)]:
            ancestor_from_frame = self._edges[frame].at(stamp_ns, frame) @ ancestor_from_frame
        return ancestor_from_frame


def rigid_matrix(parent: str, child: str, translation: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """(4, 4) float64 ``parent_from_child`` from (3,) metres and (4,) x, y, z, w.

    Raises:
        TransformError: not a rigid transform.
    """
    return _matrix(_rigid(parent, child, translation, quaternion))


def _rigid(parent: str, child: str, translation: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """(7,) translation and unit quaternion."""
    value = np.array([*translation, *quaternion], np.float64)
    with np.errstate(over="ignore"):  # what is too long is refused below
        length = np.linalg.norm(value[3:])
    if not (np.abs(value[:3]) <= MAX_METERS).all() or not abs(length - 1) <= 1e-2:  # so that NaN is refused
        raise TransformError(f"transform {parent} from {child}: expected a rigid transform, got {value.tolist()}")
    value[3:] /= length
    return value


def _interpolated(before: np.ndarray, after: np.ndarray, ratio: float) -> np.ndarray:
    """Straight line for the translation, shortest arc for the rotation."""
    cosine = before[3:] @ after[3:]
    end = after[3:] if cosine >= 0 else -after[3:]
    angle = np.arccos(min(abs(cosine), 1.0))
    if angle < 1e-6:
        turn = before[3:] + ratio * (end - before[3:])
    else:
        turn = (np.sin((1 - ratio) * angle) * before[3:] + np.sin(ratio * angle) * end) / np.sin(angle)
    return np.concatenate([before[:3] + ratio * (after[:3] - before[:3]), turn / np.linalg.norm(turn)])


def _matrix(value: np.ndarray) -> np.ndarray:
    """(7,) translation and unit quaternion to (4, 4)."""
    x, y, z, w = value[3:]
    matrix = np.eye(4)
    matrix[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    matrix[:3, 3] = value[:3]
    return matrix


def quaternion_of(matrix: np.ndarray) -> np.ndarray:
    """Give the unit quaternion (4,) x, y, z, w of a rotation (3, 3), of any angle.

    Formula: Bar-Itzhack, "New method for extracting the quaternion from a rotation matrix", 2000.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix
    symmetric = [
        [a - e - i, b + d, c + g, h - f],
        [b + d, e - a - i, f + h, c - g],
        [c + g, f + h, i - a - e, d - b],
        [h - f, c - g, d - b, a + e + i],
    ]
    return np.linalg.eigh(symmetric)[1][:, -1]
