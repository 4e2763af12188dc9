"""The node in this process: sweeps of several LiDARs, of a LiDAR that moves, and the vehicle itself in them."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import MS, NOW, POINTS, RIGHT, S, values
from helpers.ros_messages import cloud
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2, PointField

from occfusion_ros.core.ego_box import EgoBox
from occfusion_ros.ros.conversions.stamps import stamp_ns

TWO = {"lidar_topics": ["/front/points", "/rear/points"], "grid_frame": "grid", "max_wait_s": 5.0}


@pytest.fixture
def two(start):
    """Two LiDARs in the frame of the grid, the rear one turned round."""
    rig = start(**TWO)
    rig.send_transform("grid", "front", (0.0, 2.0, 0.0))
    rig.send_transform("grid", "rear", (0.0, -2.0, 0.0), (0.0, 0.0, 1.0, 0.0))
    return rig


def send(rig, where: str, point: tuple[float, float, float], stamp: int) -> None:
    rig.send(f"/{where}/points", cloud(np.array([[*point, 0.5]]), stamp_ns=stamp, frame_id=where))


def test_clouds_of_two_lidars_are_one_sweep(two):
    send(two, "rear", (1, 2, 0), NOW + 10 * MS)
    send(two, "front", (1, 2, 0), NOW)
    message = two.wait_for_occupancy(1)
    assert stamp_ns(message.header) == NOW and message.header.frame_id == "grid" and not two.faults()
    np.testing.assert_allclose(two.pipeline.frames[0].points[:, :3], [[1, 4, 0], [-1, -4, 0]], atol=1e-6)
    np.testing.assert_allclose(two.pipeline.frames[0].ray_origins, [[0, 2, 0], [0, -2, 0]])
    assert two.pipeline.frames[0].origin_of_point.tolist() == [0, 1]


@pytest.mark.parametrize("rear", ["silent", "too old", "no return", "no stamp", "unknown frame"])
def test_the_other_lidar_answers_for_one_that_is_missing(start, rear):
    rig = start(**TWO | {"max_wait_s": 0.1})
    rig.send_transform("grid", "front")
    rig.send_transform("grid", "rear")
    stamp = {"too old": NOW - 300 * MS, "no stamp": 0}.get(rear, NOW)
    message = cloud(
        np.zeros((9, 4)) if rear == "no return" else POINTS,
        stamp_ns=stamp,
        frame_id="nowhere" if rear == "unknown frame" else "rear",
    )
    if rear != "silent":
        rig.send("/rear/points", message)
    if rear == "no stamp":
        rig.wait_for_fault("cloud without stamp /rear/points")
    send(rig, "front", (1, 2, 0), NOW)
    rig.wait_for_occupancy(1)
    np.testing.assert_allclose(rig.pipeline.frames[0].points[:, :3], [[1, 2, 0]])
    cause = {"no return": "cloud", "unknown frame": "transform"}.get(rear)
    assert cause is None or rig.faults() == {f"{cause} /rear/points": 1}
    state = rig.wait_for_status("frames", DiagnosticStatus.WARN)
    assert values(state).get("cloud missing: /rear/points") == (None if cause else "1")


def test_a_sweep_without_any_return_of_any_lidar_is_refused(two):
    for where in ("rear", "front"):
        send(two, where, (0, 0, 0), NOW)
    two.wait_for_fault("invalid sweep")
    assert not two.pipeline.frames


def timed(points: np.ndarray, seconds: np.ndarray, stamp: int) -> PointCloud2:
    """A cloud with Velodyne's time: float32 seconds after the stamp."""
    rows = np.c_[points, np.zeros(len(points)), seconds]
    message = cloud(rows, stamp_ns=stamp, names=("x", "y", "z", "intensity", "time"))
    assert message.fields[4] == PointField(name="time", offset=16, datatype=PointField.FLOAT32, count=1)
    return message


def test_points_of_a_moving_lidar_are_brought_to_the_sweeps_stamp(start):
    rig = start(fixed_frame="odom")
    for i in range(3):
        rig.send_transform("odom", "lidar_top", (0.0, 1.0 * i, 0.0), stamp_ns=NOW + 100 * i * MS)  # 10 m/s ahead
    seconds = np.linspace(0, 0.1, 200)
    wall = np.stack([np.linspace(-5, 5, 200), 20 - 10 * seconds, np.ones(200)], 1)  # it comes nearer as it is measured
    rig.send("/lidar_top", timed(wall, seconds, NOW))
    rig.wait_for_occupancy(1)
    np.testing.assert_allclose(rig.pipeline.frames[0].points[:, 1], 20, atol=1e-4)
    state = rig.wait_for_status("frames", DiagnosticStatus.OK)
    assert values(state)["deskew: /lidar_top"] == "on: time, seconds after the stamp"
    rig.node.set_parameters([Parameter("deskew", value=False)])
    rig.send("/lidar_top", timed(wall, seconds, NOW + 100 * MS))
    rig.wait_for_occupancy(2)
    np.testing.assert_allclose(rig.pipeline.frames[1].points[:, 1], wall[:, 1], rtol=1e-6)


def test_a_sweep_beyond_the_known_poses_is_answered_as_it_came(start):
    rig = start(fixed_frame="odom", max_wait_s=0.05)
    rig.send_transform("odom", "lidar_top", stamp_ns=NOW - S)
    wall, seconds = np.tile([1.0, 20, 1], (200, 1)) + np.linspace(0, 1, 200)[:, None], np.linspace(0, 0.1, 200)
    rig.send("/lidar_top", timed(wall, seconds, NOW))
    rig.wait_for_occupancy(1)
    assert rig.faults() == {"deskew /lidar_top": 1}
    assert "deskew /lidar_top" in rig.wait_for_status("frames", DiagnosticStatus.WARN).message


BODY = np.array([[1.0, 0, 0, 0], [2.9, 0.4, 0.2, 0], [5, 0, 0, 0], [1, 1.5, 0, 0]])  # base_link: two on it, two off


@pytest.mark.parametrize("box", [[-1.0, 3.0, -1.0, 1.0, -0.5, 1.5], [-1, 3, -1, 1, -1, 2]], ids=["float", "whole"])
def test_a_box_takes_the_place_of_the_vehicles_circle(start, box):
    rig = start(grid_frame="grid", ego_box=box, ego_box_frame="base_link")
    rig.send_transform("base_link", "grid", (0.0, 0.0, 1.84), RIGHT)
    rig.send("/lidar_top", cloud(BODY, stamp_ns=NOW, frame_id="base_link"))
    rig.wait_for_occupancy(1)
    (frame,) = rig.pipeline.frames
    np.testing.assert_allclose(frame.points[:, :3], [[0, 5, -1.84], [-1.5, 1, -1.84]], atol=1e-6)
    assert frame.body_removed
    np.testing.assert_allclose(frame.ray_origins, [[0, 0, -1.84]], atol=1e-6)
    rig.send("/lidar_top", cloud(BODY[:2], stamp_ns=NOW + S, frame_id="base_link"))
    rig.wait_for_fault("invalid sweep")
    assert "outside ego_box" in rig.node.statistics.last_error and len(rig.pipeline.frames) == 1
    rig.node.set_parameters([Parameter("ego_box", value=[])])
    rig.send("/lidar_top", cloud(BODY, stamp_ns=NOW + 2 * S, frame_id="base_link"))
    rig.wait_for_occupancy(2)
    assert len(rig.pipeline.frames[1].points) == 4 and not rig.pipeline.frames[1].body_removed


def test_recorded_frames_lose_the_vehicle_as_the_nodes_do(start):
    box = (-1.0, 1.0, -1.0, 3.0, -1.8, 0.5)
    rig = start()
    rig.send("/lidar_top", cloud(BODY, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    rig.node.set_parameters([Parameter("ego_box", value=list(box))])
    rig.send("/lidar_top", cloud(BODY, stamp_ns=NOW + S))
    rig.wait_for_occupancy(2)
    whole, live = rig.pipeline.frames
    offline = whole.without_body(EgoBox.of_extents(box))
    np.testing.assert_array_equal(offline.points, live.points)
    assert offline.body_removed and live.body_removed and len(live.points) < len(BODY)


def test_points_keep_their_lidar_where_the_vehicle_is_left_out(start):
    rig = start(**TWO, ego_box=[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
    rig.send_transform("grid", "front", (0.0, 2.0, 0.0))
    rig.send_transform("grid", "rear", (0.0, -2.0, 0.0))
    for where, rows in (
        ("rear", [[0.0, 2, 0, 0], [5, 0, 0, 0]]),
        ("front", [[3.0, 0, 0, 0], [0, -2, 0, 0], [4, 0, 0, 0]]),
    ):
        rig.send(f"/{where}/points", cloud(np.array(rows), stamp_ns=NOW, frame_id=where))
    rig.wait_for_occupancy(1)
    (frame,) = rig.pipeline.frames
    reach = np.linalg.norm(frame.points[:, :3] - frame.ray_origins[frame.origin_of_point], axis=1)
    np.testing.assert_allclose(reach, [3, 4, 5], rtol=1e-6)
    assert frame.origin_of_point.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"ego_box": [0.0, 1.0]}, "expected x min, x max"),
        ({"ego_box": [1.0, -1.0, 0.0, 1.0, 0.0, 1.0]}, "each minimum below its maximum"),
        ({"ego_box": "the car"}, "ego_box"),
        ({"lidar_topics": ["/a", "/a"]}, "lidar_topics: expected different names"),
    ],
)
def test_what_cannot_be_is_refused(start, changes, text):
    rig = start(autostart=False, **changes)
    assert not rig.node.start() and text in rig.node.failure
