"""Publishes the messages of a bag at the pace of their recording, with /clock."""

import importlib
import logging
import time

from tqdm import tqdm

from ...core.errors import DatasetError
from .audience import Audience

logger = logging.getLogger(__name__)

LEAST_DEPTH = 10  # of a publisher's queue
LONGEST_GAP_S = 3600.0  # of the bag's time; one topic stamped zero among others would be waited for half a century
ACKNOWLEDGE_S = 5.0  # for all subscribers together to get the last messages
ASK_S = 0.05  # in one call, which a signal does not break
STAY_S = 0.5  # in one call, as another thread may get the signal


class BagPlayer:
    """Publishes the messages of an open bag.

    Args:
        node: the rclpy node to publish from.
        reader: an open bag.
        topics: only these; None for all of the bag.
        clock_hz: rate of /clock in ticks per second of real time; 0 for no clock.
        rate: bag seconds per second of real time.
    """

    def __init__(self, node, reader, topics: list[str] | None = None, clock_hz: float = 0.0, rate: float = 1.0) -> None:
        self._node, self._reader, self._rate = node, reader, rate
        self._clock = Clock(node, int(1e9 * rate / clock_hz)) if clock_hz else None
        self._publishers = {}
        for topic, connections in self._wanted(topics).items():
            self._advertise(node, topic, connections)
        if not self._publishers:
            raise DatasetError(f"nothing to play: no topic in {reader.path} is of a type installed here")

    @property
    def audience(self) -> Audience:
        """Whoever listens to what is played."""
        return Audience(self._node, {publisher.topic_name: publisher for publisher in self._publishers.values()})

    def play(self, least_s: float = 0.0) -> int:
        """Play the bag once, in `least_s` seconds of real time or more; return how many messages were published."""
        start, count = self._reader.start_time, 0
        timeline = Timeline(start, self._rate)
        if self._clock:
            self._clock.due_ns = start
        connections = [connection for connection in self._reader.connections if connection.topic in self._publishers]
        with tqdm(
            total=round(self._reader.duration / 1e9, 1),
            disable=None,
            desc="playing",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s {postfix}",
        ) as progress:
            for count, (connection, stamp, data) in enumerate(self._reader.messages(connections), start=1):
                self._wait_until(stamp, timeline)
                self._publishers[connection.topic].publish(bytes(data))
                progress.set_postfix_str(f"{count} messages", refresh=False)
                progress.update((stamp - start) / 1e9 - progress.n)
        if self._clock and count:
            self._clock.publish(stamp)
        self._wait_until(start + int(1e9 * least_s * self._rate), timeline)
        return count

    def wait_for_acknowledgement(self) -> None:
        """Let the subscribers get what was sent last; one that went unnoticed acknowledges nothing, on any topic."""
        from rclpy.duration import Duration

        until_ns = time.monotonic_ns() + int(1e9 * ACKNOWLEDGE_S)
        for publisher in self._publishers.values():
            while not publisher.wait_for_all_acked(Duration(seconds=ASK_S)) and time.monotonic_ns() < until_ns:
                pass

    def stay(self) -> None:
        """Until this process is interrupted offer what is latched to whoever comes late; return if nothing is."""
        from rclpy.qos import DurabilityPolicy

        latched = [
            topic
            for topic, publisher in self._publishers.items()
            if publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        ]
        if latched:
            logger.info("staying for whoever comes late, with %s", ", ".join(latched))
        while latched:
            time.sleep(STAY_S)

    def _wanted(self, topics: list[str] | None) -> dict[str, list]:
        """Connections by topic."""
        recorded = {}
        for connection in self._reader.connections:
            recorded.setdefault(connection.topic, []).append(connection)
        if self._clock:
            recorded.pop("/clock", None)  # one clock is enough
        if unknown := set(topics or ()) - recorded.keys():
            raise DatasetError(f"no topic {sorted(unknown)} in {self._reader.path}, it has {sorted(recorded)}")
        return {topic: connections for topic, connections in recorded.items() if topics is None or topic in topics}

    def _advertise(self, node, topic: str, connections: list) -> None:
        message_type = _message_type(connections[0].msgtype)
        if message_type is None:
            logger.warning("skipping %s: %s is not installed here", topic, connections[0].msgtype)
        else:
            self._publishers[topic] = node.create_publisher(message_type, topic, _qos(topic, connections))

    def _wait_until(self, stamp_ns: int, timeline: "Timeline") -> None:
        """Sleep until the bag's time is `stamp_ns`, ticking the clock on the way; gaps without an end are skipped."""
        gap_s = (stamp_ns - timeline.now_ns()) / 1e9
        if gap_s > LONGEST_GAP_S:
            logger.warning("skipping a gap of %s in the stamps (is a topic stamped zero?)", _span(gap_s))
            timeline.skip_to(stamp_ns)
            if self._clock:
                self._clock.due_ns = stamp_ns
        while self._clock and self._clock.due_ns <= stamp_ns:
            timeline.sleep_until(self._clock.due_ns)
            self._clock.tick(timeline.now_ns())
        timeline.sleep_until(stamp_ns)


class Timeline:
    """Bag time against the monotonic clock; due times count from the beginning, so delays do not add up."""

    def __init__(self, start_ns: int, rate: float) -> None:
        self._start_ns, self._rate, self._began = start_ns, rate, time.monotonic_ns()

    def now_ns(self) -> int:
        """The bag's time now, nanoseconds."""
        return self._start_ns + int((time.monotonic_ns() - self._began) * self._rate)

    def skip_to(self, stamp_ns: int) -> None:
        """Let the bag's time be this now."""
        self._start_ns, self._began = stamp_ns, time.monotonic_ns()

    def sleep_until(self, stamp_ns: int) -> None:
        """Return at once if `stamp_ns` has passed."""
        time.sleep(max(0.0, (stamp_ns - self.now_ns()) / self._rate / 1e9))


class Clock:
    """Publishes /clock every `period_ns` of bag time; ticks that come too late are left out."""

    def __init__(self, node, period_ns: int) -> None:
        from rosgraph_msgs.msg import Clock as ClockMessage

        self._message, self._period_ns = ClockMessage(), period_ns
        self._publisher = node.create_publisher(ClockMessage, "/clock", 1)
        self.due_ns = 0

    def tick(self, now_ns: int) -> None:
        """Publish the tick that is due and schedule the next."""
        self.publish(self.due_ns)
        self.due_ns = max(self.due_ns + self._period_ns, now_ns - self._period_ns)

    def publish(self, stamp_ns: int) -> None:
        """Publish this time."""
        self._message.clock.sec, self._message.clock.nanosec = divmod(stamp_ns, 10**9)
        self._publisher.publish(self._message)


def _span(seconds: float) -> str:
    years = seconds / (365.25 * 86400)
    return f"{years:.1f} years" if years >= 1 else f"{seconds / 3600:.1f} hours"


def _message_type(name: str) -> type | None:
    """The Python class of a type such as ``sensor_msgs/msg/PointCloud2``; None where it is not installed."""
    package, kind, message = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), message)
    except (ImportError, AttributeError):
        return None


def _qos(topic: str, connections: list):
    """As deep as all recorded publishers together, so that a latched topic keeps what each of them kept."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    profiles = [profile for connection in connections for profile in connection.ext.offered_qos_profiles]
    latched = topic == "/tf_static" or any(profile.durability.name == "TRANSIENT_LOCAL" for profile in profiles)
    return QoSProfile(
        depth=max(LEAST_DEPTH, sum(profile.depth for profile in profiles)),
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
