"""Collects what the node published beside the camera images it was given, for pictures and checks."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses

from ...core.frames import OccupancyGrid
from ...core.labels import SemanticClass
from ..conversions.image import rgb_from_compressed, rgb_from_image
from ..conversions.occupancy_grid import grid_from_message
from ..conversions.stamps import NS_PER_S, stamp_ns

logger = logging.getLogger(__name__)

KEPT = {CompressedImage: 40, Image: 10}  # images of a camera that wait for their answer
IMAGE_TYPES = {"sensor_msgs/msg/CompressedImage": CompressedImage, "sensor_msgs/msg/Image": Image}
OCCUPANCY, CLASSES = "occfusion_msgs/msg/OccupancyGrid3D", "occfusion_msgs/msg/SemanticClasses"
FARTHEST_NS = NS_PER_S // 2  # an image that is farther than this from the sweep does not belong to it
LOOK_S = 0.1  # between looks at the topics there are


@dataclass(frozen=True)
class Answer:
    """An occupancy message and the images, by camera name, that belong to it; still as they came."""

    message: OccupancyGrid3D
    images: dict[str, Image | CompressedImage]

    def decoded(self) -> tuple[OccupancyGrid, dict[str, np.ndarray]]:
        """The grid, and (H, W, 3) uint8 RGB images by camera name."""
        grid = grid_from_message(self.message)
        return grid, {
            name: rgb_from_compressed(image) if isinstance(image, CompressedImage) else rgb_from_image(image)
            for name, image in self.images.items()
        }


class OutputCollector:
    """Subscribes to a node's occupancy and classes, and to the images that it subscribes to itself.

    Args:
        node: the rclpy node to subscribe with.
        source: name of the node that computes occupancy, relative to `node`'s namespace unless it begins with /.
        on_answer: called for each occupancy message.

    Attributes:
        classes: names and colors of the labels; empty until they have come.
        stage_ms: milliseconds that stages of the processing took, by stage.
    """

    def __init__(self, node: Node, source: str, on_answer: Callable[[Answer], None]) -> None:
        self.classes: tuple[SemanticClass, ...] = ()
        self._node, self._on_answer = node, on_answer
        self.stage_ms: dict[str, list[float]] = {}
        self._images: dict[str, deque] = {}
        topic = source if source.startswith("/") else f"{node.get_namespace().rstrip('/')}/{source}"
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
        return list(self._images)

    def _follow(self) -> None:
        """Subscribe to what has turned up: stage times, and images that the node subscribes to."""
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
            elif types[0] in IMAGE_TYPES and topic not in self._images:
                self._follow_images(topic, IMAGE_TYPES[types[0]])

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

    def _follow_images(self, topic: str, kind: type) -> None:
        theirs = [
            info
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if (info.node_name, info.node_namespace) == (self._name, self._namespace or "/")
        ]
        if theirs:
            self._images[topic] = deque(maxlen=KEPT[kind])
            qos = QoSProfile(depth=5, reliability=theirs[0].qos_profile.reliability)
            self._node.create_subscription(kind, topic, partial(self._take_image, topic), qos)

    def _follow_times(self, topic: str, stage: str) -> None:
        offered = self._node.get_publishers_info_by_topic(topic)
        if offered:
            self.stage_ms[stage] = []
            qos = QoSProfile(depth=100, durability=offered[0].qos_profile.durability)
            self._node.create_subscription(Float64, topic, lambda time: self.stage_ms[stage].append(time.data), qos)

    def _take_image(self, topic: str, image: Image | CompressedImage) -> None:
        self._images[topic].append(image)

    def _take_classes(self, message: SemanticClasses) -> None:
        self.classes = tuple(
            SemanticClass(label, name, tuple(round(255 * channel) for channel in (color.r, color.g, color.b)))
            for label, name, color in zip(message.ids, message.names, message.colors)
        )

    def _take_occupancy(self, message: OccupancyGrid3D) -> None:
        nearest = {name: self._nearest(name, stamp_ns(message.header)) for name in message.cameras}
        self._on_answer(Answer(message, {name: image for name, image in nearest.items() if image}))

    def _nearest(self, camera: str, stamp: int) -> Image | CompressedImage | None:
        """The image of a camera that was taken nearest to the stamp; a camera's topics carry its name, or are the only
        ones."""
        topics = [topic for topic in self._images if camera in topic.split("/")]
        kept = [
            image
            for topic in topics or (self._images if len(self._images) == 1 else ())
            for image in self._images[topic]
        ]
        best = min(kept, key=lambda image: abs(stamp_ns(image.header) - stamp), default=None)
        return best if best and abs(stamp_ns(best.header) - stamp) <= FARTHEST_NS else None
