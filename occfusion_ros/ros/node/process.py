"""The node's process, from its arguments to its exit status."""

import sys
from concurrent.futures import Future, wait
from threading import Thread

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from ...core.command import parser_of
from ...core.errors import OccFusionError
from ..startup.dds import use_shared_memory_profile
from ..startup.rclpy_start import reason, start
from .lifecycle_node import NAME, Ended, OccFusionNode

POLL_S = 0.1


def run(argv: list[str] | None = None) -> int:
    """Run until something ends rclpy; 1 if the node could not start.

    Raises:
        KeyboardInterrupt: as its caller's signal handlers do; rclpy installs none of its own.
    """
    argv = sys.argv if argv is None else [NAME, *argv]
    use_shared_memory_profile()
    try:
        return _run(_start(argv))
    except (OccFusionError, ParameterException) as error:
        get_logger(NAME).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()


def _parse_arguments(arguments: list[str]) -> None:
    """There is only --help."""
    parser_of(
        "occfusion_node",
        "Semantic occupancy from LiDAR sweeps and camera images.\n\nParameters are set as with any ROS node:\n"
        "  --ros-args -p model:=nano --params-file FILE\n"
        "For a table of them: python -m occfusion_ros.ros.node.parameters_page",
    ).parse_args(arguments)


def _start(argv: list[str]) -> OccFusionNode:
    """The node; OccFusionError where rclpy cannot start one."""
    try:
        _parse_arguments(remove_ros_args(argv)[1:])
        start(argv, signal_handler_options=SignalHandlerOptions.NO)
        return OccFusionNode()
    except RuntimeError as error:  # rclpy's own kinds are not public
        raise reason(error) from error


def _run(node: OccFusionNode) -> int:
    """Serve the node on a thread of its own: signals interrupt the main thread, and never rclpy at its work.

    They may come while the thread starts, so whether it has begun is for the future to know, which one side gets.
    """
    serving: Future[int] = Future()
    try:
        Thread(target=_fulfil, args=(serving, node), name="executor").start()
        while not wait([serving], POLL_S).done:  # a signal that another thread got does not wake this one
            pass
        return serving.result()
    finally:
        node.end()
        if serving.cancel():
            node.destroy_node()
        else:
            wait([serving])


def _fulfil(serving: Future[int], node: OccFusionNode) -> None:
    if not serving.set_running_or_notify_cancel():
        return
    try:
        serving.set_result(_serve(node))
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        serving.set_exception(error)


def _serve(node: OccFusionNode) -> int:
    executor = SingleThreadedExecutor()
    try:
        if node.build_only:
            return int(node.trigger_configure() != TransitionCallbackReturn.SUCCESS)
        if node.autostart and not node.start():
            return 1
        executor.add_node(node)
        executor.spin()
    except (Ended, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise  # else rclpy was shut down between two steps of the executor, which it reports in many ways
    finally:
        executor.shutdown()
        node.destroy_node()
    return 0
