"""The node's process, from its arguments to its exit status."""

import argparse
import signal
import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.utilities import remove_ros_args

from ..core.errors import OccFusionError
from .dds import use_shared_memory_profile
from .node import NAME, OccFusionNode


def run(argv: list[str] | None = None) -> int:
    """Run until interrupted; 1 if the node could not start."""
    argv = sys.argv if argv is None else [NAME, *argv]
    use_shared_memory_profile()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # interrupts what takes long, as SIGINT does
    try:
        return _serve(_start(argv))
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except (OccFusionError, ParameterException) as error:
        get_logger(NAME).fatal(str(error))
        return 1
    except Exception:
        if rclpy.ok():
            raise
        return 0  # a signal shut rclpy down between two steps of the executor, which it reports in many ways
    finally:
        rclpy.try_shutdown()


def _parse_arguments(arguments: list[str]) -> None:
    """There is only --help."""
    argparse.ArgumentParser(
        prog="occfusion_node", description="Semantic occupancy from LiDAR sweeps and camera images.",
        epilog="Parameters are set as with any ROS node:\n  --ros-args -p model:=nano --params-file FILE\n"
               "For a table of them: python -m occfusion_ros.ros.parameters",
        formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)


def _start(argv: list[str]) -> OccFusionNode:
    """The node; OccFusionError where rclpy cannot start one."""
    try:
        _parse_arguments(remove_ros_args(argv)[1:])
        rclpy.init(args=argv)
        return OccFusionNode()
    except RuntimeError as error:  # rclpy's own kinds are not public
        raise OccFusionError(f"cannot start: {type(error).__name__}: {error}") from error


def _serve(node: OccFusionNode) -> int:
    executor = SingleThreadedExecutor()
    try:
        if node.build_only:
            return int(node.trigger_configure() != TransitionCallbackReturn.SUCCESS)
        if node.autostart and not node.start():
            return int(rclpy.ok())  # a signal is no failure
        executor.add_node(node)
        executor.spin()
    finally:
        executor.shutdown()
        node.destroy_node()
    return 0
