"""The table of processes, and the command lines that come of it."""

import ast
import math
import sys
from pathlib import Path

import pytest

from occfusion_ros.ros.bringup import processes as table
from occfusion_ros.ros.bringup.processes import ARGUMENTS, bringup
from occfusion_ros.ros.node.parameters import ParameterError
from occfusion_ros.ros.node.parameters_file import read_parameters_file
from occfusion_ros.ros.startup.dds import PROFILE_VARIABLES
from occfusion_ros.ros.without_ros.supervisor import command


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


@pytest.fixture
def mine(tmp_path) -> str:
    """A parameters file."""
    path = tmp_path / "mine.yaml"
    path.write_text("/**:\n  ros__parameters: {lidar_topic: roof/points, cameras: [left]}\n")
    return str(path)


def test_the_parameter_file_comes_first_then_only_what_was_set(mine):
    node = process("occfusion", params_file=mine, model="nano", use_sim_time="true")
    assert node.parameters == (mine, {"model": "nano", "use_sim_time": True})


def test_paths_may_begin_with_the_home_folder(mine, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(mine).parent))
    assert process("occfusion", params_file="~/mine.yaml").parameters[0] == mine
    assert process("play_bag", bag="~/b").arguments[0] == str(Path(mine).with_name("b"))


def test_a_bag_brings_simulated_time_unless_told_otherwise():
    assert process("occfusion", bag="b").parameters[1]["use_sim_time"] is True
    assert process("occfusion", bag="b", use_sim_time="false").parameters[1]["use_sim_time"] is False
    assert process("play_bag", bag="b", rate="0.5", loop="true").arguments[:4] == ("b", "--rate", "0.5", "--loop")


@pytest.mark.parametrize(
    "values, waits",
    [
        ({}, ("--wait-for-node", "/occfusion", "--wait-timeout", "1800")),
        (
            {"rviz": "true", "namespace": "/robot1/", "wait_timeout": "9"},
            ("--wait-for-node", "/robot1/occfusion", "--wait-for", "/robot1/occfusion/markers", "--wait-timeout", "9"),
        ),
        (
            {"snapshots": "s", "wait_for": "/a /b"},
            (
                "--wait-for-node",
                "/occfusion",
                "--wait-for",
                "/occfusion/occupancy",
                "/a",
                "/b",
                "--wait-timeout",
                "1800",
            ),
        ),
        ({"rviz": "true", "wait_timeout": "0"}, ()),
    ],
)
def test_the_player_waits_for_the_node_and_for_whoever_shows_its_answers(values, waits):
    assert process("play_bag", bag="b", **values).arguments[3:] == ("--stay", *waits)


def test_the_player_ends_with_the_bag_where_it_is_waited_for():
    player = bringup({"bag": "b", "wait_timeout": "0"}, stay=False).processes[-1]
    assert player.arguments == ("b", "--rate", "1.0")


def test_every_argument_is_described_and_changes_something(mine):
    values = {
        "bag": "b",
        "rate": "2.0",
        "wait_for": "/t",
        "wait_timeout": "9",
        "loop": "true",
        "params_file": mine,
        "model": "m",
        "backend": "onnx",
        "precision": "int8",
        "build_only": "true",
        "autostart": "false",
        "respawn": "true",
        "grid_frame": "g",
        "grid_in_base": "0 0 1 0",
        "autoware": "true",
        "base_frame": "car",
        "rviz": "true",
        "snapshots": "s",
        "use_sim_time": "false",
        "namespace": "n",
        "log_level": "debug",
    }
    assert set(values) == {argument.name for argument in ARGUMENTS}
    assert all(argument.description for argument in ARGUMENTS)
    for name in values:
        without = {key: value for key, value in values.items() if key != name}
        if name == "grid_frame":  # may not be absent while grid_in_base is there
            without[name] = "other"
        assert bringup(values) != bringup(without), name


@pytest.mark.parametrize(
    "values, message",
    [
        ({"bagg": "x"}, r"no such argument: bagg \(bag\?\); there are: bag, rate"),
        ({"rate": "fast"}, "rate: expected a number above 0, such as 0.5, got 'fast'"),
        ({"rate": "0"}, "rate: expected"),
        ({"rate": "nan"}, "rate: expected"),
        ({"rate": "inf"}, "rate: expected"),
        ({"rate": ""}, "rate: expected"),
        ({"wait_timeout": "-1"}, "wait_timeout: expected seconds, or 0, got '-1'"),
        ({"rviz": "yes"}, "expected one of true, false, got 'yes'"),
        ({"grid_frame": "grid", "grid_in_base": "1 2"}, "expected 'x y z yaw'"),
        ({"grid_in_base": "0 0 1 0"}, "needs its name in grid_frame"),
    ],
)
def test_bad_values_are_refused_with_a_reason(values, message):
    with pytest.raises(ValueError, match=message):
        bringup(values)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "cannot read the parameters file .*no.yaml: .*No such file"),
        ("a: [", "cannot read the parameters file"),
        ("", "sets nothing for the node /robot1/occfusion, only for nobody"),
        ("cameras: [left]", "expected a ROS parameters file"),
        ("other:\n  ros__parameters: {cameras: [left]}", "sets nothing for .* only for /other"),
        ("occfusion:\n  ros__parameters: {cameras: [left]}", "sets nothing for .* only for /occfusion"),
        ("/**:\n  ros__parameters: [cameras]", "expected names and values under ros__parameters"),
        ("/**:\n  ros__parameters: {cameras: [a, a]}", "cameras: expected different names"),
        ("/**:\n  ros__parameters: {max_wait_s: soon}", "no.yaml: "),
    ],
)
def test_a_parameters_file_that_cannot_be_meant_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "no.yaml").write_text(text)
    with pytest.raises(ParameterError, match=message):
        bringup({"params_file": str(tmp_path / "no.yaml"), "namespace": "robot1"})


def test_a_folder_is_no_parameters_file(tmp_path):
    with pytest.raises(ParameterError, match="cannot read the parameters file"):
        bringup({"params_file": str(tmp_path)})


@pytest.mark.parametrize("section", ["/**", "/*/occfusion", "/robot1/occfusion", "robot1/occfusion", "/**/occfusion"])
def test_sections_of_a_parameters_file_are_matched_as_ros_does(tmp_path, section):
    path = tmp_path / "p.yaml"
    path.write_text(f"other:\n  ros__parameters: {{cameras: []}}\n{section}:\n  ros__parameters: {{cameras: [left]}}\n")
    assert read_parameters_file(path, "/robot1/occfusion").cameras == ("left",)
    path.write_text("robot1:\n  occfusion:\n    ros__parameters: {cameras: [right], use_sim_time: true}\n")
    assert read_parameters_file(path, "/robot1/occfusion").cameras == ("right",)


def test_a_grid_frame_that_nobody_here_publishes_is_pointed_out(mine):
    assert bringup({}).warnings == bringup({"grid_frame": "g", "grid_in_base": "0 0 1 0"}).warnings == ()
    for values in ({"grid_frame": "g"}, {"params_file": mine}):
        Path(mine).write_text("/**:\n  ros__parameters: {grid_frame: g}\n")
        (warning,) = bringup(values).warnings
        assert "the grid's frame g must come from TF, from the robot" in warning and "grid_in_base:=" in warning


def test_autoware_gets_its_topics_and_a_costmap_of_its_kind(tmp_path):
    path = tmp_path / "car.yaml"
    path.write_text("/**:\n  ros__parameters: {fixed_frame: map}\n")
    node = process("occfusion", params_file=str(path), autoware="true")
    assert dict(node.remappings) == {
        "~/obstacles": "/perception/obstacle_segmentation/pointcloud",
        "~/segmentation": "/perception/ptv3/segmented/pointcloud",
        "~/costmap": "/perception/occupancy_grid_map/map",
    }
    assert node.parameters[1]["costmap_unknown"] == 50 and "costmap_unknown:=50" in command(node)
    assert "~/costmap:=/perception/occupancy_grid_map/map" in command(node)
    assert bringup({"params_file": str(path), "autoware": "true"}).warnings == ()
    (warning,) = bringup({"autoware": "true"}).warnings
    assert "set fixed_frame to map" in warning
    assert not process("occfusion").remappings


def test_names_that_are_no_arguments_are_told_with_what_may_be_meant():
    assert table.unknown_names(["bag", "backnd", "rte", "map"]) == ["backnd (backend?)", "rte (rate?)", "map"]


def test_the_dds_profile_goes_to_all_processes_unless_the_user_has_one(monkeypatch):
    for variable in PROFILE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (profile,) = bringup({}).environment.values()
    assert Path(profile).is_file()
    monkeypatch.setenv(PROFILE_VARIABLES[0], "/mine.xml")
    assert bringup({}).environment == {}


def test_the_table_does_not_import_launch():
    tree = ast.parse(Path(table.__file__).read_text())
    imported = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not any(name.split(".")[0] in ("launch", "launch_ros") for name in imported)


def test_the_command_line_carries_files_values_and_namespace(mine):
    node = process("occfusion", params_file=mine, model="10", namespace="/front/", log_level="debug")
    line = command(node)
    assert line[:3] == [sys.executable, "-m", "occfusion_ros.ros.node.main"]
    ros = line[line.index("--ros-args") :]
    assert ros.index("--params-file") < ros.index("-p") and mine in ros
    assert 'model:="10"' in ros, "a value must stay a string even if it looks like a number"
    assert "use_sim_time:=false" in ros and "__ns:=/front" in ros and "debug" in ros


def test_the_static_transform_turns_as_tf_does():
    from occfusion_ros.ros.without_ros.static_transform_publisher import quaternion

    assert quaternion(0, 0, math.pi / 2) == pytest.approx((0, 0, math.sqrt(0.5), math.sqrt(0.5)))
    assert quaternion(math.pi / 2, 0, math.pi / 2) == pytest.approx((0.5, 0.5, 0.5, 0.5))
