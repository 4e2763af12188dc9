"""The one door to TF: tf2_ros where it is installed, a small buffer on /tf and /tf_static where it is not."""

import threading
from typing import Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from ..conversions.stamps import stamp_ns
from .tree import (
    ExtrapolationError,
    TransformError,
    TransformTree,
    UnconnectedFramesError,
    UnknownFrameError,
    rigid_matrix,
)


class TransformBuffer(Protocol):
    """Coordinate transforms over time; safe to use from several threads.

    Attributes:
        ignored: transforms that came and were not taken; where tf2 keeps them, it logs those itself.
    """

    ignored: int

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> np.ndarray:
        """(4, 4) float64 ``target_from_source`` in metres at a stamp in nanoseconds.

        Raises:
            TransformError: one of its kinds, when the transform is not at hand; never a guess.
        """

    def clear(self) -> None:
        """Forget everything but static transforms, for when time jumped back."""

    def close(self) -> None:
        """End the subscriptions."""


def make_transform_buffer(node: Node) -> TransformBuffer:
    """A buffer fed by the node's subscriptions to /tf and /tf_static."""
    try:
        return Tf2Buffer(node)
    except ImportError:
        return TopicBuffer(node)


class Tf2Buffer:
    """TF through tf2_ros."""

    ignored = 0

    def __init__(self, node: Node) -> None:
        import tf2_ros

        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._kinds = {
            tf2_ros.LookupException: UnknownFrameError,
            tf2_ros.ConnectivityException: UnconnectedFramesError,
            tf2_ros.ExtrapolationException: ExtrapolationError,
        }
        self._errors = tf2_ros.TransformException

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> np.ndarray:
        """See `TransformBuffer`."""
        from rclpy.time import Time

        try:
            found = self._buffer.lookup_transform(
                target_frame.lstrip("/"), source_frame.lstrip("/"), Time(nanoseconds=stamp_ns)
            )  # tf2 refuses names that begin with /
        except self._errors as error:
            raise self._kinds.get(type(error), TransformError)(str(error)) from error
        return rigid_matrix(target_frame, source_frame, *_numbers(found))

    def clear(self) -> None:
        """See `TransformBuffer`."""
        self._buffer.clear()

    def close(self) -> None:
        """See `TransformBuffer`."""
        self._listener.unregister()


class TopicBuffer:
    """TF from the topics, without tf2."""

    ignored = 0

    def __init__(self, node: Node) -> None:
        from tf2_msgs.msg import TFMessage

        self._tree = TransformTree()
        self._lock = threading.Lock()
        self._node, self._log = node, node.get_logger()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda message: self._add(message, static=False), 100),
            node.create_subscription(TFMessage, "/tf_static", lambda message: self._add(message, static=True), latched),
        ]

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> np.ndarray:
        """See `TransformBuffer`."""
        with self._lock:
            return self._tree.lookup(target_frame, source_frame, stamp_ns)

    def clear(self) -> None:
        """See `TransformBuffer`."""
        with self._lock:
            self._tree.clear()

    def close(self) -> None:
        """See `TransformBuffer`."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _add(self, message, static: bool) -> None:
        for transform in message.transforms:
            try:
                with self._lock:
                    insert_transform(self._tree, transform, static)
            except TransformError as error:
                self.ignored += 1
                self._log.warning(f"ignored a transform: {error}", throttle_duration_sec=5.0)


def insert_transform(tree: TransformTree, transform: TransformStamped, static: bool) -> None:
    """Put a transform into a tree."""
    tree.insert(
        transform.header.frame_id, transform.child_frame_id, stamp_ns(transform.header), *_numbers(transform), static
    )


def _numbers(transform: TransformStamped) -> tuple[np.ndarray, np.ndarray]:
    """Translation (3,) and quaternion (4,) x, y, z, w, as they came."""
    shift, turn = transform.transform.translation, transform.transform.rotation
    return np.array([shift.x, shift.y, shift.z]), np.array([turn.x, turn.y, turn.z, turn.w])
