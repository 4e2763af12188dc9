"""The launch file starts what the table says: against a small stand-in for launch, and against launch where it is."""

import importlib.util
import logging.handlers
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from occfusion_ros.ros.bringup.processes import ARGUMENTS, bringup

FILE = Path(__file__).resolve().parents[2] / "launch/occ.launch.py"


@dataclass
class Context:
    """Of a launch: what the user and the declarations have set."""

    launch_configurations: dict[str, str] = field(default_factory=dict)
    is_shutdown: bool = False


@dataclass
class LaunchDescription:
    entities: list


@dataclass(kw_only=True)
class Shutdown:
    reason: str


@dataclass(kw_only=True)
class OpaqueFunction:
    function: object


@dataclass
class SetEnvironmentVariable:
    name: str
    value: str


@dataclass
class LaunchConfiguration:
    name: str

    def perform(self, context: Context) -> str:
        return context.launch_configurations[self.name]


class DeclareLaunchArgument:
    def __init__(self, name: str, *, default_value: str, description: str, choices: list[str] | None) -> None:
        assert choices is None or default_value in choices, "launch refuses this"
        self.name, self.default_value = name, default_value


class Node:
    """As launch_ros' action: an unknown argument is refused, and texts must be texts."""

    def __init__(
        self,
        *,
        package: str,
        executable: str,
        namespace: str | None,
        arguments: list,
        parameters: list,
        remappings: list,
        ros_arguments: list,
        output: str,
        on_exit,
        respawn: bool,
        respawn_delay: float,
    ) -> None:
        assert all(isinstance(word, str) for word in (package, executable, output, *arguments, *ros_arguments))
        assert all(isinstance(entry, (str, dict)) for entry in parameters) and callable(on_exit)
        self.executable, self.arguments, self.on_exit, self.respawn = executable, arguments, on_exit, respawn
        self.namespace, self.remappings, self.parameters = namespace, remappings, parameters


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file as a module, on top of the stand-in."""

    def module(name: str, *members: type, **more: object) -> None:
        made = ModuleType(name)
        vars(made).update({member.__name__: member for member in members}, **more)
        monkeypatch.setitem(sys.modules, name, made)

    module("launch", LaunchDescription)
    module("launch.actions", DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown)
    module("launch.logging", get_logger=logging.getLogger)
    module("launch.substitutions", LaunchConfiguration)
    module("launch_ros")
    module("launch_ros.actions", Node)
    specification = importlib.util.spec_from_file_location("occ_launch", FILE)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def nodes_of(launch_file, **values: str) -> dict[str, Node]:
    """What a launch with these values starts, by executable."""
    *declared, (opaque) = launch_file.generate_launch_description().entities
    context = Context({**{argument.name: argument.default_value for argument in declared}, **values})
    return {action.executable: action for action in opaque.function(context) if isinstance(action, Node)}


def test_it_declares_the_arguments_of_the_table(launch_file):
    declared = launch_file.generate_launch_description().entities[:-1]
    assert {a.name: a.default_value for a in declared} == {a.name: a.default for a in ARGUMENTS}


def test_it_starts_the_processes_of_the_table(launch_file, monkeypatch):
    values = {"bag": "b", "rviz": "true", "namespace": "car", "snapshots": "s", "respawn": "true"}
    plan, nodes = bringup(values), nodes_of(launch_file, **values)
    assert list(nodes) == [process.executable for process in plan.processes]
    for process in plan.processes:
        node = nodes[process.executable]
        assert (node.arguments, node.remappings, node.parameters, node.namespace or "", node.respawn) == (
            list(process.arguments),
            list(process.remappings),
            list(process.parameters),
            process.namespace,
            process.respawn,
        )


@pytest.mark.parametrize(
    "executable, code, expected",
    [
        ("occfusion_node", 1, "occfusion ended with exit code 1"),
        ("occfusion_node", -11, "exit code -11"),
        ("play_bag", 2, "play_bag ended with exit code 2"),
        ("play_bag", 0, None),
        ("occfusion_node", 0, "shutdown"),
    ],
)
def test_a_failure_fails_the_launch_and_a_good_end_does_not(launch_file, executable, code, expected):
    node = nodes_of(launch_file, bag="b")[executable]
    ended = SimpleNamespace(returncode=code)
    assert node.on_exit(ended, Context(is_shutdown=True)) is None, "what ends after all others is no failure"
    if expected and expected != "shutdown":
        with pytest.raises(RuntimeError, match=expected):
            node.on_exit(ended, Context())
    else:
        result = node.on_exit(ended, Context())
        assert result == (Shutdown(reason="occfusion ended with exit code 0") if expected else None)


def test_a_crash_is_no_failure_where_the_node_comes_again(launch_file):
    node = nodes_of(launch_file, respawn="true")["occfusion_node"]
    assert node.on_exit(SimpleNamespace(returncode=-9), Context()) is None
    with pytest.raises(RuntimeError, match="exit code 1"):
        node.on_exit(SimpleNamespace(returncode=1), Context())


@pytest.mark.parametrize(
    "values, message",
    [
        ({"rte": "2"}, r"no such argument: rte \(rate\?\)"),
        ({"color": "red"}, "no such argument: color;"),
        ({"params_file": "/no.yaml"}, "cannot read the parameters file"),
        ({"rate": "fast"}, "rate: expected"),
    ],
)
def test_what_cannot_be_meant_ends_the_launch(launch_file, monkeypatch, values, message):
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "occfusion_ros", FILE.name])
    with pytest.raises(Exception, match=message):
        nodes_of(launch_file, **values)


def test_names_of_ros2_launch_and_of_a_launch_file_around_it_are_let_pass(launch_file, monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "occfusion_ros", FILE.name])
    assert nodes_of(launch_file, **{"launch-prefix": "nice"})
    monkeypatch.setattr(sys, "argv", ["ros2", "launch", "robot", "robot.launch.py"])
    assert nodes_of(launch_file, rvz="true", map="m")
    assert [record.message for record in caplog.records] == ["there is no such argument: rvz (rviz?)"]


def test_what_may_give_no_occupancy_is_said(launch_file, caplog):
    nodes_of(launch_file, grid_frame="grid")
    assert "grid must come from TF" in caplog.text


class TestWithLaunch:
    """Loads and runs the launch file where the launch package is installed."""

    @pytest.fixture
    def description(self):
        pytest.importorskip("launch_ros", reason="launch is not installed (it is not among the pip wheels)")
        from launch.launch_description_sources import get_launch_description_from_python_launch_file

        return get_launch_description_from_python_launch_file(str(FILE))

    @staticmethod
    def run(*entities) -> int:
        from launch import LaunchDescription, LaunchService

        service = LaunchService(noninteractive=True)
        service.include_launch_description(LaunchDescription(list(entities)))
        return service.run()

    def test_it_declares_the_arguments_of_the_table(self, description):
        declared = {a.name: a.default_value for a in description.get_launch_arguments()}
        assert set(declared) == {argument.name for argument in ARGUMENTS}

    def test_it_starts_the_node_and_ends_with_it(self, description):
        from launch.actions import RegisterEventHandler, SetLaunchConfiguration, Shutdown
        from launch.event_handlers import OnProcessStart

        started = []

        def on_start(event, _):
            started.append(event.process_name)
            return [Shutdown(reason="it has started")]

        assert not self.run(
            RegisterEventHandler(OnProcessStart(on_start=on_start)),
            SetLaunchConfiguration("log_level", "warn"),
            description,
        )
        assert len(started) == 1 and started[0].startswith("occfusion_node")

    @pytest.mark.parametrize(
        "name, value",
        [
            ("params_file", "/no.yaml"),
            ("rate", "fast"),
            ("model", "/nowhere"),
            ("bag", "/nowhere"),
            ("backend", "cuda"),
        ],
    )
    def test_a_failure_is_the_launch_s_too(self, description, name, value):
        from launch.actions import SetLaunchConfiguration

        assert self.run(SetLaunchConfiguration(name, value), description) == 1

    def test_a_mistyped_argument_is_named(self, description):
        from launch.actions import SetLaunchConfiguration, Shutdown

        said = logging.handlers.BufferingHandler(100)
        logging.getLogger("occfusion").addHandler(said)
        self.run(
            SetLaunchConfiguration("backnd", "torch"),
            SetLaunchConfiguration("log_level", "warn"),
            description,
            Shutdown(reason="it has spoken"),
        )
        assert ["there is no such argument: backnd (backend?)"] == [record.getMessage() for record in said.buffer]
