"""Subscriptions to the sensors."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy

from ..conversions.stamps import NS_PER_S, stamp_ns
from .topic_types import other_types, type_name

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # before Iron
    from rclpy.qos_event import SubscriptionEventCallbacks

NEVER_NS = 2**63  # no clock gets there
FASTEST = 100  # times real time that a simulated clock may run; what is faster was set
SILENT_S = 1.0  # an input without a message for so long is silent, unless it is slower than that by nature
SLOWEST_S = 10.0  # longest interval that is put down to a slow sensor
INTERVALS = 3  # a sensor is silent after so many of its intervals
SMOOTHING = 0.2  # weight of the newest interval


class Input:
    """One subscribed topic.

    A reliable subscription gets nothing from a best-effort publisher, a best-effort one loses big messages. With
    `reliability` "auto" it begins as reliable and starts over as best effort once such a publisher shows up. What is
    latched reaches only a subscription that asks for it, which in turn gets nothing from publishers that do not latch:
    with `latched` there are two.

    Attributes:
        topic: full name of the topic, as the node sees it.
        received: number of messages so far.
        interval_s: seconds that usually lie between two messages; 0 before there were two.
        mismatch: what of a publisher's quality of service keeps its messages away; empty once a message comes.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        reliability: str,
        depth: int,
        now_ns: Callable[[], int],
        latched: bool = False,
    ) -> None:
        """`now_ns`: nanoseconds on a clock that does not stand still, by which messages age."""
        self.topic, self.received, self.mismatch = topic, 0, ""
        self._node, self._kind, self._callback, self._now_ns = node, kind, callback, now_ns
        self._reliability, self._depth = reliability, depth
        self._last: tuple[int, float] | None = None  # of the newest message, on both clocks
        self.interval_s, self._unpaired = 0.0, {}  # by subscription, the stamp of its newest message
        self._latched = self._subscribe_latched() if latched else None
        self._subscribe(reliable=reliability != "best_effort")
        self.topic = node.resolve_topic_name(topic)  # of a name that was found to be one

    def close(self) -> None:
        """End the subscription."""
        for subscription in filter(None, (self._subscription, self._latched)):
            self._node.destroy_subscription(subscription)

    @property
    def has_publisher(self) -> bool:
        """Whether somebody publishes the topic."""
        return bool(self._node.count_publishers(self.topic))

    @property
    def wrong_type(self) -> str:
        """What is wrong where the topic is published with another type alone, and what to do; else empty."""
        published = {info.topic_type for info in self._node.get_publishers_info_by_topic(self.topic)}
        return other_types(type_name(self._kind), published)

    @property
    def age_s(self) -> float | None:
        """Seconds since the newest message; None before the first.

        On the node's clock, so that a bag may be slow; where that was set meanwhile, on the steady one.
        """
        if self._last is None:
            return None
        age_s, steady_s = (self._now_ns() - self._last[0]) / NS_PER_S, time.monotonic() - self._last[1]
        return age_s if 0 <= age_s <= FASTEST * steady_s else steady_s

    def start_over(self) -> None:
        """The node's clock was set back, to where it may soon pass the newest message: that ages on the steady one."""
        if self._last:
            self._last = NEVER_NS, self._last[1]

    @property
    def is_silent(self) -> bool:
        """Whether nothing came for longer than this sensor usually takes; once is enough for what may be latched."""
        age_s = self.age_s
        if self._latched and age_s is not None:
            return False
        return age_s is None or age_s > max(SILENT_S, INTERVALS * self.interval_s)

    def _subscribe(self, reliable: bool) -> None:
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        receive = partial(self._receive_one_of_two, False) if self._latched else self._receive
        self._subscription = self._node.create_subscription(
            self._kind,
            self.topic,
            receive,
            QoSProfile(depth=self._depth, reliability=policy),
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    def _subscribe_latched(self) -> Any:
        """A second subscription, for what was published before the node came."""
        profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        silence = SubscriptionEventCallbacks(incompatible_qos=lambda _: None)  # of publishers that do not latch
        return self._node.create_subscription(
            self._kind, self.topic, partial(self._receive_one_of_two, True), profile, event_callbacks=silence
        )

    def _receive_one_of_two(self, latched: bool, message: Any) -> None:
        """A message of a publisher that latches comes to both subscriptions, and counts once."""
        stamp = stamp_ns(message.header)
        if self._unpaired.get(not latched) == stamp:
            del self._unpaired[not latched]
        else:
            self._unpaired[latched] = stamp
            self._receive(message)

    def _receive(self, message: Any) -> None:
        age_s = self.age_s
        if age_s is not None:
            usual_s = min(age_s, SLOWEST_S)
            self.interval_s += (usual_s - self.interval_s) * (SMOOTHING if self.interval_s else 1.0)
        self.received += 1
        self.mismatch = ""
        self._last = self._now_ns(), time.monotonic()
        self._callback(message)

    def _on_incompatible(self, event: Any) -> None:
        if self._reliability == "auto" and event.last_policy_kind == QoSPolicyKind.RELIABILITY:
            self._node.get_logger().warning(f"{self.topic}: its publisher offers best effort only; following suit")
            self._node.destroy_subscription(self._subscription)
            self._subscribe(reliable=False)
        else:
            self.mismatch = QoSPolicyKind(event.last_policy_kind).name.lower()
            self._node.get_logger().error(
                f"{self.topic}: a publisher's quality of service does not match "
                f"({self.mismatch}); its messages do not arrive"
            )
