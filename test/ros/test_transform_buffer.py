"""Both buffers, the one on tf2 and the one without, give the same answers and the same kinds of errors."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from helpers import fake_tf2
from helpers.rig import MS, NOW, OPTICAL, RIGHT, S, send_camera
from helpers.rig import POINTS as RETURNS
from helpers.ros_messages import cloud
from tf2_msgs.msg import TFMessage

from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.transforms.buffer import Tf2Buffer, TopicBuffer, make_transform_buffer
from occfusion_ros.ros.transforms.tree import (
    ExtrapolationError,
    TransformError,
    UnconnectedFramesError,
    UnknownFrameError,
)


class Node:
    """Hands messages to whoever subscribed."""

    def __init__(self):
        self.callbacks = {}

    def create_subscription(self, kind, topic, callback, qos):
        self.callbacks[topic] = callback
        return topic

    def destroy_subscription(self, topic):
        del self.callbacks[topic]

    def get_logger(self):
        return SimpleNamespace(warning=lambda *_, **__: None)


@pytest.fixture(params=["tf2", "topics"])
def tf(request, monkeypatch):
    """Whether tf2 is there."""
    monkeypatch.setitem(sys.modules, "tf2_ros", fake_tf2.module() if request.param == "tf2" else None)
    return request.param


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def buffer(tf, node):
    made = make_transform_buffer(node)
    assert isinstance(made, Tf2Buffer if tf == "tf2" else TopicBuffer)
    return made


def send(node, parent, child, shift=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0, 1.0), stamp=0):
    transform = TransformStamped(header=header_from(stamp, parent), child_frame_id=child)
    moved, turned = transform.transform.translation, transform.transform.rotation
    moved.x, moved.y, moved.z = shift
    turned.x, turned.y, turned.z, turned.w = map(float, turn)
    node.callbacks["/tf" if stamp else "/tf_static"](TFMessage(transforms=[transform]))


def vehicle(node):
    """map moves over base_link, which carries lidar and camera; island is on its own."""
    for i in range(3):
        send(node, "map", "base_link", (1.0 * i, 0.0, 0.0), stamp=NOW + i * S)
    send(node, "base_link", "lidar", (1.0, 0.0, 2.0), RIGHT)
    send(node, "base_link", "camera", (1.5, 0.0, 1.8), OPTICAL)
    send(node, "island", "palm")


@pytest.mark.parametrize(
    "target, source, stamp, point, expected",
    [
        ("base_link", "base_link", NOW, (1, 2, 3), (1, 2, 3)),
        ("map", "map", NOW + 7 * S, (1, 2, 3), (1, 2, 3)),
        ("palm", "palm", 1, (1, 2, 3), (1, 2, 3)),
        ("base_link", "lidar", NOW, (0, 1, 0), (2, 0, 2)),
        ("lidar", "base_link", NOW + 90 * S, (2, 0, 2), (0, 1, 0)),
        ("camera", "lidar", NOW, (3, 10, 1), (3, -1.2, 9.5)),
        ("map", "base_link", NOW + 1500 * MS, (0, 0, 0), (1.5, 0, 0)),
        ("base_link", "map", NOW + 2 * S, (0, 0, 0), (-2, 0, 0)),
        ("/map", "/lidar", NOW + S, (0, 1, 0), (3, 0, 2)),
    ],
)
def test_transforms(buffer, node, target, source, stamp, point, expected):
    vehicle(node)
    np.testing.assert_allclose(buffer.lookup(target, source, stamp) @ [*point, 1], [*expected, 1], atol=1e-6)


@pytest.mark.parametrize(
    "target, source, stamp, kind",
    [
        ("nowhere", "lidar", NOW, UnknownFrameError),
        ("lidar", "nowhere", NOW, UnknownFrameError),
        ("nowhere", "nowhere", NOW, UnknownFrameError),
        ("lidar", "palm", NOW, UnconnectedFramesError),
        ("map", "lidar", NOW - 1, ExtrapolationError),
        ("map", "lidar", NOW + 2 * S + 1, ExtrapolationError),
        ("", "lidar", NOW, TransformError),
    ],
)
def test_errors(buffer, node, target, source, stamp, kind):
    vehicle(node)
    with pytest.raises(kind):
        buffer.lookup(target, source, stamp)


def test_clearing_keeps_what_is_static_and_closing_ends_the_subscriptions(buffer, node):
    vehicle(node)
    buffer.clear()
    assert buffer.lookup("base_link", "lidar", NOW).shape == (4, 4)
    with pytest.raises(TransformError):
        buffer.lookup("map", "lidar", NOW)
    buffer.close()
    assert not node.callbacks


@pytest.mark.parametrize(
    "fixed_frame, grid_frame",
    [("lidar_top", ""), ("lidar_top", "lidar_top"), ("grid", "grid"), ("base_link", "base_link")],
)
def test_the_grid_may_be_in_the_frame_that_stands_still(tf, start, fixed_frame, grid_frame):
    rig = start(cameras=["cam_front"], fixed_frame=fixed_frame, grid_frame=grid_frame)
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    rig.send_transform("base_link", "grid", (0.0, 0.0, 1.84), RIGHT)
    send_camera(rig)
    rig.send("/lidar_top", cloud(RETURNS, stamp_ns=NOW))
    assert rig.wait_for_occupancy(1).cameras == ["cam_front"] and not rig.faults()
