"""A bag is played when those it is for have come: nodes of another context subscribe late, or to something else."""

import logging
import time

import pytest
import rclpy
from std_msgs.msg import String

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.ros.without_ros import audience
from occfusion_ros.ros.without_ros.audience import Audience

TIMEOUT_S = 30.0
NODE = "/robot1/listener"


class Said(logging.Handler):
    """Calls back, once, when a text is logged."""

    def __init__(self, text: str, then) -> None:
        super().__init__()
        self._text, self._then, self.lines = text, then, []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self._then and self._text in self.lines[-1]:
            then, self._then = self._then, None
            then()


@pytest.fixture
def make(ros_domain):
    """Makes nodes, each in a context of its own as other processes have."""
    contexts, nodes = [], []

    def node(name: str, namespace: str = ""):
        contexts.append(rclpy.Context())
        rclpy.init(context=contexts[-1])
        nodes.append(rclpy.create_node(name, namespace=namespace, context=contexts[-1]))
        return nodes[-1]

    yield node
    for one, context in zip(nodes, contexts):
        one.destroy_node()
        rclpy.shutdown(context=context)


@pytest.fixture
def player(make):
    """A node with two publishers, and its audience."""
    node = make("player")
    return Audience(node, {topic: node.create_publisher(String, topic, 10) for topic in ("/points", "/image")})


@pytest.fixture
def when_said(caplog):
    """Has something done when the audience logs a text; the handler, which keeps all lines, is returned."""
    handlers = []

    def arrange(text: str, then=None) -> Said:
        handlers.append(Said(text, then))
        audience.logger.addHandler(handlers[-1])
        return handlers[-1]

    caplog.set_level(logging.INFO, audience.logger.name)
    yield arrange
    for handler in handlers:
        audience.logger.removeHandler(handler)


def subscribe(node, *topics: str) -> None:
    for topic in topics:
        node.create_subscription(String, topic, print, 10)


def test_a_node_that_is_there_but_not_active_is_waited_for(player, make, when_said):
    listener = make("listener", "robot1")
    subscribe(listener, "/tf", "/clock")  # as an inactive node may
    someone = make("rviz")
    subscribe(someone, "/points")  # a subscriber, but not the one that is waited for
    said = when_said(f"waiting for the node {NODE} to become active", lambda: subscribe(listener, "/points", "/other"))
    player.wait([NODE], [], TIMEOUT_S)
    assert player._publishers["/points"].get_subscription_count() == 2
    assert said.lines[-1] == f"{NODE} listens to /other too, which the bag does not have"


def test_a_node_that_comes_later_is_waited_for(player, make, when_said):
    when_said(NODE, lambda: subscribe(make("listener", "robot1"), "/points", "/image"))
    player.wait([NODE], [], TIMEOUT_S)
    assert all(publisher.get_subscription_count() for publisher in player._publishers.values())


@pytest.mark.parametrize("order", [["deaf", "listening"], ["listening", "deaf"]])
def test_of_two_nodes_of_one_name_one_listens(player, make, order):
    """A node of an earlier start that was killed is seen for a while, or a second one was started by mistake."""
    for kind in order:
        subscribe(make("listener", "robot1"), *["/points"] * (kind == "listening"))
    while player._node.get_node_names().count("listener") < len(order) or not player._heard("/points"):
        time.sleep(audience.POLL_S)
    player.wait([NODE], [], TIMEOUT_S)
    assert player._publishers["/points"].get_subscription_count() == 1


def test_topics_of_others_are_waited_for(player, make, when_said):
    """As RViz, which shows what the node publishes and not what is played."""
    said = when_said("a subscriber of /occfusion/markers", lambda: subscribe(make("rviz"), "/occfusion/markers"))
    player.wait([], ["/occfusion/markers"], TIMEOUT_S)
    assert said.lines == ["waiting for a subscriber of /occfusion/markers"]


def test_without_anybody_to_wait_for_it_begins_at_once(player, monkeypatch):
    monkeypatch.setattr(audience.time, "sleep", lambda _: pytest.fail("it waited"))
    player.wait([], [], TIMEOUT_S)


def test_the_time_limit_says_what_was_waited_for(player):
    with pytest.raises(
        DatasetError,
        match=f"gave up after 0.1 s of waiting for the node {NODE} to become active .* "
        "and a subscriber of /occfusion/markers",
    ):
        player.wait([NODE], ["/occfusion/markers"], 0.1)


def test_a_node_that_listens_to_other_topics_only_is_not_waited_for(player, make, monkeypatch):
    monkeypatch.setattr(audience, "DEAF_S", 0.2)
    subscribe(make("listener", "robot1"), "/lidar", "/tf")
    with pytest.raises(
        DatasetError,
        match=f"{NODE} listens to /lidar and to nothing that is played: /image, /points; give it the names",
    ):
        player.wait([NODE], [], TIMEOUT_S)
