"""What the returns tell of cameras whose pose or calibration cannot be."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.ros_messages import camera_info

from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.ros.conversions.camera_info import calibration_from_info
from occfusion_ros.ros.health import camera_geometry
from occfusion_ros.ros.health.camera_geometry import SURE, CameraGeometry, judge
from occfusion_ros.ros.health.diagnostics import OK, WARN

BODY_FROM_OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def street(seed: int = 0, ahead: bool = False) -> np.ndarray:
    """(4000, 3) returns of a road 1.84 m below a LiDAR and of walls beside it; `ahead`: the LiDAR sees 90 degrees."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi / 4, np.pi / 4, 4000) if ahead else rng.uniform(-np.pi, np.pi, 4000)
    reach = rng.uniform(4, 40, 4000)
    points = np.stack([reach * np.sin(angle), reach * np.cos(angle), rng.uniform(-1.84, 2, 4000)], 1)
    points[::2, 2] = -1.84
    return points


def camera(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, name: str = "cam") -> CameraImage:
    """Looks along y, turned left by yaw, up by pitch and about its axis by roll, degrees; 65 degrees wide."""

    def about(axis: int, degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = [k for k in range(3) if k != axis]
        matrix = np.eye(3)
        matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
        return matrix

    level = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    pose = np.eye(4)
    pose[:3, :3] = about(2, roll) @ about(0, -pitch) @ level @ about(2, -yaw)
    pose[:3, 3] = pose[:3, :3] @ -np.array([0.3, 0.5, -0.3])
    intrinsics = np.array([[1260.0, 0, 800], [0, 1260, 450], [0, 0, 1]])
    return CameraImage(name, np.zeros((900, 1600, 3), np.uint8), intrinsics, pose)


def posed(source: CameraImage, pose: np.ndarray) -> CameraImage:
    return replace(source, camera_from_grid=pose)


YAWS = (0, 55, 110, 180, -110, -55)


@pytest.mark.parametrize("yaw", YAWS)
@pytest.mark.parametrize("pitch, roll", [(0, 0), (-15, 0), (20, 0), (-60, 0), (0, 8), (0, 90), (0, -90), (0, 180)])
@pytest.mark.parametrize("ahead", [False, True], ids=["around", "ahead"])
def test_what_can_be_is_not_doubted(yaw, pitch, roll, ahead):
    """A camera on its side or head that looks back is what an inverted transform gives, too."""
    one = camera(yaw, pitch, roll, "one")
    complaint = judge(one, street(ahead=ahead)).complaint
    if not ahead or abs(roll) != 90:  # beside a LiDAR that looks ahead, an upright image is all there is to go by
        assert complaint in ("", camera_geometry._INVERTED) and (abs(yaw) == 180 or roll == 0 or not complaint)


def test_the_share_of_the_returns_is_that_of_the_angle():
    view = judge(camera(), street())
    assert view.ahead == pytest.approx(65 / 360, abs=0.03) and 0.5 * view.ahead < view.seen < view.ahead


@pytest.mark.parametrize("yaw", YAWS)
def test_a_body_frame_is_recognized(yaw):
    good = camera(yaw)
    view = judge(posed(good, BODY_FROM_OPTICAL @ good.camera_from_grid), street())
    assert "body frame" in view.complaint and view.certain and view.seen < 0.01


def test_a_frame_of_the_vehicle_is_a_body_frame():
    assert "body frame" in judge(posed(camera(), np.eye(4)), street()).complaint


@pytest.mark.parametrize("yaw", sorted(set(YAWS) - {180}))  # looking straight back, the rotation is its own inverse
def test_an_inverted_transform_is_recognized(yaw):
    good = camera(yaw)
    assert "inverted" in judge(posed(good, np.linalg.inv(good.camera_from_grid)), street()).complaint


@pytest.mark.parametrize("shift", [(600.0, 1500, 0), (0, 0, 90)])
def test_a_transform_of_another_place_is_recognized(shift):
    pose = camera().camera_from_grid.copy()
    pose[:3, 3] += shift
    assert "place of something else" in judge(posed(camera(), pose), street()).complaint


@pytest.mark.parametrize("pitch, words", [(40, "into the sky"), (-85, "straight down"), (25, "in its direction")])
def test_where_a_camera_looks_in_vain_is_said_once_that_is_sure(pitch, words):
    view = judge(camera(pitch=pitch), street() * (1, 1, 0.3) - (0, 0, 1.2))
    assert words in view.complaint and not view.certain


@pytest.mark.parametrize("place", [(1600.0, 900), (-20, 450), (800, 1500)])
def test_a_calibration_of_another_size_is_recognized(place):
    other = camera()
    other.intrinsics[:2, 2] = place
    assert "another image size" in judge(other, street()).complaint


def frame(*cameras: CameraImage, points: np.ndarray | None = None) -> SensorFrame:
    points = street() if points is None else points
    return SensorFrame(1, np.c_[points, np.zeros(len(points))].astype(np.float32), cameras)


@pytest.fixture
def each_frame(monkeypatch):
    monkeypatch.setattr(camera_geometry, "PERIOD_S", 0.0)


def test_a_complaint_is_reported_with_the_cameras_and_their_shares_and_said_once(each_frame):
    said = []
    task = CameraGeometry({}, said.append)
    good = camera(name="good")
    bad = [
        replace(posed(camera(yaw), BODY_FROM_OPTICAL @ camera(yaw).camera_from_grid), name=f"bad_{yaw}")
        for yaw in (0, 180)
    ]
    assert task().level == OK
    for _ in range(3):
        task.observe(frame(good, *bad))
        state = task()
    assert state.level == WARN and len(said) == 1 and said[0] == state.message
    assert "bad_0 (0.0% of the returns), bad_180 (0.0%" in state.message and "good" not in state.message
    assert "of the returns" in state.values["good"]
    task.observe(frame(good, camera(name="bad_0"), camera(name="bad_180")))
    assert task().level == OK


def test_few_returns_are_doubted_after_many_frames_in_a_row_only(each_frame):
    said = []
    task = CameraGeometry({}, said.append)
    flat = street() * (1, 1, 0.3) - (0, 0, 1.2)
    for _ in range(SURE - 1):
        task.observe(frame(camera(pitch=40), points=flat))
        assert task().level == OK
    task.observe(frame(camera(pitch=40), points=flat))
    assert task().level == WARN and len(said) == 1


def test_a_doubted_calibration_is_reported_and_said_once():
    said = []
    info = camera_info(1600, 900, 1260.0, d=[-0.35, 0.12, 0.001, -0.0005, 0.0])
    task = CameraGeometry({"cam": calibration_from_info(info, "auto", "/cam/image_rect")}, said.append)
    assert task().level == task().level == WARN and len(said) == 1 and "P equals K" in said[0]
    assert task().values["cam"].startswith("1600 x 900, rectified already")


def test_one_camera_on_its_head_is_believed_and_a_whole_rig_is_not(each_frame):
    task = CameraGeometry({}, lambda text: None)
    on_its_head = camera(180, 0, 180, "head")
    task.observe(frame(on_its_head, camera(name="front"), camera(55, name="left")))
    assert task().level == OK
    task.observe(
        frame(
            *(
                replace(posed(one, np.linalg.inv(one.camera_from_grid)), name=f"cam_{yaw}")
                for yaw in YAWS
                for one in [camera(yaw)]
            )
        )
    )
    assert task().level == WARN and "inverted" in task().message


def test_an_empty_sweep_tells_nothing(each_frame):
    task = CameraGeometry({}, pytest.fail)
    task.observe(frame(camera(), points=np.zeros((0, 3))))
    task.observe(frame(camera(), points=np.array([[5.0, 5, 0]])))
    assert task().level == OK
