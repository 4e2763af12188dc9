"""States on /diagnostics, once a second, in the conventions of diagnostic_updater."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ..conversions.stamps import header_from

PERIOD_S = 1.0

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class TaskStatus(NamedTuple):
    """What a task finds."""

    level: bytes
    message: str
    values: Mapping[str, Any] = {}


class Diagnostics:
    """Publishes what tasks find, each as ``<node>: <task>``."""

    def __init__(self, node: Node, tasks: Callable[[], Mapping[str, Callable[[], TaskStatus]]]) -> None:
        """`tasks` gives the present ones by name; they are called once a second on the node's executor."""
        self._node, self._tasks = node, tasks
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(PERIOD_S, self.report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def report(self) -> None:
        """Publish the state of this moment."""
        now_ns = self._node.get_clock().now().nanoseconds
        statuses = [self._status(name, task()) for name, task in self._tasks().items()]
        self._publisher.publish(DiagnosticArray(status=statuses, header=header_from(now_ns, "")))

    def _status(self, name: str, state: TaskStatus) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=state.level,
            name=f"{self._node.get_name()}: {name}",
            message=state.message,
            hardware_id=self._node.get_fully_qualified_name(),
            values=[KeyValue(key=key, value=str(value)) for key, value in state.values.items()],
        )
