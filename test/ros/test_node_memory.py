"""The node in this process: what it remembers, what it does not know, and what makes it forget."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import LATCHED, MS, NOW, Rig, S, values
from helpers.ros_messages import cloud
from helpers.voxel_world import VoxelWorld, pose
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.memory.memory import MEMORIES, UNKNOWN_FORMS
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.node import frame_memory
from occfusion_ros.ros.node.frame_memory import prepare_memory
from occfusion_ros.ros.node.parameters import NodeParameters, ParameterError

ROOM = VoxelWorld.room()
SHORT = {"memory": "short", "fixed_frame": "odom", "max_wait_s": 0.05}


def drive(rig: Rig, steps: range, start: int = NOW, with_pose: bool = True) -> list[np.ndarray]:
    """Sweeps every 100 ms, half a metre apart; the labels that are answered."""
    answers = []
    for i in steps:
        stamp, count = start + 100 * i * MS, len(rig.occupancy)
        if with_pose:
            rig.send_transform("odom", "lidar_top", (0.5 * i, 0.0, 0.0), stamp_ns=stamp)
        rig.send("/lidar_top", cloud(ROOM.sweep(pose(0.5 * i)), stamp_ns=stamp))
        answers.append(grid_from_message(rig.wait_for_occupancy(count + 1)).labels)
    return answers


def occupied(labels: np.ndarray) -> int:
    return np.count_nonzero((labels > 0) & (labels < IGNORE))


@pytest.fixture(scope="module")
def alone(ros) -> list[np.ndarray]:
    """What is answered without a memory."""
    rig = Rig(max_wait_s=0.05)
    answers = drive(rig, range(6))
    rig.close()
    return answers


def test_parameters_name_what_there_is():
    for name, forms in (("memory", ("none", *MEMORIES)), ("unknown", UNKNOWN_FORMS)):
        for form in forms:
            NodeParameters(**{name: form})
        with pytest.raises(ParameterError, match=", ".join(forms)):
            NodeParameters(**{name: "elephant"})


def test_a_memory_on_a_gpu_that_is_not_there_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(frame_memory, "usable_gpu", lambda: False)
    prepare_memory(NodeParameters(memory_device="cuda"))  # there is no memory
    with pytest.raises(OccFusionError, match="memory_device: expected a GPU"):
        prepare_memory(NodeParameters(memory="short", fixed_frame="odom", memory_device="cuda"))


def test_the_memory_fills_what_one_sweep_does_not_see(start, alone):
    rig = start(**SHORT)
    answers = drive(rig, range(6))
    times = rig.listen(Float64, "/occfusion/debug/processing_time_ms/memory", LATCHED)
    rig.wait(lambda: times, "the time of the memory")
    np.testing.assert_array_equal(answers[0], alone[0])
    assert occupied(answers[-1]) > 1.2 * occupied(alone[-1])
    assert not (answers[-1] == IGNORE).any() and not rig.faults()
    assert len(grid_from_message(rig.occupancy[0]).remembered) == 0 and not rig.occupancy[-1].unknown_runs
    remembered = grid_from_message(rig.occupancy[-1]).remembered
    assert occupied(alone[-1]) < occupied(alone[-1]) + len(remembered) <= 1.01 * occupied(answers[-1])
    assert not alone[-1].reshape(-1)[remembered].any()
    state = rig.wait_for_status("remembered", DiagnosticStatus.OK, "6 frames")
    assert values(state) | {"mb": ""} == {
        "mode": "short",
        "frames": "6",
        "seconds": "0.5",
        "mb": "",
        "resets": "0",
        "last_reset": "",
        "frames_without_pose": "0",
    }
    assert times[-1].data > 0


def test_without_a_memory_nothing_is_added_and_nothing_said(start, alone):
    rig = start(max_wait_s=0.05)
    assert rig.wait_for_status("remembered", DiagnosticStatus.OK).message == "off"
    assert not rig.node.count_publishers("/occfusion/debug/processing_time_ms/memory")
    assert rig.node._perception._memory._memory is None


def test_without_fixed_frame_single_frames_are_answered_and_it_is_said(start, alone):
    rig = start(memory="long", max_wait_s=0.05)
    assert all((got == expected).all() for got, expected in zip(drive(rig, range(2)), alone))
    assert "no memory without fixed_frame" in rig.wait_for_status("remembered", DiagnosticStatus.WARN).message
    assert not rig.faults()


def test_unknown_is_what_no_ray_has_reached_and_a_memory_knows_of_more_rays(start, alone):
    known = {}
    for memory in ("none", "short"):
        rig = start(**SHORT | {"memory": memory}, unknown="occluded")
        hulls = rig.listen(PointCloud2, "/occfusion/unknown")
        answers = drive(rig, range(3))
        rig.wait(lambda hulls=hulls: len(hulls) == 3, "the hull of each sweep's unknown space")
        assert 20 < hulls[-1].width < 16 * 16 * 4 and len(rig.occupancy[-1].unknown_runs) > 100
        known[memory] = [(labels != IGNORE).mean() for labels in answers]
        assert not any((labels[single > 0] == IGNORE).any() for labels, single in zip(answers, alone))
        rig.node.trigger_deactivate()  # the next one has the same name
    assert all(0.05 < share < 0.95 for share in known["none"])
    assert known["short"][2] > 1.3 * known["none"][2]


def test_a_frame_without_a_pose_is_answered_on_its_own_and_what_was_remembered_is_kept(start, alone):
    rig = start(**SHORT, unknown="occluded")
    before = drive(rig, range(3))
    (lost,) = drive(rig, range(3, 4), with_pose=False)
    np.testing.assert_array_equal(np.where(lost == IGNORE, 0, lost), alone[3])
    assert (lost == IGNORE).any() and rig.faults() == {"memory transform": 1}
    (after,) = drive(rig, range(4, 5))
    assert occupied(after) > 1.2 * occupied(alone[4]) and (after == IGNORE).sum() < (before[0] == IGNORE).sum()
    assert "1 x memory transform" in rig.wait_for_status("frames", DiagnosticStatus.WARN).message
    state = values(rig.wait_for_status("remembered", DiagnosticStatus.OK, "4 frames"))
    assert (state["frames_without_pose"], state["resets"]) == ("1", "0")


def test_time_that_jumps_back_and_poses_that_jump_make_it_forget(start, alone):
    rig = start(**SHORT)
    drive(rig, range(4))
    again = NOW - 60 * S
    np.testing.assert_array_equal(drive(rig, range(1), again)[0], alone[0])  # whose pose is forgotten with the jump
    np.testing.assert_array_equal(drive(rig, range(1, 2), again)[0], alone[1])
    state = values(rig.wait_for_status("remembered", DiagnosticStatus.OK, "1 frames"))
    assert (state["resets"], state["last_reset"]) == ("1", "time was set back")
    rig.send_transform("odom", "lidar_top", (100.0, 0.0, 0.0), stamp_ns=again + 200 * MS)
    rig.send("/lidar_top", cloud(ROOM.sweep(pose(1.0)), stamp_ns=again + 200 * MS))
    rig.wait_for_occupancy(7)
    state = values(rig.wait_for_status("remembered", DiagnosticStatus.OK, "1 frames"))
    assert state["resets"] == "2" and "jumped by 99.5 m" in state["last_reset"]


def test_deactivating_frees_it_and_activating_begins_anew(start, alone):
    rig = start(**SHORT)
    drive(rig, range(3))
    rig.node.trigger_deactivate()
    assert rig.node._perception is None
    rig.node.trigger_activate()
    np.testing.assert_array_equal(drive(rig, range(3, 4))[0], alone[3])
    assert rig.wait_for_status("remembered", DiagnosticStatus.OK, "1 frames")


def call(rig: Rig, name: str) -> tuple[bool, str]:
    client = rig.vehicle.create_client(Trigger, f"/occfusion/{name}")
    rig.wait(client.service_is_ready, name)
    future = client.call_async(Trigger.Request())
    rig.wait(future.done, f"the answer of {name}")
    return future.result().success, future.result().message


def test_a_map_is_saved_and_taken_over(start, alone, tmp_path):
    """A node that begins behind the place of the first one knows at once what that had seen."""
    path = tmp_path / "maps" / "room.npz"
    rig = start(**SHORT | {"memory": "long"}, memory_file=str(path))
    assert call(rig, "save_memory") == (False, "memory: nothing is remembered yet, so no map was written")
    last = drive(rig, range(6))[-1]
    done, text = call(rig, "save_memory")
    assert (
        done
        and text.startswith(f"memory saved to {path}, 0.")
        and [p.name for p in path.parent.iterdir()] == ["room.npz"]
    )
    assert call(rig, "reset_memory") == (True, "memory reset")
    assert values(rig.wait_for_status("remembered", DiagnosticStatus.OK, "empty"))["last_reset"] == "asked for"
    rig.node.trigger_deactivate()
    rig.node.trigger_activate()
    assert call(rig, "load_memory") == (True, f"memory loaded from {path}")
    (first,) = drive(rig, range(5, 6), start=NOW + S)
    assert ((first > 0) != (last > 0)).mean() < 0.001 and occupied(first) > 1.2 * occupied(alone[5])
    assert rig.wait_for_status("remembered", DiagnosticStatus.OK, "7 frames")


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({"memory": "none"}, "reset_memory", "memory: it is off"),
        ({"fixed_frame": ""}, "save_memory", "no memory without fixed_frame"),
        ({"memory_file": ""}, "load_memory", "memory_file names no file"),
        ({"memory_file": "map.pickle"}, "load_memory", "ends in .npz, got"),
        ({"memory_file": "~/there/is/none.npz"}, "load_memory", "there is no file"),
        ({"memory_file": "/proc/occfusion.npz"}, "save_memory", "cannot write /proc/occfusion.npz"),
    ],
)
def test_what_cannot_be_saved_or_loaded_is_told(start, changes, name, why):
    rig = start(**SHORT | {"memory_file": "map.npz"} | changes)
    drive(rig, range(1))
    done, text = call(rig, name)
    assert not done and why in text and not rig.faults()
    assert len(drive(rig, range(1, 2))) == 1, "and the node goes on"


def test_what_moves_may_be_remembered_while_the_node_runs_and_the_rest_not(start):
    rig = start(**SHORT)
    (result,) = rig.node.set_parameters([Parameter("movable_memory_s", value=2.0)])
    assert result.successful
    drive(rig, range(1))
    assert rig.node._perception._memory._memory.settings.movable_s == 2.0
    for name, value in (("memory", "none"), ("memory_range_m", 60.0), ("unknown", "occluded")):
        assert not rig.node.set_parameters([Parameter(name, value=value)])[0].successful
