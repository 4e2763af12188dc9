"""The one table of arguments and processes behind `launch/occ.launch.py` and the supervisor.

It does not know launch: values are strings, as on a command line, and what comes out is plain data.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.shipped import PACKAGE, shipped
from ..startup.dds import profile_environment
from ..startup.names import node_name

if TYPE_CHECKING:
    from ..node.parameters import NodeParameters

YES_NO = ("true", "false")
NODE = "occfusion"
PATHS = ("bag", "params_file", "snapshots")
OF_AUTOWARE = (
    ("~/obstacles", "/perception/obstacle_segmentation/pointcloud"),
    ("~/segmentation", "/perception/ptv3/segmented/pointcloud"),  # what label_based_euclidean_cluster reads
    ("~/costmap", "/perception/occupancy_grid_map/map"),
)
AUTOWARE_UNKNOWN = 50  # percent, in its occupancy grid map


@dataclass(frozen=True)
class Argument:
    """One thing a user can set; the empty string means not set."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()


ARGUMENTS = (
    Argument("bag", "", "rosbag2 (MCAP or sqlite3) to play; not set: sensors are live"),
    Argument("rate", "1.0", "speed at which the bag is played, 1.0 is real time"),
    Argument(
        "wait_for",
        "",
        "topics, separated by spaces, that must have a subscriber before the bag starts, besides "
        "the node's and those that rviz and snapshots show",
    ),
    Argument("wait_timeout", "1800", "seconds after which the player gives up waiting for them; 0: play at once"),
    Argument("loop", "false", "play the bag again and again", YES_NO),
    Argument("params_file", "", "parameter file of the node; not set: config/occfusion.yaml of this package"),
    Argument("model", "", "a folder (./mine), or the name of a shipped model; not set: as in the parameter file"),
    Argument(
        "backend",
        "",
        "inference backend: tensorrt, openvino, onnxruntime, torch or auto; not set: as in the parameter file",
    ),
    Argument(
        "precision", "", "what engines calculate in: fp32, bf16, fp16, int8 or auto; not set: as in the parameter file"
    ),
    Argument("build_only", "", "load the model, building its engines where needed, and end", YES_NO),
    Argument(
        "autostart",
        "",
        "the node configures and activates itself; false: wait for a lifecycle manager, or ros2 "
        "lifecycle set; not set: as in the parameter file",
        YES_NO,
    ),
    Argument("respawn", "false", "start the node again when it crashes or is killed", YES_NO),
    Argument("grid_frame", "", "TF frame of the grid; not set: as in the parameter file"),
    Argument(
        "grid_in_base",
        "",
        "publish grid_frame as a static transform at 'x y z yaw' (m, rad) in base_frame; "
        "not set: it is published by someone else",
    ),
    Argument("base_frame", "base_link", "parent of the static transform, and what RViz' view is fixed to"),
    Argument(
        "autoware",
        "false",
        "publish ~/obstacles, ~/segmentation and ~/costmap under the names that Autoware reads, and 50 in a costmap "
        "where nothing is known",
        YES_NO,
    ),
    Argument("rviz", "false", "start RViz with the view of this package", YES_NO),
    Argument("snapshots", "", "folder for a picture of every occupancy message; not set: no pictures"),
    Argument("use_sim_time", "", "follow /clock; not set: true with a bag, false without", YES_NO),
    Argument("namespace", "", "namespace of the nodes"),
    Argument("log_level", "info", "severity from which on nodes log", ("debug", "info", "warn", "error", "fatal")),
)


@dataclass(frozen=True)
class Process:
    """One process to start.

    Attributes:
        name: what its output is labeled with.
        package, executable: what `ros2 run` would be given.
        module: Python module that does the same without an installed executable; None outside this package.
        namespace: namespace of its node.
        arguments: command line before the ROS arguments.
        parameters: parameter files (str) and values (dict), later ones win.
        remappings: (from, to) names of topics.
        log_level: severity from which on it logs.
        required: when it ends, everything ends.
        respawn: when a signal ends it (a crash, the system short of memory), it is started again.

    The last two are for `comes_again` and `ends_everything`, which whoever runs the processes asks.
    """

    name: str
    package: str
    executable: str
    module: str | None = None
    namespace: str = ""
    arguments: tuple[str, ...] = ()
    parameters: tuple[str | dict[str, Any], ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    log_level: str = "info"
    required: bool = False
    respawn: bool = False

    def comes_again(self, code: int) -> bool:
        """Whether it is to be started again after it ended with an exit code, negative for a signal."""
        return self.respawn and code < 0

    def ends_everything(self, code: int) -> bool:
        """Whether everything ends with it; with another exit code than 0 that is a failure."""
        return not self.comes_again(code) and (self.required or code != 0)


@dataclass(frozen=True)
class Bringup:
    """What to start: the processes in order, variables to set for all of them, and what the user should know."""

    processes: tuple[Process, ...]
    environment: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def bringup(values: Mapping[str, str], stay: bool = True) -> Bringup:
    """Processes for the given argument values; arguments that are absent have their defaults.

    Args:
        values: of the arguments.
        stay: the player of a bag does not end with it: without its static transforms whoever comes late could not
            place what is latched.

    Raises:
        ValueError: an unknown argument or a value that its argument does not take.
        ParameterError: a parameters file that cannot be used.
    """
    from ..node.parameters_file import read_parameters_file  # takes long, as rclpy comes with it

    values = _checked(values)
    settings = read_parameters_file(Path(values["params_file"]), _own_name(values))
    wanted = [_node(values)]
    if values["grid_in_base"]:
        wanted.append(_static_transform(values))
    if values["snapshots"]:
        wanted.append(_snapshot(values))
    if values["rviz"] == "true":
        wanted.append(_rviz(values, settings))
    if values["bag"]:
        wanted.append(_player(values, stay))
    return Bringup(tuple(wanted), profile_environment(), tuple(_warnings(values, settings)))


def unknown_names(names: Iterable[str]) -> list[str]:
    """Those names that are no arguments, each with what may be meant where one looks like it."""
    known = [argument.name for argument in ARGUMENTS]
    likely = {name: get_close_matches(name, known, 1, cutoff=0.75) for name in names if name not in known}
    return [f"{name} ({found[0]}?)" if found else name for name, found in likely.items()]


def _checked(values: Mapping[str, str]) -> dict[str, str]:
    """All arguments with their values, validated."""
    known = {argument.name: argument for argument in ARGUMENTS}
    if unknown := unknown_names(values):
        raise ValueError(f"there is no such argument: {', '.join(unknown)}; there are: {', '.join(known)}")
    merged = {name: values.get(name, argument.default) for name, argument in known.items()}
    for name, value in merged.items():
        if value and known[name].choices and value not in known[name].choices:
            raise ValueError(f"{name}: expected one of {', '.join(known[name].choices)}, got {value!r}")
    if merged["grid_in_base"] and not merged["grid_frame"]:
        raise ValueError("grid_in_base says where the grid frame is; it needs its name in grid_frame too")
    _check_number(merged, "rate", "a number above 0, such as 0.5", lambda value: 0 < value < math.inf)
    _check_number(merged, "wait_timeout", "seconds, or 0", lambda value: 0 <= value < math.inf)
    for name in PATHS:
        merged[name] = os.path.expanduser(merged[name])  # a shell does not after :=
    merged["use_sim_time"] = merged["use_sim_time"] or ("true" if merged["bag"] else "false")
    merged["params_file"] = merged["params_file"] or str(shipped("config/occfusion.yaml"))
    return merged


def _check_number(values: Mapping[str, str], name: str, expected: str, holds: Callable[[float], bool]) -> None:
    try:
        if holds(float(values[name])):
            return
    except ValueError:
        pass
    raise ValueError(f"{name}: expected {expected}, got {values[name]!r}")


def _warnings(values: Mapping[str, str], settings: "NodeParameters") -> Iterator[str]:
    """What looks right and may yet give no occupancy."""
    frame = values["grid_frame"] or settings.grid_frame
    if frame and not values["grid_in_base"]:
        source = "bag" if values["bag"] else "robot"
        yield (
            f"the grid's frame {frame} must come from TF, from the {source}: without it there is no occupancy; "
            f"grid_in_base:='x y z yaw' publishes it (now in {values['base_frame']})"
        )
    if values["autoware"] == "true" and not settings.fixed_frame:
        yield "there is no costmap for Autoware without a frame that stands still: set fixed_frame to map"


def _own_name(values: Mapping[str, str]) -> str:
    """Full name of the node."""
    return node_name(NODE, values["namespace"])


def _ours(name: str, module: str, values: Mapping[str, str], **more: Any) -> Process:
    """A process whose executable is in this package; `module` is below occfusion_ros.ros."""
    more = {"executable": name, "module": f"{PACKAGE}.ros.{module}", **more}
    return Process(name, PACKAGE, namespace=values["namespace"], log_level=values["log_level"], **more)


def _node(values: Mapping[str, str]) -> Process:
    return _ours(
        NODE,
        "node.main",
        values,
        executable="occfusion_node",
        parameters=_parameters(values, "model", "backend", "precision", "build_only", "autostart", "grid_frame"),
        remappings=OF_AUTOWARE if values["autoware"] == "true" else (),
        required=True,
        respawn=values["respawn"] == "true",
    )


def _parameters(values: Mapping[str, str], *names: str) -> tuple[str | dict[str, Any], ...]:
    """The parameter file first, then only what the user set."""
    flags = {"true": True, "false": False}
    chosen = {name: flags.get(values[name], values[name]) for name in names if values[name]}
    if values["autoware"] == "true":
        chosen["costmap_unknown"] = AUTOWARE_UNKNOWN
    return values["params_file"], {**chosen, "use_sim_time": values["use_sim_time"] == "true"}


def _static_transform(values: Mapping[str, str]) -> Process:
    try:
        x, y, z, yaw = map(float, values["grid_in_base"].split())
    except ValueError:
        raise ValueError(f"grid_in_base: expected 'x y z yaw', got {values['grid_in_base']!r}") from None
    arguments = (
        "--x",
        str(x),
        "--y",
        str(y),
        "--z",
        str(z),
        "--yaw",
        str(yaw),
        "--frame-id",
        values["base_frame"],
        "--child-frame-id",
        values["grid_frame"],
    )
    if importlib.util.find_spec("tf2_ros"):
        return Process("grid_frame", "tf2_ros", "static_transform_publisher", arguments=arguments)
    return _ours("static_transform_publisher", "without_ros.static_transform_publisher", values, arguments=arguments)


def _snapshot(values: Mapping[str, str]) -> Process:
    return _ours(
        "snapshot", "tools.snapshot", values, arguments=("--count", "0", "--timeout", "0", "--out", values["snapshots"])
    )


def _rviz(values: Mapping[str, str], settings: "NodeParameters") -> Process:
    from .rviz_view import camera_remappings, write_view

    view = write_view(settings, _own_name(values), values["base_frame"])
    return Process(
        "rviz",
        "rviz2",
        "rviz2",
        arguments=("-d", str(view)),
        parameters=({"use_sim_time": values["use_sim_time"] == "true"},),
        remappings=camera_remappings(settings, _own_name(values)),
    )


def _player(values: Mapping[str, str], stay: bool) -> Process:
    """It starts to play when the node is active, and RViz and the snapshots are there to show what it answers."""
    viewers = {"rviz": f"{_own_name(values)}/markers", "snapshots": f"{_own_name(values)}/occupancy"}
    topics = [topic for name, topic in viewers.items() if values[name] not in ("", "false")]
    topics += values["wait_for"].split()
    wait = (
        "--wait-for-node",
        _own_name(values),
        *(("--wait-for", *topics) if topics else ()),
        "--wait-timeout",
        values["wait_timeout"],
    )
    end = ("--loop",) if values["loop"] == "true" else ("--stay",) if stay else ()
    return _ours(
        "play_bag",
        "without_ros.play_bag",
        values,
        arguments=(values["bag"], "--rate", values["rate"], *end, *(wait if float(values["wait_timeout"]) else ())),
    )
