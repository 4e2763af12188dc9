"""Starts the occupancy node and what goes with it; arguments and processes are in occfusion_ros.ros.bringup."""

import os
import sys

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from occfusion_ros.ros.bringup.processes import ARGUMENTS, Process, bringup, unknown_names

RESPAWN_DELAY_S = 1.0
OF_ROS2_LAUNCH = ("launch-prefix", "launch-prefix-filter")


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*map(_declare, ARGUMENTS), OpaqueFunction(function=_actions)])


def _declare(argument) -> DeclareLaunchArgument:
    choices = list(dict.fromkeys([*argument.choices, argument.default])) if argument.choices else None
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.description, choices=choices
    )


def _actions(context) -> list:
    _refuse_unknown(context.launch_configurations)
    plan = bringup({argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS})
    for warning in plan.warnings:
        get_logger("occfusion").warning(warning)
    variables = [SetEnvironmentVariable(name, value) for name, value in plan.environment.items()]
    return variables + [_node(process) for process in plan.processes]


def _refuse_unknown(names) -> None:
    """`ros2 launch` takes any name: those of a launch file that includes this one are here too, and are its own."""
    included = os.path.basename(__file__) not in map(os.path.basename, sys.argv)
    unknown = unknown_names(name for name in names if name not in OF_ROS2_LAUNCH)
    if unknown and not included:
        raise ValueError(f"there is no such argument: {', '.join(unknown)}; --show-args lists them")
    for name in unknown:
        if name.endswith("?)"):
            get_logger("occfusion").warning(f"there is no such argument: {name}")


def _node(process: Process) -> Node:
    def on_exit(event, context):
        if context.is_shutdown or not process.ends_everything(event.returncode):
            return None
        ended = f"{process.name} ended with exit code {event.returncode}"
        if event.returncode:
            raise RuntimeError(ended)  # launch shuts down and fails; its Shutdown would be a success
        return Shutdown(reason=ended)

    return Node(
        package=process.package,
        executable=process.executable,
        namespace=process.namespace or None,
        arguments=list(process.arguments),
        parameters=list(process.parameters),
        remappings=list(process.remappings),
        ros_arguments=["--log-level", process.log_level],
        output="screen",
        on_exit=on_exit,
        respawn=process.respawn,
        respawn_delay=RESPAWN_DELAY_S,
    )
