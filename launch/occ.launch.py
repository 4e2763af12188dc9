"""Starts the occupancy node and what goes with it; the arguments and processes are in occfusion_ros.ros.bringup."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from occfusion_ros.ros.bringup import ARGUMENTS, Process, bringup, mistyped

RESPAWN_DELAY_S = 1.0


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*map(_declare, ARGUMENTS), OpaqueFunction(function=_actions)])


def _declare(argument) -> DeclareLaunchArgument:
    choices = list(dict.fromkeys([*argument.choices, argument.default])) if argument.choices else None
    return DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description,
                                 choices=choices)


def _actions(context) -> list:
    plan = bringup({argument.name: LaunchConfiguration(argument.name).perform(context) for argument in ARGUMENTS})
    warnings = [LogInfo(msg=f"there is no such argument: {name}") for name in mistyped(context.launch_configurations)]
    variables = [SetEnvironmentVariable(name, value) for name, value in plan.environment.items()]
    return warnings + variables + [_node(process) for process in plan.processes]


def _node(process: Process) -> Node:
    def on_exit(event, context):
        if process.respawn and event.returncode < 0:  # ended by a signal
            return None
        if (process.required or event.returncode) and not context.is_shutdown:
            return Shutdown(reason=f"{process.name} ended with exit code {event.returncode}")
        return None

    return Node(package=process.package, executable=process.executable,
                namespace=process.namespace or None, arguments=list(process.arguments),
                parameters=list(process.parameters), remappings=list(process.remappings),
                ros_arguments=["--log-level", process.log_level], output="screen", on_exit=on_exit,
                respawn=process.respawn, respawn_delay=RESPAWN_DELAY_S)
