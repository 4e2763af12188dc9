"""Faults of the vehicle and of the backend while the node runs: what it reports, and that it recovers."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rig import NOW, OPTICAL, POINTS, SCENE, Rig, S, VoxelPipeline, values
from ros_messages import camera_info, cloud, compressed
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2

from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.ros.headers import header_from, stamp_ns

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
CAMERAS = ("left", "front", "right")


class Drive:
    """A vehicle with three cameras that sends frame after frame, 0.2 s apart, but not what is lost."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.stamp = rig, NOW
        for camera in CAMERAS:
            rig.send_transform("lidar_top", camera, turn=OPTICAL)

    def send(self, without: tuple[str, ...] = (), seconds: float = 0.2) -> None:
        """Send one frame, `seconds` after the last."""
        self.stamp += round(seconds * S)
        if self.rig.node.get_parameter("use_sim_time").value:
            self.rig.send("/clock", Clock(clock=header_from(self.stamp, "").stamp))
            self.rig.wait(lambda: self.rig.node.get_clock().now().nanoseconds == self.stamp, "the clock")
        if "transform" not in without:
            self.rig.send_transform("map", "lidar_top", stamp_ns=self.stamp)
        for camera in set(CAMERAS) - set(without):
            self.rig.send(f"/{camera}/camera_info", camera_info())
            self.rig.send(f"/{camera}/image_rect_compressed", compressed(SCENE, stamp_ns=self.stamp, frame_id=camera))
        if "lidar" not in without:
            self.rig.send("/lidar_top", cloud(POINTS, stamp_ns=self.stamp))

    def go(self, without: tuple[str, ...] = (), seconds: float = 0.2) -> set[str]:
        """Send one frame; the cameras that its answer names."""
        answers = len(self.rig.occupancy)
        self.send(without, seconds)
        message = self.rig.wait_for_occupancy(answers + 1)
        assert stamp_ns(message.header) == self.stamp
        return set(message.cameras)

    def until(self, task: str, level: bytes, text: str = "", without: tuple[str, ...] = ()) -> DiagnosticStatus:
        """Send frames until a task reports this."""
        self.rig.diagnostics.clear()

        def reported() -> bool:
            seen = len(self.rig.diagnostics)
            self.send(without)
            self.rig.wait(lambda: len(self.rig.diagnostics) > seen, "a report")
            return self.rig.status(task).level == level and text in self.rig.status(task).message
        self.rig.wait(reported, f"{task}: {level} {text!r}")
        return self.rig.status(task)


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
    state = rig.wait_for_status("frames", WARN, "2 dropped because newer ones were there")
    assert values(state)["dropped: superseded"] == "2"


def test_a_publisher_that_offers_too_little_is_reported(start):
    rig = start(lidar_reliability="reliable")
    publisher = rig.vehicle.create_publisher(
        PointCloud2, "/lidar_top", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
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


FAILURES = pytest.mark.parametrize(("hanging", "text"), [(False, "engine failed"),
                                                         (True, "hangs: no answer within 0.2 s")])


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
