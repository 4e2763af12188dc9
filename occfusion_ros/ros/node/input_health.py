"""Whether the sensors speak: rate and age of every input, and what keeps one away."""

import time

from rclpy.node import Node

from ..health.diagnostics import ERROR, OK, WARN, TaskStatus
from .subscriptions import Input

NO_CLOCK = (
    "use_sim_time is set and nobody publishes /clock: play the bag with its clock (ros2 bag play --clock), or "
    "set use_sim_time to false"
)


class InputHealth:
    """Rate and age of every input; silence of the LiDAR is an error, that of a camera a warning."""

    def __init__(self, node: Node, lidar: Input, cameras: list[Input]) -> None:
        self._node, self._lidar, self._inputs = node, lidar, [lidar, *cameras]
        self._received: dict[str, int] = {}
        self._before_s = time.monotonic()
        self._said: set[str] = set()

    def __call__(self) -> TaskStatus:
        """Since the last call. The inputs are listed in the order of the parameters that name them."""
        now_s = time.monotonic()
        elapsed, self._before_s = max(now_s - self._before_s, 1e-3), now_s
        values = {source.topic: self._line(source, elapsed) for source in self._inputs}
        quiet = [source for source in self._inputs if source.is_silent]
        troubles = [NO_CLOCK] if self._lacks_clock() else []
        troubles += [
            f"{source.topic}: a publisher's quality of service does not match ({source.mismatch})"
            for source in self._inputs
            if source.mismatch
        ]
        troubles += self._quiet(quiet)
        if not troubles:
            return TaskStatus(OK, "all inputs are alive", values)
        return TaskStatus(ERROR if self._lidar in quiet else WARN, "; ".join(troubles), values)

    def _line(self, source: Input, elapsed: float) -> str:
        rate = (source.received - self._received.get(source.topic, 0)) / elapsed
        self._received[source.topic] = source.received
        newest = "none yet" if source.age_s is None else f"newest {source.age_s:.2f} s ago"
        return f"{rate:.1f} Hz, {source.received} received, {newest}"

    def _quiet(self, sources: list[Input]) -> list[str]:
        """What is wrong with inputs that give nothing, by kind."""
        wrong = {source.topic: source.wrong_type for source in sources}
        found = [f"{topic}: {text}" for topic, text in wrong.items() if text]
        for text in set(found) - self._said:
            self._node.get_logger().error(text)
        self._said.update(found)
        absent = [source.topic for source in sources if not wrong[source.topic] and not source.has_publisher]
        silent = [source.topic for source in sources if not wrong[source.topic] and source.topic not in absent]
        if silent:
            found.append(f"silent: {', '.join(silent)}")
        if absent:
            found.append(
                f"nobody publishes {', '.join(absent)}: start its driver, or correct the topic's name in the parameters"
            )
        return found

    def _lacks_clock(self) -> bool:
        return self._node.get_parameter("use_sim_time").value and not self._node.count_publishers("/clock")
