"""The node in this process: which earlier sweeps it tells a model of, where they lie, and what makes it forget them."""

from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import MS, NOW, Rig, VoxelPipeline, values
from helpers.ros_messages import cloud
from rclpy.lifecycle import TransitionCallbackReturn

from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.node.past_sweeps import OLDEST_S, PastSweeps
from occfusion_ros.ros.transforms.tree import TransformError

POST = np.array([4.0, 10.0, 0.5])  # metres, in the fixed frame
TOLD = {"past_sweeps": 3, "fixed_frame": "odom", "max_wait_s": 0.05}


def told_of(lags: bool = True) -> VoxelPipeline:
    """A pipeline of a model with lags, or of one without."""
    pipeline = VoxelPipeline()
    pipeline.contract = SimpleNamespace(**vars(pipeline.contract), preprocessing=Preprocessing(lags=lags))
    return pipeline


def drive(rig: Rig, steps: range, start: int = NOW, jump: float = 0.0, with_pose: bool = True) -> list[SensorFrame]:
    """Sweeps every 100 ms, half a metre apart along y, of a post and of the vehicle itself; the frames they became."""
    for i in steps:
        stamp, count = start + 100 * i * MS, len(rig.occupancy)
        if with_pose:
            rig.send_transform("odom", "lidar_top", (0.0, 0.5 * i + jump, 0.0), stamp_ns=stamp)
        points = np.array([[*(POST - (0, 0.5 * i + jump, 0)), 0.5], [0.7, 0.7, -0.5, 1.0]])
        rig.send("/lidar_top", cloud(points, stamp_ns=stamp))
        rig.wait_for_occupancy(count + 1)
    return rig.pipeline.frames[-len(steps) :]


def lags(frame: SensorFrame) -> list[float]:
    return [round(lag, 3) for lag in frame.past.lags.tolist()]


def test_what_stands_still_lies_where_it_is_now_and_the_vehicle_that_was_there_is_no_obstacle(start):
    rig = start(told_of(), **TOLD)
    frames = drive(rig, range(6))
    assert [lags(frame) for frame in frames] == [[], [0.1], [0.1, 0.2], *[[0.1, 0.2, 0.3]] * 3]
    for i, frame in enumerate(frames):
        assert np.allclose(frame.past.points[:, :3], POST - (0, 0.5 * i, 0), atol=1e-4)
        assert len(frame.points) == 2 and not rig.faults()
    state = rig.wait_for_status("past sweeps", DiagnosticStatus.OK, "3 sweeps")
    assert values(state) == {"seconds": "0.2", "resets": "0", "frames_without_pose": "0"}


def test_with_a_box_of_its_own_the_vehicle_is_left_out_by_the_box_alone(start):
    rig = start(told_of(), **TOLD, ego_box=[-0.5, 0.5, -0.5, 0.5, -1.0, 1.0])
    assert [len(frame.past.points) for frame in drive(rig, range(2))] == [0, 2]


def test_by_default_no_model_is_told_of_any(start):
    rig = start(told_of(), fixed_frame="odom", max_wait_s=0.05)
    assert not any(lags(frame) for frame in drive(rig, range(3)))
    assert rig.wait_for_status("past sweeps", DiagnosticStatus.OK).message == "off"


@pytest.mark.parametrize(
    "with_lags, parameters, reason",
    [
        (False, {}, "model voxel-test was not trained with earlier sweeps"),
        (True, {"fixed_frame": ""}, "past_sweeps needs fixed_frame"),
    ],
)
def test_where_it_cannot_be_told_of_them_that_is_said_and_frames_are_answered(start, with_lags, parameters, reason):
    rig = start(told_of(with_lags), **TOLD | parameters)
    assert not any(lags(frame) for frame in drive(rig, range(3)))
    assert reason in rig.wait_for_status("past sweeps", DiagnosticStatus.WARN).message and not rig.faults()


def test_a_frame_without_a_pose_is_answered_from_its_own_sweep_and_counted(start):
    rig = start(told_of(), **TOLD)
    drive(rig, range(2))
    (frame,) = drive(rig, range(2, 3), with_pose=False)
    assert not lags(frame) and rig.faults()["past sweeps transform"] == 1
    assert lags(drive(rig, range(3, 4))[0]) == [0.2, 0.3]  # those before are kept
    state = rig.wait_for_status("past sweeps", DiagnosticStatus.OK)
    assert values(state)["frames_without_pose"] == "1"


def test_a_pose_that_jumps_a_long_gap_and_time_that_goes_back_end_what_was_kept(start):
    rig = start(told_of(), **TOLD)
    drive(rig, range(3))
    jumped = drive(rig, range(3, 5), jump=50.0)
    assert [lags(frame) for frame in jumped] == [[], [0.1]]
    after = 5 + round(OLDEST_S * 10)
    assert [lags(frame) for frame in drive(rig, range(after, after + 2), jump=-0.5 * after + 52.5)] == [[], [0.1]]
    first, _, last = drive(rig, range(3), start=NOW - 3600 * 1000 * MS)  # the first pose is forgotten with the rest
    assert not lags(first) and lags(last)[0] == 0.1 and max(lags(last)) < 0.3
    state = rig.wait_for_status("past sweeps", DiagnosticStatus.OK, "sweeps")
    assert int(values(state)["resets"]) >= 2


def test_nothing_is_kept_from_one_activity_to_the_next(start):
    rig = start(told_of(), **TOLD)
    drive(rig, range(3))
    assert rig.node.trigger_deactivate() == rig.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert [lags(frame) for frame in drive(rig, range(3, 5))] == [[], [0.1]]


def test_sweeps_of_one_stamp_are_not_told_of_each_other():
    def pose(frame, parameters):
        if frame.stamp_ns == 7:
            raise TransformError("none")
        return np.eye(4)

    past = PastSweeps(told_of().contract, NodeParameters(**TOLD), pose, lambda *_: None)
    frame = SensorFrame(10**9, np.float32([[5, 5, 0, 1]]))
    assert [len(past(frame, None).past.points) for _ in range(2)] == [0, 0] and past.without_pose == 0
    past(SensorFrame(7, frame.points), None)
    assert past.without_pose == 1
    later = past(SensorFrame(10**9 + 10**8, frame.points), None)
    assert lags(later) == [0.1]  # once, though that sweep came twice
