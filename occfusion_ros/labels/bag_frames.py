"""The frames of a bag as the node would compute them, with nothing dropped for want of time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from ..core.errors import InvalidFrameError
from ..core.frames import SensorFrame
from ..ros.conversions.camera_info import calibration_from_info
from ..ros.conversions.stamps import NS_PER_S, stamp_ns
from ..ros.node.camera_masks import read_masks
from ..ros.node.frame_builder import FrameBuilder
from ..ros.node.parameters import NodeParameters
from ..ros.node.synchronizer import Match, Synchronizer
from ..ros.node.topic_types import type_name
from ..ros.transforms.buffer import insert_transform
from ..ros.transforms.tree import TransformError, TransformTree
from ..ros.without_ros.bag_reader import Bag, BagError, open_bag

LEAD_NS = 2 * NS_PER_S  # before the first frame that is wanted: images, poses, and what the pairing remembers
WAITING = 1000  # most sweeps that wait for images: nothing is dropped where there is no hurry
CAUSES = {InvalidFrameError: "invalid sweep", TransformError: "transform"}


@dataclass(frozen=True)
class Moment:
    """A sweep with what belongs to it.

    Attributes:
        frame: in the grid frame.
        fixed_from_grid: (4, 4) float64, metres; None where there is no fixed frame, or no pose.
        images: messages by camera, as they came.
        wanted: whether it lies in the time that was asked for, and not before or after it.
        begins_anew: whether time was set back just before it.
    """

    frame: SensorFrame
    fixed_from_grid: np.ndarray | None
    images: dict[str, Image | CompressedImage]
    wanted: bool
    begins_anew: bool = False


@dataclass
class BagFrames:
    """Reads the frames of a bag.

    Attributes:
        path: of the bag.
        parameters: the node's.
        every_ns: of the sweeps with stamps in [n, n + 1) times this, the first is wanted; 0: all are.
        faults: what was left out, by cause, over all that was wanted.
        dropped: by the stamp of a wanted sweep that gave no frame, why.
    """

    path: Path
    parameters: NodeParameters
    every_ns: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    dropped: dict[int, str] = field(default_factory=dict)

    def span(self) -> tuple[int, int]:
        """Nanoseconds of the first message, and just after the last.

        Raises:
            BagError: it cannot be read, or has no sweeps.
        """
        with open_bag(self.path) as bag:
            self._check(bag)
            return bag.start_time, bag.start_time + bag.duration + 1

    def moments(self, start_ns: int, end_ns: int, before_ns: int = 0, after_ns: int = 0) -> Iterator[Moment]:
        """Frames of the sweeps that were recorded in [start_ns, end_ns), and so long before and after it.

        Sweeps that are left out (`every_ns`) are there too where they count: for a memory, or as earlier sweeps. What
        is not wanted has no images where there is no memory, which alone would need them.

        Raises:
            BagError: the bag is damaged.
        """
        with open_bag(self.path) as bag, open_bag(self.path) as for_poses, ExitStack() as closing:
            yield from _Reading(self, bag, for_poses, closing).moments(start_ns, end_ns, before_ns, after_ns)

    def _check(self, bag: Bag) -> None:
        clouds = {connection.topic for connection in bag.connections if connection.msgtype == type_name(PointCloud2)}
        if (lidar := _absolute(self.parameters.clouds[0])) not in clouds:
            raise BagError(f"{self.path} has no sweeps on {lidar}; its clouds: {', '.join(sorted(clouds)) or 'none'}")


class _Reading:
    """One pass over a part of a bag."""

    def __init__(self, frames: BagFrames, bag: Bag, for_poses: Bag, closing: ExitStack) -> None:
        self._frames, self._bag, self._parameters = frames, bag, frames.parameters
        self._for_poses = for_poses  # read in turns with the sensors
        settings = self._parameters
        self._cameras = {name: tuple(map(_absolute, topics)) for name, topics in settings.camera_topics().items()}
        self._others = [_absolute(topic) for topic in settings.clouds[1:]]
        self._tree, self._calibrations, self._wanted = TransformTree(), {}, False
        # The clock leaps at every look, because what has not come by now will not come.
        now_ns = count(step=3600 * NS_PER_S).__next__
        self._builder = FrameBuilder(
            _Transforms(self._tree), self._calibrations, read_masks(settings), now_ns, self._on_fault, lambda _: None
        )
        closing.callback(self._builder.close)
        times = (round(seconds * NS_PER_S) for seconds in (settings.camera_tolerance_s, settings.max_wait_s))
        self._sync = Synchronizer((*self._cameras, *self._others), *times, depth=WAITING, at_once=WAITING)
        self._anew, self._cell = False, None

    def moments(self, start_ns: int, end_ns: int, before_ns: int, after_ns: int) -> Iterator[Moment]:
        first_ns, last_ns = start_ns - before_ns, end_ns + after_ns
        wait_ns, read_ns = self._sync.max_wait_ns, first_ns - max(LEAD_NS, self._frames.every_ns)
        self._prepare()
        until_ns = last_ns + wait_ns + LEAD_NS
        poses = self._messages(["/tf"], read_ns, until_ns + wait_ns, self._for_poses)
        pending = next(poses, None)
        for topic, at, message in self._messages(self._sensors(), read_ns, until_ns):
            while pending and pending[1] <= at + wait_ns:  # the node waits so long for late transforms
                self._insert(pending[2], static=False)
                pending = next(poses, None)
            yield from self._built(self._sync.poll(at), start_ns, end_ns, first_ns, last_ns)
            if topic != _absolute(self._parameters.clouds[0]) or at < last_ns:
                self._take(topic, at, message)
            yield from self._built(self._sync.poll(at), start_ns, end_ns, first_ns, last_ns)
            if at >= last_ns and not self._sync.waiting:
                return
        yield from self._built(self._sync.poll(until_ns + wait_ns), start_ns, end_ns, first_ns, last_ns)

    def _sensors(self) -> list[str]:
        return [
            _absolute(self._parameters.clouds[0]),
            *self._others,
            *(t for pair in self._cameras.values() for t in pair),
        ]

    def _messages(
        self, topics: list[str], start_ns: int, end_ns: int, bag: Bag | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """(topic, nanoseconds, message) in the order of time."""
        bag = bag or self._bag
        connections = [c for c in bag.connections if c.topic in topics and c.msgtype == type_name(self._kind(c.topic))]
        for connection, at, raw in bag.messages(connections, start_ns, end_ns):
            yield connection.topic, at, deserialize_message(bytes(raw), self._kind(connection.topic))

    def _kind(self, topic: str) -> type:
        if topic in ("/tf", "/tf_static"):
            return TFMessage
        if topic in (image for image, _ in self._cameras.values()):
            return CompressedImage if self._parameters.is_compressed(topic) else Image
        return CameraInfo if topic in (info for _, info in self._cameras.values()) else PointCloud2

    def _prepare(self) -> None:
        """What is latched: static transforms of the whole bag, and the first calibrations."""
        for _, _, message in self._messages(["/tf_static"], 0, 2**63 - 1):
            self._insert(message, static=True)
        for name, (_, info) in self._cameras.items():
            for _, _, message in self._messages([info], 0, 2**63 - 1):
                if name in self._calibrations:
                    break
                self._calibrate(name, message)

    def _take(self, topic: str, at: int, message: Any) -> None:
        stamp = stamp_ns(message.header)
        if topic in (info for _, info in self._cameras.values()):
            for name in (name for name, (_, info) in self._cameras.items() if info == topic):
                self._calibrate(name, message)
        elif stamp <= 0:
            self._on_fault(f"without stamp {topic}", "")
        elif topic == _absolute(self._parameters.clouds[0]):
            if self._sync.add_cloud(stamp, (at, message), at):
                self._builder.start_over()
                self._anew = True
        elif topic in self._others:
            self._sync.add_image(topic, stamp, message)
        else:
            for name in (name for name, (image, _) in self._cameras.items() if image == topic):
                self._sync.add_image(name, stamp, message)

    def _built(self, matches: list[Match], start_ns: int, end_ns: int, first_ns: int, last_ns: int) -> Iterator[Moment]:
        for match in matches:
            at, cloud = match.cloud
            left_out = self._is_left_out(match.stamp_ns)
            if not first_ns <= at < last_ns:
                continue
            self._wanted = start_ns <= at < end_ns
            if left_out:
                self._on_fault("left out by --every-s", "")
                self._wanted = False
                if self._parameters.memory == "none" and not self._parameters.past_sweeps:
                    continue
            try:
                yield self._moment(match, cloud)
            except (InvalidFrameError, TransformError) as error:
                if self._wanted:
                    cause = next(name for kind, name in CAUSES.items() if isinstance(error, kind))
                    self._frames.dropped[match.stamp_ns] = f"{cause}: {error}"
                    self._frames.faults[cause] += 1

    def _is_left_out(self, stamp_ns: int) -> bool:
        """Whether another sweep of the same time was there before."""
        if not self._frames.every_ns:
            return False
        before, self._cell = self._cell, stamp_ns // self._frames.every_ns
        return before == self._cell

    def _moment(self, match: Match, cloud: PointCloud2) -> Moment:
        found = {name: item for name, (_, item) in match.images.items()}
        names = dict(zip(self._others, self._parameters.clouds[1:]))
        clouds = {topic: found.pop(key) for key, topic in names.items() if key in found}
        if not self._wanted and self._parameters.memory == "none":
            found = {}
        frame = self._builder.build({self._parameters.clouds[0]: cloud, **clouds}, found, self._parameters)
        taken = {camera.name for camera in frame.cameras}
        images = {name: image for name, image in found.items() if name in taken}
        moment = Moment(frame, self._pose(frame), images, self._wanted, self._anew)
        self._anew = False
        return moment

    def _pose(self, frame: SensorFrame) -> np.ndarray | None:
        if not self._parameters.fixed_frame:
            return None
        try:
            return self._builder.fixed_from_grid(frame, self._parameters)
        except TransformError as error:
            self._on_fault("pose", error)
            return None

    def _calibrate(self, name: str, message: CameraInfo) -> None:
        try:
            topic = self._cameras[name][0]
            self._calibrations[name] = calibration_from_info(message, self._parameters.images_rectified, topic)
        except InvalidFrameError as error:
            self._calibrations.pop(name, None)
            self._on_fault(f"calibration {name}", error)

    def _insert(self, message: TFMessage, static: bool) -> None:
        for transform in message.transforms:
            try:
                insert_transform(self._tree, transform, static)
            except TransformError as error:
                self._on_fault("ignored transform", error)

    def _on_fault(self, cause: str, error: Exception | str) -> None:
        if self._wanted:
            self._frames.faults[cause] += 1


class _Transforms:
    """A tree as the node's buffer."""

    ignored = 0

    def __init__(self, tree: TransformTree) -> None:
        self.lookup, self.clear = tree.lookup, tree.clear

    def close(self) -> None:
        """Nothing is open."""


def _absolute(topic: str) -> str:
    """A topic as a bag names it."""
    return f"/{topic.lstrip('/')}"
