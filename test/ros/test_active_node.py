"""The node in this process: what goes out, and where."""

import itertools
import time

import numpy as np
import pytest
from helpers.rig import LATCHED, MS, NOW, OPTICAL, POINTS, RIGHT, SCENE, SPEC, S, send_camera
from helpers.ros_messages import camera_info, cloud, compressed, image
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray

from occfusion_msgs.msg import SemanticClasses
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns
from occfusion_ros.ros.node import forms, frame_builder


def occupied(message) -> set[tuple[int, int, int]]:
    return set(map(tuple, np.argwhere(grid_from_message(message).labels).tolist()))


def voxels(points: np.ndarray) -> set[tuple[int, int, int]]:
    return set(map(tuple, SPEC.indices(points[:, :3])[0].tolist()))


def test_sweep_alone(start):
    rig = start()
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    message = rig.wait_for_occupancy(1)
    assert stamp_ns(message.header) == NOW and message.header.frame_id == "lidar_top"
    assert occupied(message) == voxels(POINTS) and set(message.data) == {1}
    assert (message.model_id, message.cameras) == ("voxel-test", [])
    np.testing.assert_allclose(rig.pipeline.frames[0].points, POINTS, rtol=1e-6)


@pytest.mark.parametrize(
    "message, parameters",
    [
        (compressed(SCENE, stamp_ns=NOW + 20 * MS), {}),
        (image(SCENE, "rgb8", stamp_ns=NOW - 20 * MS), {"image_topics": ["/cam_front/image"]}),
        (
            image(SCENE[..., ::-1], "bgr8", stamp_ns=NOW),
            {"image_topics": ["/{camera}/image"], "image_transport": "raw"},
        ),
    ],
    ids=["compressed", "raw", "pattern"],
)
def test_sweep_and_image(start, message, parameters):
    rig = start(cameras=["cam_front"], **parameters)
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    rig.send("/cam_front/camera_info", camera_info())
    rig.send("/cam_front/image_rect_compressed" if not parameters else "/cam_front/image", message)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    got = rig.wait_for_occupancy(1)
    frame = rig.pipeline.frames[0]
    assert got.cameras == ["cam_front"] and set(got.data) == {2} and not rig.faults()
    assert stamp_ns(got.header) == NOW
    (camera,) = frame.cameras
    np.testing.assert_allclose(camera.image.astype(int), SCENE, atol=3)
    np.testing.assert_array_equal(camera.intrinsics, [[50, 0, 32], [0, 50, 24], [0, 0, 1]])
    # The LiDAR has y forward; the camera sits 0.5 m ahead of it and 0.2 m below.
    np.testing.assert_allclose(camera.camera_from_grid @ [3, 10, 1, 1], [3, -1.2, 9.5, 1], atol=1e-12)


def test_sweeps_share_an_image_that_is_unpacked_once(camera_rig, monkeypatch):
    unpacked, unpack = [], frame_builder.rgb_from_compressed
    monkeypatch.setattr(
        frame_builder, "rgb_from_compressed", lambda image, size: unpacked.append(image) or unpack(image, size)
    )
    send_camera(camera_rig, stamp=NOW)
    for i in range(2):
        camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW - 30 * MS + 20 * MS * i))
        assert camera_rig.wait_for_occupancy(1 + i).cameras == ["cam_front"]
    assert len(unpacked) == 1
    first, second = (frame.cameras[0].image for frame in camera_rig.pipeline.frames)
    np.testing.assert_array_equal(first, second)


def test_grid_in_a_frame_of_its_own(start):
    """As on a vehicle whose LiDAR has x forward and its origin on the road."""
    rig = start(grid_frame="occfusion_grid")
    rig.send_transform("base_link", "occfusion_grid", (0.0, 0.0, 1.84), RIGHT)
    rig.send_transform("base_link", "velodyne", (0.0, 0.0, 0.0))
    rig.send("/lidar_top", cloud(np.array([[4.0, 1.0, 1.84, 0]]), stamp_ns=NOW, frame_id="velodyne"))
    message = rig.wait_for_occupancy(1)
    assert message.header.frame_id == "occfusion_grid" and stamp_ns(message.header) == NOW
    np.testing.assert_allclose(rig.pipeline.frames[0].points, [[-1, 4, 0, 0]], atol=1e-6)


def test_motion_between_image_and_sweep_is_accounted_for(start):
    rig = start(cameras=["cam_front"], fixed_frame="map")
    rig.send_transform("base_link", "lidar_top")
    rig.send_transform("base_link", "cam_front", turn=OPTICAL)
    for i in range(3):  # 10 m/s along x
        rig.send_transform("map", "base_link", (1.0 * i, 0.0, 0.0), stamp_ns=NOW + 100 * i * MS)
    send_camera(rig, stamp=NOW + 50 * MS)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 100 * MS))
    rig.wait_for_occupancy(1)
    (camera,) = rig.pipeline.frames[0].cameras
    # 7 m ahead of the LiDAR now is 7.5 m ahead of where the camera was.
    np.testing.assert_allclose(camera.camera_from_grid @ [7, 0, 0, 1], [0, 0, 7.5, 1], atol=1e-9)


def test_missing_transform_skips_the_frame_until_it_comes(start):
    rig = start(grid_frame="occfusion_grid", max_wait_s=0.05)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_fault("transform")
    assert not rig.occupancy and not rig.pipeline.frames
    rig.send_transform("lidar_top", "occfusion_grid")
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert stamp_ns(rig.wait_for_occupancy(1).header) == NOW + S


def test_late_transform_is_waited_for(start):
    rig = start(grid_frame="occfusion_grid", max_wait_s=5.0)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.send_transform("lidar_top", "occfusion_grid")
    rig.wait_for_occupancy(1)
    assert not rig.faults()


def test_transforms_are_waited_for_in_simulated_time(start):
    """A bag played a hundred times slower than recorded must not lose its cameras."""
    rig = start(cameras=["cam_front"], fixed_frame="map", max_wait_s=0.02, use_sim_time=True)
    rig.send("/clock", Clock(clock=header_from(NOW, "").stamp))
    rig.send_transform("base_link", "lidar_top")
    rig.send_transform("base_link", "cam_front", turn=OPTICAL)
    rig.send_transform("map", "base_link", stamp_ns=NOW - S)
    send_camera(rig, stamp=NOW)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    begin, ticks = time.monotonic(), itertools.count(NOW)

    def tick_on() -> bool:
        rig.send("/clock", Clock(clock=header_from(next(ticks), "").stamp))
        return time.monotonic() > begin + 10 * 0.02

    rig.wait(tick_on, "ten times max_wait_s of real time")
    assert not rig.occupancy and not rig.faults()
    rig.send_transform("map", "base_link", stamp_ns=NOW)
    assert rig.wait_for_occupancy(1).cameras == ["cam_front"]


def test_transforms_are_not_waited_for_until_a_clock_that_was_set_back_is_there_again(start):
    """A long bag that begins again must not lose the time it took so far."""
    rig = start(cameras=["cam_front"], fixed_frame="map", max_wait_s=0.2, use_sim_time=True)
    rig.send("/clock", Clock(clock=header_from(NOW, "").stamp))
    rig.send_transform("base_link", "lidar_top")
    rig.send_transform("base_link", "cam_front", turn=OPTICAL)
    rig.wait(lambda: rig.node.get_clock().now().nanoseconds == NOW, "the clock")
    send_camera(rig, stamp=NOW)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    begin = time.monotonic()
    rig.wait(lambda: time.monotonic() > begin + 0.1, "the lookup to begin")
    rig.send("/clock", Clock(clock=header_from(NOW - 40 * S, "").stamp))
    assert rig.wait_for_occupancy(1).cameras == []
    assert rig.faults() == {"transform cam_front": 1}


def test_image_before_its_calibration_is_kept(camera_rig):
    camera_rig.send("/cam_front/image_rect_compressed", compressed(SCENE, stamp_ns=NOW))
    camera_rig.wait(lambda: camera_rig.node._perception._uncalibrated["cam_front"], "the image")
    camera_rig.send("/cam_front/camera_info", camera_info())
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == ["cam_front"]


def test_best_effort_publisher_is_followed(start):
    rig = start()
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = rig.vehicle.create_publisher(PointCloud2, "/lidar_top", best_effort)
    rig.wait(publisher.get_subscription_count, "the node to start over with best effort")
    publisher.publish(cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)


def test_markers_and_points_show_the_grid(start):
    rig = start()
    markers, points = rig.listen(MarkerArray, "/occfusion/markers"), rig.listen(PointCloud2, "/occfusion/points")
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait(lambda: markers and points, "markers and points")
    header = points[0].header
    assert stamp_ns(header) == NOW and header.frame_id == "lidar_top" and points[0].width == len(POINTS)
    shown = [marker for marker in markers[0].markers if marker.action == Marker.ADD]
    assert [(m.ns, m.id, len(m.points), m.header == header) for m in shown] == [("barrier", 1, len(POINTS), True)]
    expected = SPEC.centers(SPEC.indices(POINTS[:, :3])[0])
    got = np.array([(p.x, p.z, -p.y) for p in shown[0].points])  # turned so that tops are bright
    np.testing.assert_allclose(got[np.lexsort(got.T)], expected[np.lexsort(expected.T)])


def test_what_nobody_subscribes_to_is_not_computed(start, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed for nobody")

    monkeypatch.setattr(forms, "marker_bytes", refuse)
    monkeypatch.setattr(forms, "cloud_bytes", refuse)
    rig = start()
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    assert not rig.faults()


def test_class_table_is_latched(start):
    rig = start()
    tables = rig.listen(SemanticClasses, "/occfusion/classes", LATCHED)
    rig.wait(lambda: tables, "the class table")
    assert tables[0].model_id == "voxel-test" and tables[0].names[3] == "car" and len(tables[0].ids) == 16


def test_stage_times_are_published(start):
    rig = start()
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    times = {
        stage: rig.listen(Float64, f"/occfusion/debug/processing_time_ms/{stage}")
        for stage in ("convert", "voxelize", "publish", "total")
    }
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait(lambda: all(times.values()), "all stage times")
    assert times["voxelize"][0].data == 1.5 and times["total"][0].data >= times["convert"][0].data > 0


def test_live_parameters_change_all_or_none(start):
    rig = start()
    rig.node.set_parameters([Parameter("dense", value=True)])
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert rig.wait_for_occupancy(1).encoding == 0
    result = rig.node.set_parameters_atomically([Parameter("dense", value=False), Parameter("max_markers", value=-1)])
    assert not result.successful
    assert not rig.node.set_parameters([Parameter("lidar_topic", value="/other")])[0].successful
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert rig.wait_for_occupancy(2).encoding == 0


def test_more_cameras_than_the_model_takes_are_refused(start):
    rig = start(cameras=[f"camera_{i}" for i in range(7)], autostart=False)
    assert not rig.node.start()
    assert "cannot be configured: cameras: model voxel-test takes at most 6" in rig.node.failure
