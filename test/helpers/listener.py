"""Keeps all that a node in another process publishes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.node import Node

from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.node.forms import forms, passable_of
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.node.publishers import KEPT
from occfusion_ros.ros.startup.rclpy_start import spinning_node

WITH_COSTMAP = NodeParameters(fixed_frame="map")


class Listener:
    """Subscribes to every form of an answer; the first message of each stamp is kept.

    Attributes:
        messages: by topic, such as ``~/points``, and stamp.
    """

    def __init__(self, node: Node, source: str = "/occfusion") -> None:
        self.messages: dict[str, dict[int, Any]] = defaultdict(dict)
        self._lock = threading.Lock()
        for form in forms(WITH_COSTMAP, passable_of(WITH_COSTMAP, ())):
            self._listen(node, form.topic, form.kind, form.topic.replace("~", source))

    def _listen(self, node: Node, topic: str, kind: type, name: str) -> None:
        def take(message: Any) -> None:
            header = message.markers[-1].header if topic == "~/markers" else message.header
            with self._lock:
                self.messages[topic].setdefault(stamp_ns(header), message)

        node.create_subscription(kind, name, take, KEPT)


@contextmanager
def listening() -> Iterator[Listener]:
    """Within it all forms of all answers are taken."""
    with spinning_node("listener", []) as node:
        yield Listener(node)
