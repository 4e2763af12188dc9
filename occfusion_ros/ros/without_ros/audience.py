"""Waits until those for whom a bag is played have come to listen."""

import logging
import time
from collections.abc import Collection, Mapping

from ...core.errors import DatasetError

logger = logging.getLogger(__name__)

POLL_S = 0.05  # between looks: rclpy has no event for subscribers before Jazzy
SETTLE_S = 0.5  # subscribers may learn of a publisher later than it of them, and then get the first messages late
REMIND_S = 30.0  # between lines that say what is waited for
DEAF_S = 5.0  # a node that has listened so long to nothing that is played will not begin to
NO_SENSORS = ("/clock", "/parameter_events", "/tf", "/tf_static")  # to which nodes listen before they are active


class Audience:
    """Whoever listens to the publishers of a node.

    Args:
        node: the rclpy node that publishes.
        publishers: its publishers by the full name of their topic.
    """

    def __init__(self, node, publishers: Mapping) -> None:
        self._node, self._publishers = node, publishers
        self._deaf_since: dict[str, float] = {}

    def wait(self, nodes: Collection[str], topics: Collection[str], timeout_s: float) -> None:
        """Return once all are there.

        Args:
            nodes: full names of nodes that must have subscribed to what is published here.
            topics: topics, published here or by anyone, that must have a subscriber.
            timeout_s: seconds after which it is given up.

        Raises:
            DatasetError: the time is up, or a node listens to other topics only.
        """
        began, said, due = time.monotonic(), [], 0.0
        while missing := self._missing(nodes, topics):
            now = time.monotonic()
            if now - began > timeout_s:
                raise DatasetError(f"gave up after {timeout_s:g} s of waiting for {' and '.join(missing)}")
            if missing != said or now > due:
                logger.info("waiting for %s", " and ".join(missing))
                said, due = missing, now + REMIND_S
            time.sleep(POLL_S)
        if nodes or topics:
            time.sleep(SETTLE_S)
        for name in nodes:
            if unheard := sorted(self._sensors(name) - self._publishers.keys()):
                logger.warning("%s listens to %s too, which the bag does not have", name, ", ".join(unheard))

    def _missing(self, nodes: Collection[str], topics: Collection[str]) -> list[str]:
        """What is not there yet, in words."""
        unheard = [topic for topic in topics if not self._heard(topic)]
        return [what for what in map(self._lacks, nodes) if what] + [f"a subscriber of {topic}" for topic in unheard]

    def _lacks(self, name: str) -> str:
        """What is to come of a node; empty where it listens."""
        wanted = self._sensors(name)
        heard = wanted & self._publishers.keys()
        if heard:
            unmatched = sorted(topic for topic in heard if not self._heard(topic))
            return f"{name} to be connected to {', '.join(unmatched)}" if unmatched else ""
        if not wanted:
            self._deaf_since.pop(name, None)
            return f"the node {name} to become active (its model is loaded first)"
        if time.monotonic() - self._deaf_since.setdefault(name, time.monotonic()) > DEAF_S:
            raise DatasetError(
                f"{name} listens to {', '.join(sorted(wanted))} and to nothing that is played: "
                f"{', '.join(sorted(self._publishers))}; give it the names of the bag's topics "
                "(lidar_topic or lidar_topics, cameras, image_topics)"
            )
        return f"{name} to subscribe to what is played"

    def _sensors(self, name: str) -> set[str]:
        """Topics that a node subscribes to; none where there is no such node.

        Of several nodes of one name, as where one was left from before, the graph gives the topics of any one: what is
        played is asked topic by topic.
        """
        namespace, _, base = name.rpartition("/")
        owner = (namespace or "/", base)
        played = {
            topic
            for topic in self._publishers
            for end in self._node.get_subscriptions_info_by_topic(topic)
            if (end.node_namespace, end.node_name) == owner
        }
        try:
            found = self._node.get_subscriber_names_and_types_by_node(base, namespace or "/")
        except RuntimeError:  # rclpy's NodeNameNonExistentError is one, of a private module
            found = []
        return played.union(topic for topic, _ in found) - set(NO_SENSORS)

    def _heard(self, topic: str) -> bool:
        """Whether a topic has a subscriber: as its publisher here sees it, else as the graph has it."""
        if topic in self._publishers:
            return bool(self._publishers[topic].get_subscription_count())
        return bool(self._node.count_subscribers(topic))
