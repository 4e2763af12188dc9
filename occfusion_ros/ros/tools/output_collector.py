"""Collects what the node published beside the sensor data it was given, for pictures, viewers and checks."""

import logging
import queue
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Float64

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses

from ...core.errors import OccFusionError
from ...core.frames import OccupancyGrid
from ...core.labels import SemanticClass
from ..conversions.image import rgb_from_compressed, rgb_from_image
from ..conversions.occupancy_grid import grid_from_message
from ..conversions.stamps import NS_PER_S, stamp_ns
from ..node.subscriptions import SubscriptionEventCallbacks
from ..node.topic_types import type_name

logger = logging.getLogger(__name__)

KEPT = {CompressedImage: 40, Image: 10, PointCloud2: 10, CameraInfo: 1}  # of a topic, until their answer comes
IMAGES, ALL_INPUTS = (CompressedImage, Image), tuple(KEPT)
OCCUPANCY, CLASSES = "occfusion_msgs/msg/OccupancyGrid3D", "occfusion_msgs/msg/SemanticClasses"
FARTHEST_NS = NS_PER_S // 2  # an image that is farther than this from the sweep does not belong to it
LOOK_S = 0.1  # between looks at the topics there are


@dataclass(frozen=True)
class Answer:
    """An occupancy message and what belongs to it, still as it came.

    Attributes:
        message: the occupancy.
        images: by camera name.
        infos: calibrations by camera name, where they are collected.
        topics: of the images, by camera name.
        clouds: of the LiDARs, where they are collected.
    """

    message: OccupancyGrid3D
    images: dict[str, Image | CompressedImage]
    infos: dict[str, CameraInfo] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    clouds: tuple[PointCloud2, ...] = ()

    def decoded(self) -> tuple[OccupancyGrid, dict[str, np.ndarray]]:
        """The grid, and (H, W, 3) uint8 RGB images by camera name."""
        return grid_from_message(self.message), {name: rgb_from(image) for name, image in self.images.items()}


def rgb_from(image: Image | CompressedImage) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image of either kind."""
    return rgb_from_compressed(image) if isinstance(image, CompressedImage) else rgb_from_image(image)


class SilenceError(OccFusionError):
    """No answer came."""


class OutputCollector:
    """Subscribes to a node's occupancy and classes, and to the sensor data that it subscribes to itself.

    Args:
        node: the rclpy node to subscribe with.
        source: name of the node that computes occupancy, relative to `node`'s namespace unless it begins with /.
        on_answer: called for each occupancy message.
        inputs: kinds of the sensor data that is collected.

    Attributes:
        classes: names and colors of the labels; empty until they have come.
        stage_ms: milliseconds that stages of the processing took, by stage.
        full_name: the node's, with its namespace.
    """

    def __init__(
        self, node: Node, source: str, on_answer: Callable[[Answer], None], inputs: tuple[type, ...] = IMAGES
    ) -> None:
        self.classes: tuple[SemanticClass, ...] = ()
        self._node, self._on_answer = node, on_answer
        self.stage_ms: dict[str, list[float]] = {}
        self._inputs = {type_name(kind): kind for kind in inputs}
        self._kept: dict[type, dict[str, deque]] = {kind: {} for kind in KEPT}  # by topic
        topic = source if source.startswith("/") else f"{node.get_namespace().rstrip('/')}/{source}"
        self.full_name = topic
        self._namespace, self._name = topic.rsplit("/", 1)
        self.topic = f"{topic}/occupancy"
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._takers = {
            CLASSES: (SemanticClasses, self._take_classes, latched),
            OCCUPANCY: (OccupancyGrid3D, self._take_occupancy, 10),
        }
        self._followed: set[str] = set()
        self._subscribe(f"{topic}/classes", CLASSES)
        self._subscribe(self.topic, OCCUPANCY)
        self._times = f"{topic}/debug/processing_time_ms/"
        node.create_timer(LOOK_S, self._follow)

    @property
    def connected(self) -> bool:
        """Whether the node is there."""
        return bool(self._node.get_publishers_info_by_topic(self.topic))

    @property
    def image_topics(self) -> list[str]:
        """The images that the node was found to subscribe to, so far."""
        return [topic for kind in IMAGES for topic in self._kept[kind]]

    def _follow(self) -> None:
        """Subscribe to what has turned up: stage times, and sensor data that the node subscribes to."""
        for topic, types in self._node.get_topic_names_and_types():
            if (
                topic not in self._followed
                and types[0] in self._takers
                and self._is_theirs(self._node.get_publishers_info_by_topic(topic))
            ):
                self._follow_remapped(topic, types[0])
            stage = topic.removeprefix(self._times)
            if stage != topic and stage not in self.stage_ms:
                self._follow_times(topic, stage)
            elif (kind := self._inputs.get(types[0])) and topic not in self._kept[kind]:
                self._follow_input(topic, kind)

    def _is_theirs(self, ends: list) -> bool:
        """Whether the node is among those at the ends of a topic."""
        return any((info.node_name, info.node_namespace) == (self._name, self._namespace or "/") for info in ends)

    def _subscribe(self, topic: str, kind: str) -> None:
        message_type, take, qos = self._takers[kind]
        self._followed.add(topic)
        self._node.create_subscription(message_type, topic, take, qos)

    def _follow_remapped(self, topic: str, kind: str) -> None:
        """An output of the node under another name."""
        self._subscribe(topic, kind)
        if kind == OCCUPANCY:
            self.topic = topic

    def _follow_input(self, topic: str, kind: type) -> None:
        """Subscribe as the node does, which may have two subscriptions to what may be latched."""
        theirs = [info for info in self._node.get_subscriptions_info_by_topic(topic) if self._is_theirs([info])]
        if theirs:
            kept = self._kept[kind][topic] = deque(maxlen=KEPT[kind])
        silence = SubscriptionEventCallbacks(incompatible_qos=lambda _: None)  # of publishers that do not latch
        for offered in {(info.qos_profile.reliability, info.qos_profile.durability) for info in theirs}:
            qos = QoSProfile(depth=5, reliability=offered[0], durability=offered[1])
            keep = lambda message: kept.append(message)  # noqa: E731 - rclpy looks at its signature
            self._node.create_subscription(kind, topic, keep, qos, event_callbacks=silence)

    def _follow_times(self, topic: str, stage: str) -> None:
        offered = self._node.get_publishers_info_by_topic(topic)
        if offered:
            self.stage_ms[stage] = []
            qos = QoSProfile(depth=100, durability=offered[0].qos_profile.durability)
            self._node.create_subscription(Float64, topic, lambda time: self.stage_ms[stage].append(time.data), qos)

    def _take_classes(self, message: SemanticClasses) -> None:
        self.classes = tuple(
            SemanticClass(label, name, tuple(round(255 * channel) for channel in (color.r, color.g, color.b)))
            for label, name, color in zip(message.ids, message.names, message.colors)
        )

    def _take_occupancy(self, message: OccupancyGrid3D) -> None:
        stamp = stamp_ns(message.header)
        images = {camera: self._nearest(stamp, self._of_camera(camera, *IMAGES)) for camera in message.cameras}
        images = {camera: found for camera, found in images.items() if found}
        infos = {camera: sum(map(list, self._of_camera(camera, CameraInfo).values()), []) for camera in images}
        clouds = [self._nearest(stamp, {topic: kept}) for topic, kept in self._kept[PointCloud2].items()]
        self._on_answer(
            Answer(
                message,
                {camera: image for camera, (_, image) in images.items()},
                {camera: found[-1] for camera, found in infos.items() if found},
                {camera: topic for camera, (topic, _) in images.items()},
                tuple(found[1] for found in clouds if found),
            )
        )

    def _of_camera(self, camera: str, *kinds: type) -> dict[str, deque]:
        """What is kept of a camera, by topic: its topics carry its name, or are the only ones."""
        kept = {topic: messages for kind in kinds for topic, messages in self._kept[kind].items()}
        named = {topic: messages for topic, messages in kept.items() if camera in topic.split("/")}
        return named or (kept if len(kept) == 1 else {})

    @staticmethod
    def _nearest(stamp: int, kept: dict[str, deque]) -> tuple[str, Any] | None:
        """Topic and message of what was measured nearest to the stamp."""
        found = [(topic, message) for topic, messages in kept.items() for message in messages]
        best = min(found, key=lambda one: abs(stamp_ns(one[1].header) - stamp), default=None)
        return best if best and abs(stamp_ns(best[1].header) - stamp) <= FARTHEST_NS else None


def wait_for_answers(
    collector: OutputCollector, waiting: "queue.Queue[Answer]", timeout_s: float, backlog: int
) -> Iterator[Answer]:
    """Yield the answers that a collector puts into a queue.

    Args:
        timeout_s: seconds without an answer after which it is given up; 0: never.
        backlog: answers that may wait; the oldest is left out first, which is said.

    Raises:
        SilenceError: no answer came in time.
    """
    print(f"waiting for {collector.topic}", flush=True)
    while True:
        while waiting.qsize() > backlog:
            waiting.get()
            print(f"drawing is too slow: left one of {collector.topic} out", file=sys.stderr)
        try:
            answer = waiting.get(timeout=timeout_s or None)
        except queue.Empty:
            reason = (
                "the node is there but does not publish; see its /diagnostics"
                if collector.connected
                else "there is no such node; see --node, ROS_DOMAIN_ID and namespace"
            )
            raise SilenceError(f"nothing on {collector.topic} for {timeout_s:g} s: {reason}") from None
        yield answer
