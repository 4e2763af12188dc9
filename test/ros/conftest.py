"""Fixtures of the tests that run the node in their own process."""

import gc

import pytest


@pytest.fixture(scope="module")
def ros(ros_domain):
    """rclpy, started for a module."""
    import helpers.rig  # noqa: F401 - what it imports is no concern of the garbage collector either
    import rclpy

    gc.freeze()
    rclpy.init()
    yield
    gc.collect()  # executors keep destroyed nodes in the graph until the cycle of references they are in is broken
    rclpy.try_shutdown()


@pytest.fixture
def start(ros):
    """Starts a rig that is closed after the test."""
    from helpers.rig import Rig

    rigs = []

    def make(*arguments, **parameters) -> Rig:
        rigs.append(Rig(*arguments, **parameters))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def camera_rig(start):
    """One camera, looking along the LiDAR's y axis, its transform published."""
    from helpers.rig import OPTICAL, RIGHT

    rig = start(cameras=["cam_front"])
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    return rig


@pytest.fixture
def stranger(ros_domain):
    """A node apart: within one context a topic has one type."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.fixture
def assert_same_bytes(monkeypatch):
    """Compares what a function writes through CdrWriter with the middleware's bytes of a message."""
    import numpy as np
    from rclpy.serialization import serialize_message

    from occfusion_ros.ros.conversions.cdr import CdrWriter

    def check(write, message):
        zeros = np.frombuffer(write(), np.uint8)
        monkeypatch.setattr(CdrWriter, "PADDING", b"\xff")
        content = zeros == np.frombuffer(write(), np.uint8)
        expected = np.frombuffer(serialize_message(message), np.uint8)
        assert len(zeros) == len(expected) and content.mean() > 0.7
        np.testing.assert_array_equal(zeros[content], expected[content])

    return check
