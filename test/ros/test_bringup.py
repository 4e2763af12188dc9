"""The table of processes, and that the launch file and the supervisor both start what it says."""

import ast
import logging.handlers
import math
import sys
from pathlib import Path

import pytest
import yaml

from occfusion_ros.ros import bringup as table
from occfusion_ros.ros.bringup import ARGUMENTS, bringup
from occfusion_ros.ros.dds import PROFILE_VARIABLES
from occfusion_ros.ros.supervisor import command

REPOSITORY = Path(__file__).resolve().parents[2]


def process(name: str, **values: str):
    """The process of that name in the bring-up for the given values."""
    return next(p for p in bringup(values).processes if p.name == name)


def names(**values: str) -> list[str]:
    return [p.name for p in bringup(values).processes]


def test_the_node_alone_is_started_by_default():
    node = process("occfusion")
    assert names() == ["occfusion"]
    assert node.required and Path(node.parameters[0]).name == "occfusion.yaml"
    assert node.parameters[1] == {"use_sim_time": False}


def test_each_argument_adds_what_it_says():
    assert names(bag="b") == ["occfusion", "play_bag"]
    assert names(rviz="true", snapshots="out") == ["occfusion", "snapshot", "rviz"]
    assert len(names(grid_frame="grid", grid_in_base="0 0 1.84 0")) == 2


def test_the_parameter_file_comes_first_then_only_what_was_set(tmp_path):
    node = process("occfusion", params_file="mine.yaml", model="nano", use_sim_time="true")
    assert node.parameters == ("mine.yaml", {"model": "nano", "use_sim_time": True})


def test_a_bag_brings_simulated_time_unless_told_otherwise():
    assert process("occfusion", bag="b").parameters[1]["use_sim_time"] is True
    assert process("occfusion", bag="b", use_sim_time="false").parameters[1]["use_sim_time"] is False
    assert process("play_bag", bag="b", rate="0.5", loop="true").arguments == ("b", "--rate", "0.5", "--loop")


def test_every_argument_is_described_and_changes_something():
    values = {"bag": "b", "rate": "2.0", "wait_for": "/t", "loop": "true", "params_file": "p.yaml", "model": "m",
              "backend": "onnx", "precision": "int8", "build_only": "true", "autostart": "false", "respawn": "true",
              "grid_frame": "g", "grid_in_base": "0 0 1 0", "base_frame": "car", "rviz": "true", "snapshots": "s",
              "use_sim_time": "false", "namespace": "n", "log_level": "debug"}
    assert set(values) == {argument.name for argument in ARGUMENTS}
    assert all(argument.description for argument in ARGUMENTS)
    for name in values:
        without = {key: value for key, value in values.items() if key != name}
        if name == "grid_frame":  # may not be absent while grid_in_base is there
            without[name] = "other"
        assert bringup(values) != bringup(without), name


@pytest.mark.parametrize("values, message", [
    ({"bagg": "x"}, "unknown arguments"),
    ({"rviz": "yes"}, "expected one of true, false, got 'yes'"),
    ({"grid_frame": "grid", "grid_in_base": "1 2"}, "expected 'x y z yaw'"),
    ({"grid_in_base": "0 0 1 0"}, "needs its name in grid_frame"),
])
def test_bad_values_are_refused_with_a_reason(values, message):
    with pytest.raises(ValueError, match=message):
        bringup(values)


def test_a_mistyped_argument_is_named_with_what_may_be_meant():
    assert table.mistyped(["bag", "backnd", "parms_file", "map", "robot_name"]) == ["backnd (backend?)",
                                                                                    "parms_file (params_file?)"]


def test_the_dds_profile_goes_to_all_processes_unless_the_user_has_one(monkeypatch):
    for variable in PROFILE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (profile,) = bringup({}).environment.values()
    assert Path(profile).is_file()
    monkeypatch.setenv(PROFILE_VARIABLES[0], "/mine.xml")
    assert bringup({}).environment == {}


def test_the_table_imports_neither_launch_nor_rclpy():
    tree = ast.parse(Path(table.__file__).read_text())
    imported = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not any(name.split(".")[0] in ("launch", "launch_ros", "rclpy") for name in imported)


def test_the_command_line_carries_files_values_and_namespace():
    node = process("occfusion", params_file="p.yaml", model="10", namespace="/front/", log_level="debug")
    line = command(node)
    assert line[:3] == [sys.executable, "-m", "occfusion_ros.ros.main"]
    ros = line[line.index("--ros-args"):]
    assert ros.index("--params-file") < ros.index("-p") and "p.yaml" in ros
    assert 'model:="10"' in ros, "a value must stay a string even if it looks like a number"
    assert "use_sim_time:=false" in ros and "__ns:=/front" in ros and "debug" in ros


def test_the_view_shows_what_the_node_publishes():
    view = yaml.safe_load((REPOSITORY / "rviz/occfusion.rviz").read_text())
    displays = view["Visualization Manager"]["Displays"]
    topics = {display["Class"].split("/")[1]: set() for display in displays}
    for display in displays:
        topics[display["Class"].split("/")[1]].add(display.get("Topic", {}).get("Value"))
    assert topics["MarkerArray"] == {"/occfusion/markers"}
    assert "/occfusion/points" in topics["PointCloud2"]
    assert topics["Image"] == {source for source, _ in table.RVIZ_IMAGES}
    assert {"TF", "Grid"} <= set(topics)


def test_the_static_transform_turns_as_tf_does():
    from occfusion_ros.ros.static_transform_publisher import quaternion
    assert quaternion(0, 0, math.pi / 2) == pytest.approx((0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    assert quaternion(math.pi / 2, 0, math.pi / 2) == pytest.approx((0.5, 0.5, 0.5, 0.5))


class TestLaunchFile:
    """Loads and runs the launch file where the launch package is installed."""

    @pytest.fixture
    def description(self):
        pytest.importorskip("launch_ros", reason="launch is not installed (it is not among the pip wheels)")
        from launch.launch_description_sources import get_launch_description_from_python_launch_file
        return get_launch_description_from_python_launch_file(str(REPOSITORY / "launch/occ.launch.py"))

    def test_it_declares_the_arguments_of_the_table(self, description):
        declared = {a.name: a.default_value for a in description.get_launch_arguments()}
        assert set(declared) == {argument.name for argument in ARGUMENTS}

    def test_it_starts_the_node_and_ends_with_it(self, description):
        from launch import LaunchDescription, LaunchService
        from launch.actions import RegisterEventHandler, SetLaunchConfiguration, Shutdown
        from launch.event_handlers import OnProcessStart
        started = []

        def on_start(event, _):
            started.append(event.process_name)
            return [Shutdown(reason="it has started")]

        service = LaunchService(noninteractive=True)
        service.include_launch_description(LaunchDescription([
            RegisterEventHandler(OnProcessStart(on_start=on_start)),
            SetLaunchConfiguration("log_level", "warn"), description]))
        service.run()
        assert len(started) == 1 and started[0].startswith("occfusion_node")

    def test_a_mistyped_argument_is_named(self, description):
        from launch import LaunchDescription, LaunchService
        from launch.actions import SetLaunchConfiguration, Shutdown

        said = logging.handlers.BufferingHandler(100)
        logging.getLogger("launch.user").addHandler(said)
        service = LaunchService(noninteractive=True)
        service.include_launch_description(LaunchDescription([
            SetLaunchConfiguration("backnd", "torch"), SetLaunchConfiguration("log_level", "warn"), description,
            Shutdown(reason="it has spoken")]))
        service.run()
        assert ["there is no such argument: backnd (backend?)"] == [record.getMessage() for record in said.buffer]
