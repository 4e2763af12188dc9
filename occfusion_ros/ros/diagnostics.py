"""The node's state on /diagnostics, once a second."""

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from .frame_statistics import Statistics
from .headers import NS_PER_S, header_from
from .inputs import Input
from .synchroniser import Synchroniser

PERIOD_S = 1.0
SILENT_S = 1.0  # an input without a message for so long is reported

_Verdict = tuple[bytes, str]
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes three states: the inputs, what became of the frames, and the model that runs."""

    def __init__(self, node: Node, lidar: Input, others: list[Input], synchroniser: Synchroniser,
                 statistics: Statistics, model: Mapping[str, str]) -> None:
        self._node, self._lidar, self._others = node, lidar, others
        self._synchroniser, self._statistics, self._model = synchroniser, statistics, model
        self._before_ns = node.get_clock().now().nanoseconds
        self._received: dict[str, int] = {}
        self._seen = (0, 0, 0, 0)  # sweeps, frames, superseded sweeps and faults up to the last report
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_timer(PERIOD_S, self.report, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def report(self) -> None:
        """Publish the state of this moment."""
        now = self._node.get_clock().now()
        states = [self._inputs(now.nanoseconds), self._frames(), self._status("model", (OK, "loaded"), self._model)]
        self._publisher.publish(DiagnosticArray(status=states, header=header_from(now.nanoseconds, "")))
        self._before_ns = now.nanoseconds

    def _inputs(self, now_ns: int) -> DiagnosticStatus:
        values, silent = {}, []
        elapsed = max((now_ns - self._before_ns) / NS_PER_S, 1e-3)
        for source in (self._lidar, *self._others):
            age = float("inf") if source.last_ns is None else max(now_ns - source.last_ns, 0) / NS_PER_S
            rate = (source.received - self._received.get(source.topic, 0)) / elapsed
            self._received[source.topic] = source.received
            values[source.topic] = f"{rate:.1f} Hz, {source.received} received, newest {age:.2f} s ago"
            silent += [source.topic] if age > SILENT_S else []
        verdict = (OK, "all inputs are alive") if not silent else (
            ERROR if self._lidar.topic in silent else WARN, f"silent: {', '.join(silent)}")
        return self._status("inputs", verdict, values)

    def _frames(self) -> DiagnosticStatus:
        stats, sync = self._statistics, self._synchroniser
        median, high = stats.latency_ms((50, 99))
        values = {"published": stats.published, "latency_p50_ms": f"{median:.1f}", "latency_p99_ms": f"{high:.1f}"}
        for title, counts in (("dropped", sync.dropped), ("camera missing", sync.missing),
                              ("camera late", sync.late), ("fault", stats.faults)):
            values |= {f"{title}: {cause}": count for cause, count in sorted(counts.items())}
        values["last_error"] = stats.last_error
        return self._status("frames", self._frames_verdict(), values)

    def _frames_verdict(self) -> _Verdict:
        """By what happened since the last report."""
        stats, sync = self._statistics, self._synchroniser
        counts = (self._lidar.received, stats.published, sync.dropped["superseded"],
                  sum(stats.faults.values()) + sum(sync.missing.values()) + sync.dropped["out_of_order"])
        sweeps, published, superseded, faults = (now - before for now, before in zip(counts, self._seen))
        self._seen = counts
        if faults and not published:
            return ERROR, f"{sweeps} sweeps came, none was published: {stats.last_error}"
        message = f"{sweeps} sweeps came, {published} published, {superseded} superseded by newer ones"
        return (WARN, f"{message}, {faults} faults") if faults else (OK, message)

    def _status(self, part: str, verdict: _Verdict, values: Mapping[str, Any]) -> DiagnosticStatus:
        return DiagnosticStatus(level=verdict[0], name=f"{self._node.get_name()}: {part}", message=verdict[1],
                                hardware_id=self._node.get_fully_qualified_name(),
                                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()])

