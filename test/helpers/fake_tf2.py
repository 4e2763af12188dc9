"""The part of tf2_ros' interface that the node uses, answering and refusing as tf2's BufferCore does."""

from types import ModuleType

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.transforms import tree
from occfusion_ros.ros.transforms.buffer import insert_transform


class TransformException(Exception):
    """The kind of all."""


class LookupException(TransformException):
    """An unknown frame."""


class ConnectivityException(TransformException):
    """Frames of two trees."""


class ExtrapolationException(TransformException):
    """A stamp out of reach."""


class InvalidArgumentException(TransformException):
    """A name that is none."""


KINDS = {
    tree.UnknownFrameError: LookupException,
    tree.UnconnectedFramesError: ConnectivityException,
    tree.ExtrapolationError: ExtrapolationException,
}


class Buffer:
    """As tf2_ros.Buffer."""

    def __init__(self) -> None:
        self.tree = tree.TransformTree()

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """The transform, also between a frame and itself."""
        for name in (target_frame, source_frame):
            if not name or name.startswith("/"):
                raise InvalidArgumentException(f"Invalid argument {name!r}: tf2 frame_ids cannot start with a '/'")
        try:
            matrix = self.tree.lookup(target_frame, source_frame, time.nanoseconds)
        except tree.TransformError as error:
            raise KINDS[type(error)](str(error)) from error
        found = TransformStamped(header=header_from(time.nanoseconds, target_frame), child_frame_id=source_frame)
        shift, turn = found.transform.translation, found.transform.rotation
        shift.x, shift.y, shift.z = matrix[:3, 3].tolist()
        turn.x, turn.y, turn.z, turn.w = _quaternion(matrix).tolist()
        return found

    def clear(self) -> None:
        """Static transforms stay."""
        self.tree.clear()


class TransformListener:
    """As tf2_ros.TransformListener."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self._node = node
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", lambda message: self._add(buffer, message, False), 100),
            node.create_subscription(TFMessage, "/tf_static", lambda message: self._add(buffer, message, True), 100),
        ]

    def unregister(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    @staticmethod
    def _add(buffer: Buffer, message: TFMessage, static: bool) -> None:
        for transform in message.transforms:
            insert_transform(buffer.tree, transform, static)


def module() -> ModuleType:
    """What `import tf2_ros` is to give."""
    made = ModuleType("tf2_ros")
    for thing in (
        TransformException,
        LookupException,
        ConnectivityException,
        ExtrapolationException,
        InvalidArgumentException,
        Buffer,
        TransformListener,
    ):
        setattr(made, thing.__name__, thing)
    return made


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    """(4,) x, y, z, w of the (4, 4) matrix: the eigenvector of Bar-Itzhack's symmetric matrix."""
    r = matrix[:3, :3]
    k = np.zeros((4, 4))
    k[:3, :3] = r + r.T - np.trace(r) * np.eye(3)
    k[:3, 3] = k[3, :3] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    k[3, 3] = np.trace(r)
    return np.linalg.eigh(k)[1][:, -1]
