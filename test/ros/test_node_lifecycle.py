"""The lifecycle: what each state does, what a failed transition says, and that the node stays usable."""

import shutil
import threading
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import NOW, POINTS, Rig, S, VoxelPipeline
from helpers.ros_messages import cloud
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from occfusion_ros.core.errors import BackendError
from occfusion_ros.core.shipped import shipped
from occfusion_ros.ros.bringup import processes

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def call(rig: Rig, kind: type, service: str, request):
    """What a service of the node answers."""
    client = rig.vehicle.create_client(kind, f"/occfusion/{service}")
    rig.wait(client.service_is_ready, service)
    future = client.call_async(request)
    rig.wait(future.done, f"the answer of {service}")
    return future.result()


def change(rig: Rig, transition: int) -> str:
    """Ask for a transition as a lifecycle manager does; the label of the state that it ends in."""
    call(rig, ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition)))
    return call(rig, GetState, "get_state", GetState.Request()).current_state.label


def backend_threads() -> int:
    return sum(thread.name == "backend" and thread.is_alive() for thread in threading.enumerate())


def test_a_manager_takes_it_through_all_states(start):
    rig = start(autostart=False)
    rig.wait_for_status("state", DiagnosticStatus.WARN, "unconfigured")
    assert change(rig, Transition.TRANSITION_CONFIGURE) == "inactive"
    assert not rig.vehicle.count_subscribers("/lidar_top")
    rig.wait_for_status("state", DiagnosticStatus.WARN, "inactive")
    for stamp in (NOW, NOW + S):
        assert change(rig, Transition.TRANSITION_ACTIVATE) == "active"
        rig.wait_for_status("state", DiagnosticStatus.OK, "active")
        rig.listen_to_occupancy()
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=stamp))
        rig.wait_for_occupancy(1)
        assert change(rig, Transition.TRANSITION_DEACTIVATE) == "inactive"
        rig.wait(lambda: not rig.vehicle.count_subscribers("/lidar_top"), "the subscription to end")
    assert change(rig, Transition.TRANSITION_CLEANUP) == "unconfigured"
    assert change(rig, Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) == "finalized"


def test_deactivating_frees_the_model(start):
    before = backend_threads()
    rig = start()
    assert backend_threads() == before + 1
    assert rig.node.trigger_deactivate() == SUCCESS and rig.node._pipeline is None
    assert backend_threads() == before


def test_a_failed_configuration_says_why_and_can_be_mended(start):
    rig = start(autostart=False, cameras=["left"], image_topics=["/a", "/b"])
    assert rig.node.trigger_configure() == FAILURE
    rig.wait_for_status("state", DiagnosticStatus.ERROR, "cannot be configured: image_topics: expected one pattern")
    assert rig.node.set_parameters([Parameter("image_topics", value=["/a"])])[0].successful
    assert rig.node.trigger_configure() == SUCCESS and rig.node.trigger_activate() == SUCCESS
    rig.wait_for_status("state", DiagnosticStatus.OK, "active")


def test_a_topic_that_is_none_says_so(start):
    rig = start(autostart=False, lidar_topic="/not a topic")
    assert rig.node.trigger_configure() == SUCCESS and rig.node.trigger_activate() == FAILURE
    assert rig.node.failure.startswith("cannot be activated: Invalid topic name") and "\n" not in rig.node.failure
    assert rig.node.trigger_cleanup() == SUCCESS
    rig.node.set_parameters([Parameter("lidar_topic", value="/lidar_top")])
    rig.start()


def test_parameters_change_when_their_state_allows_it(start):
    rig = start()
    refused = rig.node.set_parameters_atomically([Parameter("dense", value=True), Parameter("model", value="other")])
    assert not refused.successful and "model can only change while the node is unconfigured" in refused.reason
    assert not rig.node.get_parameter("dense").value, "all or nothing"
    assert not rig.node.set_parameters([Parameter("autostart", value=False)])[0].successful
    rig.node.trigger_deactivate()
    rig.node.trigger_cleanup()
    assert not rig.node.set_parameters([Parameter("precision", value="fp64")])[0].successful
    assert rig.node.set_parameters([Parameter("precision", value="fp32")])[0].successful


def test_a_model_that_is_removed_is_missed_and_found_again(start, small_artifact, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(small_artifact, model)
    rig = start(model=str(model), real=True)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    assert rig.node.trigger_deactivate() == SUCCESS
    model.rename(tmp_path / "elsewhere")
    assert rig.node.trigger_activate() == FAILURE
    state = rig.wait_for_status("state", DiagnosticStatus.ERROR, "cannot be activated")
    assert str(model) in state.message
    (tmp_path / "elsewhere").rename(model)
    assert rig.node.trigger_activate() == SUCCESS
    rig.wait_for_status("state", DiagnosticStatus.OK, "active")


def test_the_file_for_nav2_names_this_node():
    with open(shipped("config/nav2_lifecycle_manager.yaml")) as file:
        values = yaml.safe_load(file)["/**"]["ros__parameters"]
    assert values == {"node_names": ["occfusion"], "autostart": True, "bond_timeout": 0.0}


@pytest.mark.parametrize(
    "where, text",
    [
        ("load", "cannot be configured: loading the model hangs: not done within"),
        ("warm up", "cannot be activated: backend voxels hangs: no answer within"),
    ],
)
def test_a_model_that_hangs_is_given_up_and_the_node_stays_usable(start, where, text):
    rig, gate, before = start(autostart=False, load_timeout_s=0.2), threading.Event(), backend_threads()

    def hang_here(place: str) -> None:
        if place == where:
            assert gate.wait(30)

    class Slow(VoxelPipeline):
        def __call__(self, frame):
            hang_here("warm up")
            return super().__call__(frame)

    def load(_):
        hang_here("load")
        return Slow()

    rig.node._load = load
    assert not rig.node.start() and text in rig.node.failure
    rig.wait_for_status("state", DiagnosticStatus.ERROR, text)
    gate.set()
    rig.wait(lambda: backend_threads() == before, "the thread that hung to end")
    if where == "warm up":
        assert rig.node.trigger_cleanup() == SUCCESS
    assert rig.node.start(), rig.node.failure


@pytest.mark.parametrize("autostart", ["true", "false"])
def test_the_launch_argument_reaches_the_node(autostart):
    (node,) = processes.bringup({"autostart": autostart}).processes
    assert node.parameters[-1]["autostart"] is (autostart == "true") and Path(node.parameters[0]).is_file()


def test_deactivating_does_not_wait_for_another_backend_that_loads(start):
    rig, loading, gate = start(), threading.Event(), threading.Event()

    def load_other(_):
        loading.set()
        assert gate.wait(30)
        return VoxelPipeline()

    rig.node._perception._load_other = load_other
    rig.pipeline.failures.append(BackendError("lost the device"))
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait(loading.is_set, "another backend to be loaded")
    assert rig.node.trigger_deactivate() == SUCCESS and not gate.is_set() and not rig.node.failure
    gate.set()
    assert rig.node.trigger_activate() == SUCCESS


def test_state_and_diagnostics_answer_while_a_model_loads(start):
    rig, gate, seen = start(autostart=False), threading.Event(), []
    client = rig.vehicle.create_client(GetState, "/occfusion/get_state")
    rig.wait(client.service_is_ready, "get_state")

    def load(_):
        assert gate.wait(30)
        return VoxelPipeline()

    def listen():
        executor = SingleThreadedExecutor()
        executor.add_node(rig.vehicle)
        rig.diagnostics.clear()
        future = client.call_async(GetState.Request())
        while not (
            future.done()
            and any("loading the model" in status.message for message in rig.diagnostics for status in message.status)
        ):
            executor.spin_once(timeout_sec=0.1)
        seen.append(future.result().current_state.label)
        gate.set()

    rig.node._load = load
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    assert rig.node.trigger_configure() == SUCCESS, rig.node.failure
    assert seen == ["configuring"]
