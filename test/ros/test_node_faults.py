"""The node in this process: what it does with what cannot be used, and what it says about it."""

import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import MS, NOW, POINTS, SCENE, S, VoxelPipeline, send_camera, values
from helpers.ros_messages import camera_info, cloud, compressed
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, PointCloud2

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns

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
    assert camera_rig.pipeline.frames[0].cameras == ()
    assert camera_rig.faults() == ({fault: 1} if fault else {})
    send_camera(camera_rig, stamp=NOW + 400 * MS)
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 400 * MS))
    assert camera_rig.wait_for_occupancy(2).cameras == ["cam_front"], "the camera came back"


def broken_cloud(**changes) -> PointCloud2:
    message = cloud(POINTS, stamp_ns=NOW)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message, cause",
    [
        (PointCloud2(), "sweep without stamp"),
        (cloud(POINTS, stamp_ns=0), "sweep without stamp"),
        (broken_cloud(width=4_000_000_000), "invalid sweep"),
        (broken_cloud(fields=[]), "invalid sweep"),
        (broken_cloud(point_step=0), "invalid sweep"),
        (broken_cloud(data=b""), "invalid sweep"),
        (cloud(np.full((5, 4), np.nan), stamp_ns=NOW), "invalid sweep"),
        (cloud(POINTS, stamp_ns=NOW, frame_id=""), "invalid sweep"),
        (cloud(np.zeros((5, 4)), stamp_ns=NOW), "invalid sweep"),
        (cloud(np.tile([3.0, 2, 1, 0], (500, 1)), stamp_ns=NOW), "invalid sweep"),
    ],
    ids=[
        "empty",
        "no-stamp",
        "claims-4e9-points",
        "no-fields",
        "no-step",
        "no-data",
        "all-nan",
        "no-frame",
        "all-zero",
        "all-in-one-place",
    ],
)
def test_unusable_sweep_is_skipped(start, message, cause):
    rig = start()
    rig.send("/lidar_top", message)
    rig.wait_for_fault(cause)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert stamp_ns(rig.wait_for_occupancy(1).header) == NOW + S
    assert rig.faults() == {cause: 1}


def test_no_returns_are_told_where_the_sensor_stands_apart_from_the_grid(start):
    """(0, 0, 0) of a LiDAR three metres from the grid's origin lies outside any vehicle about it."""
    rig = start(grid_frame="grid")
    rig.send_transform("grid", "lidar_top", (3.0, 0.0, 0.5))
    rig.send("/lidar_top", cloud(np.zeros((500, 4)), stamp_ns=NOW))
    rig.wait_for_fault("invalid sweep")
    assert "got none among 500 points" in rig.node.statistics.last_error
    points = np.vstack([np.zeros((500, 4)), [[0.05, 0, 0.04, 0], [1, 1, 1, 0]]])
    rig.send("/lidar_top", cloud(points, stamp_ns=NOW + S))
    assert len(rig.wait_for_occupancy(1).data) == 1
    np.testing.assert_allclose(rig.pipeline.frames[0].points, [[4, 1, 1.5, 0]])


def test_a_bug_in_the_pipeline_skips_the_frame(start):
    rig = start(VoxelPipeline(failures=[KeyError("bug")]))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_fault("internal")
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
    rig.wait(lambda: rig.dropped()["superseded"] == 2, "two sweeps to be dropped")
    rig.pipeline.gate.set()
    rig.wait_for_occupancy(2)
    assert [stamp_ns(message.header) for message in rig.occupancy] == [NOW, NOW + 3 * S]


def test_time_jumping_back_starts_over(start):
    rig = start()
    for i, stamp in enumerate((NOW + 100 * S, NOW + 101 * S, NOW)):
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=stamp))
        assert stamp_ns(rig.wait_for_occupancy(i + 1).header) == stamp


def test_waiting_ends_where_simulated_time_stands_still(start):
    rig = start(cameras=["cam_front"], use_sim_time=True)
    rig.send("/clock", Clock(clock=header_from(NOW, "").stamp))
    rig.wait(lambda: rig.node.get_clock().now().nanoseconds == NOW, "the clock")
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert rig.wait_for_occupancy(1).cameras == []


def test_diagnostics_tell_what_is_wrong(camera_rig):
    rig = camera_rig
    rig.wait(lambda: rig.diagnostics, "diagnostics")
    assert rig.status("inputs").level == DiagnosticStatus.ERROR and "/lidar_top" in rig.status("inputs").message
    said = values(rig.status("model"))
    assert said.pop("classes").split(", ")[:2] == ["barrier", "bicycle"]
    assert said == {"model": "voxel-test", "backend": "voxels", "fell_back": ""}
    rig.pipeline.failures.append(InvalidFrameError("too few points"))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait(lambda: rig.status("frames").level == DiagnosticStatus.ERROR, "an error state")
    assert "too few points" in values(rig.status("frames"))["last_error"]
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait(lambda: values(rig.status("frames"))["published"] == "1", "recovery")
    assert rig.status("frames").level == DiagnosticStatus.WARN, "the camera is still missing"
    assert rig.status("latency").level == DiagnosticStatus.OK and int(values(rig.status("memory"))["cpu_mb"]) > 10
    assert values(rig.status("frames"))["camera missing: cam_front"] == "2"
    assert "2 received" in values(rig.status("inputs"))["/lidar_top"]
    assert "/cam_front/camera_info" in rig.status("inputs").message


def test_latency_above_the_budget_is_reported(start):
    rig = start()
    rig.wait_for_status("latency", DiagnosticStatus.OK, "no frame yet")
    rig.node.statistics.add_published(600.0)
    rig.wait_for_status("latency", DiagnosticStatus.WARN, "600 ms, above the budget of 500 ms")
    assert rig.node.set_parameters([Parameter("latency_budget_ms", value=700.0)])[0].successful
    rig.wait_for_status("latency", DiagnosticStatus.OK, "within the budget")


def test_a_camera_with_a_message_of_another_kind_does_no_harm(camera_rig):
    header = header_from(NOW, "cam_front")
    send_camera(camera_rig, CompressedImage(header=header, format="h264", data=b"\x00\x01"))
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == []


def malformed(rng: np.random.Generator, message):
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
            setattr(message, name, value[: int(rng.integers(len(value) + 1))])
        elif name in ("k", "r", "p"):
            value[rng.integers(len(value))] = rng.choice([0.0, -1.0, np.nan, np.inf])
    return message


def test_malformed_messages_are_counted_and_survived(camera_rig):
    """Whatever comes, each sweep is published, dropped or counted as a fault, and the node goes on."""
    rng, sweeps = np.random.default_rng(0), 60
    for i in range(1, sweeps + 1):
        stamp = NOW + 100 * i * MS
        camera_rig.send("/cam_front/camera_info", malformed(rng, camera_info()))
        camera_rig.send("/cam_front/image_rect_compressed", malformed(rng, compressed(SCENE, stamp_ns=stamp)))
        camera_rig.send("/lidar_top", malformed(rng, cloud(POINTS, stamp_ns=stamp)))
        camera_rig.wait(lambda i=i: camera_rig.node._perception.tasks["inputs"]._lidar.received == i, "the sweep")

    def accounted() -> int:
        refused, published = camera_rig.faults().get("invalid sweep", 0), camera_rig.node.statistics.published
        return published + refused + sum(camera_rig.dropped().values())

    camera_rig.wait(lambda: accounted() == sweeps, "all sweeps to be accounted for")
    assert "internal" not in camera_rig.faults() and len(camera_rig.faults()) > 1
    send_camera(camera_rig, stamp=NOW + 100 * S)
    camera_rig.wait(lambda: "cam_front" in camera_rig.node._perception._calibrations, "the calibration")
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 100 * S))
    camera_rig.wait(lambda: stamp_ns(camera_rig.occupancy[-1].header) == NOW + 100 * S, "the good sweep")
    assert camera_rig.occupancy[-1].cameras == ["cam_front"]


def test_images_without_a_calibration_are_counted(camera_rig):
    def counted() -> bool:
        camera_rig.send("/cam_front/image_rect_compressed", compressed(SCENE, stamp_ns=NOW))
        return "image without calibration cam_front" in camera_rig.faults()

    camera_rig.wait(counted, "a count of images without a calibration")
    camera_rig.send("/cam_front/camera_info", camera_info())
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == ["cam_front"], "the newest images were kept"
    unused = values(camera_rig.wait_for_status("frames", DiagnosticStatus.OK))
    assert int(unused["image unused: duplicate"]) > 0


def test_transforms_that_are_none_are_ignored_and_counted(camera_rig):
    camera_rig.send_transform("lidar_top", "cam_front", turn=(0.0, 0.0, 0.0, 0.0))
    camera_rig.wait(
        lambda: camera_rig.diagnostics and values(camera_rig.status("transforms")).get("ignored") == "1",
        "a count of ignored transforms",
    )
    send_camera(camera_rig)
    camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    assert camera_rig.wait_for_occupancy(1).cameras == ["cam_front"], "the good transform still holds"


def wait_long(rig) -> None:
    """Sweeps wait for their image, however slow this machine is; changed while the node runs."""
    assert rig.node.set_parameters([Parameter("max_wait_s", value=10.0)])[0].successful


def test_sweeps_that_waited_for_one_image_are_all_answered(camera_rig):
    """A camera slower than the LiDAR costs no sweep, and is not taken for an overload."""
    wait_long(camera_rig)
    for i in range(2):
        camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 50 * i * MS))
    send_camera(camera_rig, stamp=NOW + 60 * MS)
    camera_rig.wait_for_occupancy(2)
    assert [(stamp_ns(message.header), list(message.cameras)) for message in camera_rig.occupancy] == [
        (NOW, ["cam_front"]),
        (NOW + 50 * MS, ["cam_front"]),
    ]
    assert camera_rig.wait_for_status("frames", DiagnosticStatus.OK) and not camera_rig.dropped()


def test_sweeps_dropped_by_pairing_are_not_taken_for_an_overload(camera_rig):
    wait_long(camera_rig)
    for i in range(4):
        camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 10 * i * MS))
    camera_rig.wait(lambda: camera_rig.node._perception.tasks["inputs"]._lidar.received == 4, "the sweeps")
    camera_rig.diagnostics.clear()
    send_camera(camera_rig, stamp=NOW + 40 * MS)
    camera_rig.wait_for_occupancy(2)
    assert camera_rig.dropped() == {"crowded": 2}
    camera_rig.wait(lambda: camera_rig.diagnostics, "what it says")
    assert "2 dropped because more than two waited for the same images" in camera_rig.status("frames").message


def test_the_tolerance_of_pairing_changes_while_the_node_runs(camera_rig):
    for count, (tolerance, cameras) in enumerate([(0.01, []), (0.1, ["cam_front"])], 1):
        assert camera_rig.node.set_parameters([Parameter("camera_tolerance_s", value=tolerance)])[0].successful
        send_camera(camera_rig, stamp=NOW + count * S + 50 * MS)
        camera_rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + count * S))
        assert camera_rig.wait_for_occupancy(count).cameras == cameras
