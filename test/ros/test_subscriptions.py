"""Subscriptions: what was latched before, clocks that stand or are set, and topics of another type."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import LATCHED, MS, NOW, POINTS, S, values
from helpers.ros_messages import camera_info, cloud
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.node import subscriptions
from occfusion_ros.ros.node.subscriptions import Input


@pytest.fixture
def listen(start):
    """Starts an input of a rig's vehicle, by a clock that the test sets."""
    rig, opened = start(), []

    def make(topic: str, kind: type = CameraInfo, **options) -> tuple[Input, list]:
        received, now_ns = [], options.pop("now_ns", time.monotonic_ns)
        opened.append(Input(rig.vehicle, kind, topic, received.append, "auto", 5, now_ns, **options))
        return opened[-1], received

    yield rig, make
    for source in opened:
        source.close()


@pytest.mark.parametrize("latched", [True, False])
def test_calibration_is_received_whatever_the_durability(listen, latched):
    rig, make = listen
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)
    before = rig.node.create_publisher(CameraInfo, "/early/camera_info", qos)
    before.publish(camera_info(header=header_from(NOW, "early")))
    source, received = make("/early/camera_info", latched=True)
    if latched:
        rig.wait(lambda: received, "what was latched")
    rig.wait(before.get_subscription_count, "the subscription")
    for stamp in (NOW + S, NOW + 2 * S):
        before.publish(camera_info(header=header_from(stamp, "early")))
        rig.wait(lambda s=stamp: received and received[-1].header.stamp.sec == s // S, "the next one")
    late = rig.node.create_publisher(CameraInfo, "/early/camera_info", LATCHED)  # another publisher, of another kind
    late.publish(camera_info(header=header_from(NOW + 3 * S, "early")))
    rig.wait(lambda: received[-1].header.stamp.sec == NOW // S + 3, "the other publisher's")
    assert source.received == len(received) == 3 + latched and not source.mismatch
    source._last = (source._last[0] - 3600 * S, source._last[1] - 3600)
    assert source.age_s > 3000 and not source.is_silent, "a calibration may come once"


def test_age_goes_on_where_the_clock_was_set(listen, monkeypatch):
    now = {"node": NOW, "steady": 100.0}
    rig, make = listen
    source, _ = make("/x/camera_info", now_ns=lambda: now["node"])
    monkeypatch.setattr(subscriptions.time, "monotonic", lambda: now["steady"])
    assert source.age_s is None and source.is_silent
    source._receive(camera_info())
    now.update(node=NOW + 5 * S, steady=100.5)  # ten times as fast
    assert source.age_s == 5.0 and source.is_silent
    for jump in (50 * 365 * 86400 * S, -3600 * S):
        now["node"] = NOW + jump
        assert source.age_s == 0.5 and not source.is_silent


def test_a_moment_that_is_played_again_and_again_is_not_silent_in_between(listen, monkeypatch):
    now = {"node": NOW, "steady": 100.0}
    rig, make = listen
    source, _ = make("/x/camera_info", now_ns=lambda: now["node"])
    monkeypatch.setattr(subscriptions.time, "monotonic", lambda: now["steady"])
    for lateness in range(5):
        now["node"] = NOW + lateness * MS  # when the message of a round comes by its clock
        source._receive(camera_info())
        now.update(node=NOW + 5 * S, steady=now["steady"] + 5.0)
        assert lateness == 0 or not source.is_silent
        source.start_over()


def test_a_slow_sensor_is_silent_later(listen, monkeypatch):
    now = [0.0]
    rig, make = listen
    source, _ = make("/slow/camera_info", now_ns=lambda: round(now[0] * S))
    monkeypatch.setattr(subscriptions.time, "monotonic", lambda: now[0])
    for second in range(0, 20, 2):
        now[0] = float(second)
        source._receive(camera_info())
    now[0] += 5.0
    assert not source.is_silent
    now[0] += 2.0
    assert source.is_silent


def test_without_a_clock_inputs_fall_silent_and_the_clock_is_named(start):
    rig = start(use_sim_time=True)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    state = rig.wait_for_status("inputs", DiagnosticStatus.ERROR, "nobody publishes /clock")
    state = rig.wait_for_status("inputs", DiagnosticStatus.ERROR, "silent: /lidar_top")
    assert "use_sim_time" in state.message and "1 received" in values(state)["/lidar_top"]


def test_between_two_bags_inputs_fall_silent(start):
    """The clock's publisher is there, but says nothing new."""
    rig = start(use_sim_time=True)
    rig.send("/clock", Clock(clock=header_from(NOW, "").stamp))
    rig.wait(lambda: rig.node.get_clock().now().nanoseconds == NOW, "the clock")
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_status("inputs", DiagnosticStatus.OK)
    state = rig.wait_for_status("inputs", DiagnosticStatus.ERROR, "silent: /lidar_top")
    assert "/clock" not in state.message


@pytest.mark.parametrize(
    ("topic", "kind", "words"),
    [
        ("/lidar_top", String, ["std_msgs/msg/String", "sensor_msgs/msg/PointCloud2"]),
        ("/cam_front/image_rect_compressed", Image, ["sensor_msgs/msg/CompressedImage", "image_transport to raw"]),
    ],
)
def test_another_type_is_named_with_the_remedy(start, stranger, topic, kind, words):
    rig = start(cameras=["cam_front"])
    stranger.create_publisher(kind, topic, 1)
    state = rig.wait_for_status("inputs", DiagnosticStatus.ERROR, f"{topic}: expected")
    assert [word for word in words if word not in state.message] == []
    assert f"nobody publishes {topic}" not in state.message and f"silent: {topic}" not in state.message
