"""The node in this process: what goes out, and what happens to what cannot be used."""

import itertools
import threading
import time

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from occfusion_msgs.msg import SemanticClasses
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rig import LATCHED, SPEC, Rig, VoxelPipeline
from ros_messages import camera_info, cloud, compressed, image
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import Marker, MarkerArray

from occfusion_ros.core.errors import BackendError
from occfusion_ros.ros import outputs
from occfusion_ros.ros.headers import header_from, stamp_ns
from occfusion_ros.ros.occupancy_message import grid_from_message
from occfusion_ros.ros.parameters import ParameterError

S = 1_000_000_000
MS = 1_000_000
NOW = 1_700_000_000 * S + 123
POINTS = np.array([[0.1, 0.1, 0.1, 0.5], [1.1, -2.1, 0.5, 1], [5, 6, 1, 0]])
SCENE = np.full((48, 64, 3), (200, 100, 50), np.uint8)
LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))
OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # z forward, x right, y down in a frame with x forward, z up


@pytest.fixture(autouse=True, scope="module")
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def start():
    """Starts a rig that is closed after the test."""
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
    rig = start(cameras=["cam_front"])
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), tuple(-np.array(LEFT) * (1, 1, 1, -1)))
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    return rig


def send_camera(rig: Rig, message=None, stamp=NOW, info=None) -> None:
    rig.send("/cam_front/camera_info", camera_info() if info is None else info)
    rig.send("/cam_front/image_rect_compressed", compressed(SCENE, stamp_ns=stamp) if message is None else message)


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


@pytest.mark.parametrize("message, parameters", [
    (compressed(SCENE, stamp_ns=NOW + 20 * MS), {}),
    (image(SCENE, "rgb8", stamp_ns=NOW - 20 * MS), {"image_topics": ["/cam_front/image"]}),
    (image(SCENE[..., ::-1], "bgr8", stamp_ns=NOW), {"image_topics": ["/{camera}/image"], "image_transport": "raw"}),
], ids=["compressed", "raw", "pattern"])
def test_sweep_and_image(start, message, parameters):
    rig = start(cameras=["cam_front"], **parameters)
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), tuple(-np.array(LEFT) * (1, 1, 1, -1)))
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    rig.send("/cam_front/camera_info", camera_info())
    rig.send("/cam_front/image_rect_compressed" if not parameters else "/cam_front/image", message)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    got = rig.wait_for_occupancy(1)
    frame = rig.pipeline.frames[0]
    assert got.cameras == ["cam_front"] and set(got.data) == {2} and not rig.faults()
    assert stamp_ns(got.header) == NOW and frame.missing_cameras == ()
    camera, = frame.cameras
    np.testing.assert_allclose(camera.image.astype(int), SCENE, atol=3)
    np.testing.assert_array_equal(camera.intrinsics, [[50, 0, 32], [0, 50, 24], [0, 0, 1]])
    # The LiDAR has y forward; the camera sits 0.5 m ahead of it and 0.2 m below.
    np.testing.assert_allclose(camera.camera_from_grid @ [3, 10, 1, 1], [3, -1.2, 9.5, 1], atol=1e-12)


def test_grid_in_a_frame_of_its_own(start):
    """As on a vehicle whose LiDAR has x forward and its origin on the road."""
    rig = start(grid_frame="occfusion_grid")
    rig.send_transform("base_link", "occfusion_grid", (0.0, 0.0, 1.84), tuple(-np.array(LEFT) * (1, 1, 1, -1)))
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
    camera, = rig.pipeline.frames[0].cameras
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


BROKEN_CAMERAS = {
    "silent": ({}, None),
    "too old": ({"stamp": NOW - 500 * MS}, None),
    "cut short": ({"message": compressed(SCENE, stamp_ns=NOW)}, "image cam_front"),
    "wrong size": ({"info": camera_info(width=32)}, "image cam_front"),
    "unknown frame": ({"message": compressed(SCENE, stamp_ns=NOW, frame_id="nowhere")}, "transform cam_front"),
    "no frame": ({"message": compressed(SCENE, stamp_ns=NOW, frame_id="")}, "transform cam_front"),
    "no stamp": ({"message": compressed(SCENE, stamp_ns=0)}, "image without stamp cam_front"),
    "bad calibration": ({"info": camera_info(k=[0.0] * 9, p=[0.0] * 12)}, "calibration cam_front"),
}
BROKEN_CAMERAS["cut short"][0]["message"].data = BROKEN_CAMERAS["cut short"][0]["message"].data[:300]


@pytest.mark.parametrize("case", BROKEN_CAMERAS)
def test_unusable_camera_is_masked(camera_rig, case):
    sent, fault = BROKEN_CAMERAS[case]
    if case != "silent":
        send_camera(camera_rig, **sent)
    if fault and not fault.startswith(("image cam", "transform")):
        camera_rig.wait_for_fault(fault)
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    message = camera_rig.wait_for_occupancy(1)
    assert message.cameras == [] and set(message.data) == {1} and stamp_ns(message.header) == NOW
    assert camera_rig.pipeline.frames[0].missing_cameras == ("cam_front",)
    assert camera_rig.faults() == ({fault: 1} if fault else {})
    send_camera(camera_rig, stamp=NOW + 400 * MS)
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 400 * MS))
    assert camera_rig.wait_for_occupancy(2).cameras == ["cam_front"], "the camera came back"


def broken_cloud(**changes) -> PointCloud2:
    message = cloud(POINTS, stamp_ns=NOW)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize("message, cause", [
    (PointCloud2(), "sweep without stamp"),
    (cloud(POINTS, stamp_ns=0), "sweep without stamp"),
    (broken_cloud(width=4_000_000_000), "invalid sweep"),
    (broken_cloud(fields=[]), "invalid sweep"),
    (broken_cloud(point_step=0), "invalid sweep"),
    (broken_cloud(data=b""), "invalid sweep"),
    (cloud(np.full((5, 4), np.nan), stamp_ns=NOW), "invalid sweep"),
    (cloud(POINTS, stamp_ns=NOW, frame_id=""), "invalid sweep"),
], ids=["empty", "no-stamp", "claims-4e9-points", "no-fields", "no-step", "no-data", "all-nan", "no-frame"])
def test_unusable_sweep_is_skipped(start, message, cause):
    rig = start()
    rig.send("/lidar_top", message)
    rig.wait_for_fault(cause)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert stamp_ns(rig.wait_for_occupancy(1).header) == NOW + S
    assert rig.faults() == {cause: 1}


@pytest.mark.parametrize("error, cause", [(BackendError("engine failed"), "backend"), (KeyError("bug"), "internal")])
def test_pipeline_failure_skips_the_frame(start, error, cause):
    rig = start(VoxelPipeline(failures=[error]))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_fault(cause)
    assert not rig.occupancy
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert stamp_ns(rig.wait_for_occupancy(1).header) == NOW + S


def test_newest_sweep_wins_under_load(start):
    rig = start(VoxelPipeline(gate=threading.Event()))
    rig.pipeline.gate.clear()
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait(lambda: rig.pipeline.frames, "the worker to be busy")
    for i in (1, 2, 3):
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + i * S))
    rig.wait(lambda: dropped(rig)["superseded"] == 2, "two sweeps to be dropped")
    rig.pipeline.gate.set()
    rig.wait_for_occupancy(2)
    assert [stamp_ns(message.header) for message in rig.occupancy] == [NOW, NOW + 3 * S]


def dropped(rig: Rig) -> dict[str, int]:
    return rig.node._synchroniser.dropped


def test_time_jumping_back_starts_over(start):
    rig = start()
    for i, stamp in enumerate((NOW + 100 * S, NOW + 101 * S, NOW)):
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=stamp))
        assert stamp_ns(rig.wait_for_occupancy(i + 1).header) == stamp


def test_image_before_its_calibration_is_kept(camera_rig):
    camera_rig.send("/cam_front/image_rect_compressed", compressed(SCENE, stamp_ns=NOW))
    camera_rig.wait(lambda: camera_rig.node._uncalibrated["cam_front"], "the image")
    camera_rig.send("/cam_front/camera_info", camera_info())
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == ["cam_front"]


def test_waiting_ends_where_simulated_time_stands_still(start):
    rig = start(cameras=["cam_front"], use_sim_time=True)
    rig.send("/clock", Clock(clock=header_from(NOW, "").stamp))
    rig.wait(lambda: rig.node.get_clock().now().nanoseconds == NOW, "the clock")
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert rig.wait_for_occupancy(1).cameras == []


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
    expected = SPEC.centres(SPEC.indices(POINTS[:, :3])[0])
    got = np.array([(p.x, p.y, p.z) for p in shown[0].points])
    np.testing.assert_allclose(got[np.lexsort(got.T)], expected[np.lexsort(expected.T)])


def test_what_nobody_subscribes_to_is_not_computed(start, monkeypatch):
    def refuse(*_):
        raise AssertionError("computed for nobody")
    monkeypatch.setattr(outputs, "marker_bytes", refuse)
    monkeypatch.setattr(outputs, "cloud_bytes", refuse)
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
    times = {stage: rig.listen(Float64, f"/occfusion/debug/processing_time_ms/{stage}")
             for stage in ("convert", "voxelise", "publish", "total")}
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait(lambda: all(times.values()), "all stage times")
    assert times["voxelise"][0].data == 1.5 and times["total"][0].data >= times["convert"][0].data > 0


def status(rig: Rig, part: str) -> DiagnosticStatus:
    """The newest state of one part."""
    return next(s for s in rig.diagnostics[-1].status if s.name == f"occfusion: {part}")


def values(state: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in state.values}


def test_diagnostics_tell_what_is_wrong(camera_rig):
    rig = camera_rig
    rig.wait(lambda: rig.diagnostics, "diagnostics")
    assert status(rig, "inputs").level == DiagnosticStatus.ERROR and "/lidar_top" in status(rig, "inputs").message
    assert values(status(rig, "model")) == {"model": "voxel-test", "backend": "voxels"}
    rig.pipeline.failures.append(BackendError("engine failed"))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait(lambda: status(rig, "frames").level == DiagnosticStatus.ERROR, "an error state")
    assert "engine failed" in values(status(rig, "frames"))["last_error"]
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait(lambda: values(status(rig, "frames"))["published"] == "1", "recovery")
    assert status(rig, "frames").level == DiagnosticStatus.WARN, "the camera is still missing"
    assert values(status(rig, "frames"))["camera missing: cam_front"] == "2"
    assert "2 received" in values(status(rig, "inputs"))["/lidar_top"]
    assert "/cam_front/camera_info" in status(rig, "inputs").message


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


def test_more_cameras_than_the_model_takes_are_refused():
    with pytest.raises(ParameterError, match="at most 6"):
        Rig(cameras=[f"camera_{i}" for i in range(7)])


def test_a_camera_with_a_message_of_another_kind_does_no_harm(camera_rig):
    header = header_from(NOW, "cam_front")
    send_camera(camera_rig, CompressedImage(header=header, format="h264", data=b"\x00\x01"))
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == []


def hostile(rng: np.random.Generator, message):
    """The message with some of its numbers, texts and bytes replaced."""
    kinds = message.get_fields_and_field_types()
    for name in rng.choice([name for name in kinds if name != "header"], 2):
        value, wild = getattr(message, name), int(rng.choice([0, 1, 7, 255, 2**31, 2**32 - 1]))
        if isinstance(value, bool):
            setattr(message, name, not value)
        elif isinstance(value, int):
            setattr(message, name, wild if kinds[name] == "uint32" else wild % 256)
        elif isinstance(value, str):
            setattr(message, name, str(rng.choice(["", "rgb8", "mono16", "jpeg", "x" * 1000])))
        elif name in ("data", "d"):
            setattr(message, name, value[:int(rng.integers(len(value) + 1))])
        elif name in ("k", "r", "p"):
            value[rng.integers(len(value))] = rng.choice([0.0, -1.0, np.nan, np.inf])
    return message


def test_hostile_messages_are_counted_and_survived(camera_rig):
    """Whatever comes, each sweep is published, dropped or counted as a fault, and the node goes on."""
    rng, sweeps = np.random.default_rng(0), 60
    for i in range(1, sweeps + 1):
        stamp = NOW + 100 * i * MS
        camera_rig.send("/cam_front/camera_info", hostile(rng, camera_info()))
        camera_rig.send("/cam_front/image_rect_compressed", hostile(rng, compressed(SCENE, stamp_ns=stamp)))
        camera_rig.send("/lidar_top", hostile(rng, cloud(POINTS, stamp_ns=stamp)))
        camera_rig.wait(lambda i=i: camera_rig.node._diagnostics._lidar.received == i, "the sweep")

    def accounted() -> int:
        refused, published = camera_rig.faults().get("invalid sweep", 0), camera_rig.node.statistics.published
        return published + refused + sum(dropped(camera_rig).values())
    camera_rig.wait(lambda: accounted() == sweeps, "all sweeps to be accounted for")
    assert "internal" not in camera_rig.faults() and len(camera_rig.faults()) > 1
    send_camera(camera_rig, stamp=NOW + 100 * S)
    camera_rig.wait(lambda: "cam_front" in camera_rig.node._calibrations, "the calibration")
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 100 * S))
    camera_rig.wait(lambda: stamp_ns(camera_rig.occupancy[-1].header) == NOW + 100 * S, "the good sweep")
    assert camera_rig.occupancy[-1].cameras == ["cam_front"]
