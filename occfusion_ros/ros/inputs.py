"""Subscriptions to the sensors."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # before Iron
    from rclpy.qos_event import SubscriptionEventCallbacks


class Input:
    """One subscribed topic.

    A reliable subscription gets nothing from a best-effort publisher, a best-effort one loses big messages. With
    `reliability` "auto" it begins as reliable and starts over as best effort once such a publisher shows up.

    Attributes:
        topic: name of the topic, as given.
        received: number of messages so far.
        last_ns: nanoseconds on the node's clock, arrival of the newest message; None before the first.
        mismatch: what of a publisher's quality of service keeps its messages away; empty once a message comes.
    """

    def __init__(self, node: Node, kind: type, topic: str, callback: Callable[[Any], None], reliability: str,
                 depth: int) -> None:
        self.topic, self.received, self.last_ns, self.mismatch = topic, 0, None, ""
        self._node, self._kind, self._callback = node, kind, callback
        self._reliability, self._depth = reliability, depth
        self._subscribe(reliable=reliability != "best_effort")

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    @property
    def has_publisher(self) -> bool:
        """Whether somebody publishes the topic."""
        return bool(self._node.count_publishers(self.topic))

    def age_ns(self, now_ns: int) -> int | None:
        """Nanoseconds since the newest message; None before the first."""
        if self.last_ns is not None and self.last_ns > now_ns:  # the clock was set back
            self.last_ns = now_ns
        return None if self.last_ns is None else now_ns - self.last_ns

    def _subscribe(self, reliable: bool) -> None:
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        self._subscription = self._node.create_subscription(
            self._kind, self.topic, self._receive, QoSProfile(depth=self._depth, reliability=policy),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible))

    def _receive(self, message: Any) -> None:
        self.received += 1
        self.mismatch = ""
        self.last_ns = self._node.get_clock().now().nanoseconds
        self._callback(message)

    def _on_incompatible(self, event: Any) -> None:
        if self._reliability == "auto" and event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            self._node.get_logger().warning(f"{self.topic}: its publisher offers best effort only; following suit")
            self.close()
            self._subscribe(reliable=False)
        else:
            self.mismatch = QoSPolicyKind(event.last_policy_kind).name.lower()
            self._node.get_logger().error(f"{self.topic}: a publisher's quality of service does not match "
                                          f"({self.mismatch}); its messages do not arrive")
