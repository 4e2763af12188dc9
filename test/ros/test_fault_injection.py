"""Faults of the vehicle and of the backend while the node runs: what it reports, and that it recovers."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.drive import CAMERAS, Drive
from helpers.rig import NOW, POINTS, Rig, S, VoxelPipeline, values
from helpers.ros_messages import camera_info, cloud
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2

from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.ros.conversions.stamps import stamp_ns

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture
def drive(start) -> Drive:
    return Drive(start(cameras=list(CAMERAS)))


@pytest.mark.parametrize("camera", CAMERAS)
def test_camera_lost_and_back(drive, camera):
    assert drive.go() == set(CAMERAS)
    assert drive.go(without=(camera,)) == set(CAMERAS) - {camera}
    state = drive.until("inputs", WARN, f"/{camera}/image_rect_compressed", without=(camera,))
    assert not [other for other in CAMERAS if other != camera and f"/{other}/" in state.message]
    assert f"camera missing: {camera}" in values(drive.rig.status("frames"))
    assert drive.go() == set(CAMERAS)
    drive.until("inputs", OK)
    drive.until("frames", OK)


def test_lidar_lost_and_back(drive):
    drive.go()
    assert "silent: /lidar_top" in drive.until("inputs", ERROR, without=("lidar",)).message
    answers = len(drive.rig.occupancy)
    drive.until("inputs", OK)
    assert len(drive.rig.occupancy) > answers


def test_a_topic_that_nobody_publishes_is_told_from_a_silent_one(start):
    rig = start(cameras=["cam_front"], image_topics=["/cam_frnot/image_rect_compressed"])
    rig.send("/cam_front/camera_info", camera_info())
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    state = rig.wait_for_status("inputs", WARN, "nobody publishes /cam_frnot/image_rect_compressed: start its driver")
    assert "silent: /lidar_top" in state.message or "silent" not in state.message


def test_transforms_lost_and_back(start):
    drive = Drive(start(cameras=list(CAMERAS), fixed_frame="map", max_wait_s=0.05))
    assert drive.go() == set(CAMERAS)
    assert drive.go(without=("transform",)) == set(), "no camera is placed with a stale transform"
    state = drive.until("transforms", ERROR, "lookups refused", without=("transform",))
    assert "map" in state.message
    drive.until("transforms", OK)
    assert drive.go() == set(CAMERAS)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
@pytest.mark.parametrize("simulated", [False, True])
def test_clock_jumps(start, seconds, simulated):
    drive = Drive(start(cameras=list(CAMERAS), use_sim_time=simulated))
    assert drive.go() == drive.go() == set(CAMERAS)
    assert drive.go(seconds=seconds) == set(CAMERAS)
    if simulated:
        drive.until("inputs", OK)
    assert not drive.rig.faults()


def test_overload_says_so(start):
    rig = start(VoxelPipeline())
    rig.pipeline.gate.clear()
    for i in range(4):
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + i * S))
        rig.wait(lambda: rig.pipeline.frames, "the worker to be busy")
    rig.wait(lambda: rig.dropped()["superseded"] == 2, "two sweeps to be dropped")
    rig.pipeline.gate.set()
    state = rig.wait_for_status("frames", OK, "2 superseded by newer ones: more come than can be computed")
    assert values(state)["dropped: superseded"] == "2"


def test_a_publisher_that_offers_too_little_is_reported(start):
    rig = start(lidar_reliability="reliable")
    publisher = rig.vehicle.create_publisher(
        PointCloud2, "/lidar_top", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    rig.wait_for_status("inputs", ERROR, "/lidar_top: a publisher's quality of service does not match (reliability)")
    rig.vehicle.destroy_publisher(publisher)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_status("inputs", OK)


def start_with(start, spare: VoxelPipeline | Exception, **parameters) -> Rig:
    """A rig whose node finds `spare` when it falls back."""
    rig = start(autostart=False, **parameters)

    def load(settings):
        if settings.backend == "auto":
            return rig.pipeline
        if isinstance(spare, Exception):
            raise spare
        spare.backend_name = settings.backend
        return spare

    rig.node._load = load
    rig.start()
    return rig


def fail(rig: Rig, hanging: bool) -> None:
    """Let the backend fail with the next sweep."""
    if hanging:
        rig.pipeline.gate.clear()
    else:
        rig.pipeline.failures.append(BackendError("engine failed"))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))


FAILURES = pytest.mark.parametrize(
    ("hanging", "text"), [(False, "engine failed"), (True, "hangs: no answer within 0.2 s")]
)


@FAILURES
def test_another_backend_takes_over_once(start, hanging, text):
    spare = VoxelPipeline()
    rig = start_with(start, spare, backend_timeout_s=0.2)
    fail(rig, hanging)
    state = rig.wait_for_status("model", WARN, "fell back to ")
    assert values(state)["backend"] == spare.backend_name != "voxels"
    assert text in values(state)["fell_back"] and rig.faults() == {"backend": 1}
    rig.pipeline.gate.set()  # too late: nobody waits for this answer
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    assert stamp_ns(rig.wait_for_occupancy(1).header) == NOW + S
    spare.failures.append(BackendError("the other one failed too"))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 2 * S))
    rig.wait_for_status("state", ERROR, "stopped: the other one failed too; to try again: ros2 lifecycle set")
    assert rig.node.trigger_activate().name == "SUCCESS"
    rig.wait_for_status("state", OK, "active")


@FAILURES
def test_it_stops_where_that_is_wanted(start, hanging, text):
    rig = start_with(start, AssertionError("not asked for"), backend_timeout_s=0.2, on_backend_failure="stop")
    fail(rig, hanging)
    state = rig.wait_for_status("state", ERROR, "stopped: ")
    assert text in state.message and values(state) == {"state": "inactive"}
    assert not rig.occupancy and not rig.vehicle.count_subscribers("/lidar_top")
    rig.pipeline.gate.set()
    assert rig.node.trigger_activate().name == "SUCCESS"
    rig.wait_for_status("state", OK, "active")


def test_it_stops_where_no_other_backend_can_be_loaded(start):
    rig = start_with(start, ContractError("model/contract.yaml: no such file"))
    fail(rig, hanging=False)
    state = rig.wait_for_status("state", ERROR, "engine failed; no other backend than voxels runs here")
    assert "no such file" in state.message
