"""Starts ROS for a command, or says in one sentence why it cannot start here."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...core.errors import OccFusionError, one_line
from .dds import use_shared_memory_profile


class StartError(OccFusionError):
    """ROS cannot start with these settings; the message says what to change."""


def check_middleware_installed() -> None:
    """Before rclpy is imported, which ends the process where the chosen middleware is missing.

    Raises:
        StartError: RMW_IMPLEMENTATION names one that is not installed.
    """
    wanted = os.environ.get("RMW_IMPLEMENTATION", "")
    folders = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    there = sorted(
        {
            file.name
            for folder in folders
            for file in folder.glob("share/ament_index/resource_index/rmw_typesupport/rmw_*_cpp")
        }
    )
    if wanted and there and wanted not in there:
        raise StartError(
            f"cannot start: RMW_IMPLEMENTATION is {wanted}, which is not installed; installed: "
            f"{', '.join(there)}; install it, or: unset RMW_IMPLEMENTATION"
        )


@contextmanager
def messages_needed() -> Iterator[None]:
    """Import inside it what imports this project's own messages.

    Raises:
        StartError: they are not there.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] != "occfusion_msgs":
            raise
        raise StartError(
            "cannot start: the messages of occfusion_msgs are not built or not sourced; at the root of "
            "the checkout: colcon build --base-paths . occfusion_msgs && source install/setup.bash"
        ) from error


def start(argv: list[str], context=None, **options) -> None:
    """``rclpy.init`` with its options.

    Raises:
        StartError: rclpy refuses arguments or settings (domain, log folder, security).
    """
    import rclpy

    try:
        rclpy.init(args=argv, context=context, **options)
    except RuntimeError as error:  # rclpy's own kinds are not public
        raise reason(error) from error


@contextmanager
def running_node(name: str, argv: list[str], **options: Any) -> Iterator[Any]:  # of rclpy.node.Node
    """Within it there is a node, in a context of its own, so that rclpy installs no signal handlers.

    Args:
        options: of ``rclpy.create_node``.

    Raises:
        StartError: ROS cannot start with these settings.
    """
    import rclpy

    use_shared_memory_profile()
    context = rclpy.Context()
    start(argv, context)
    try:
        node = rclpy.create_node(name, context=context, **options)
    except RuntimeError as error:
        context.try_shutdown()
        raise reason(error) from error
    try:
        yield node
    finally:
        context.try_shutdown()
        node.destroy_node()


@contextmanager
def spinning_node(name: str, argv: list[str]) -> Iterator[Any]:  # of rclpy.node.Node
    """A node that a background thread spins; SIGINT and SIGTERM both raise KeyboardInterrupt here."""
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_node(name, argv) as node:
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)

        def spin() -> None:
            with suppress(ExternalShutdownException):
                executor.spin()

        spinner = threading.Thread(target=spin, daemon=True)
        spinner.start()
        try:
            yield node
        finally:
            node.context.try_shutdown()
            spinner.join()


def reason(error: RuntimeError) -> StartError:
    """What rclpy says, and what it leaves out."""
    secure = os.environ.get("ROS_SECURITY_ENABLE") == "true"  # of which rclpy says nothing: "error not set"
    keystore = os.environ.get("ROS_SECURITY_KEYSTORE") or os.environ.get("ROS_SECURITY_ROOT_DIRECTORY") or "not set"
    hint = (
        (
            f"; ROS_SECURITY_ENABLE is true and ROS_SECURITY_KEYSTORE is {keystore}: make keys for this node there "
            "(ros2 security create_enclave), or: unset ROS_SECURITY_ENABLE"
        )
        if secure
        else ""
    )
    return StartError(f"cannot start: {type(error).__name__}: {one_line(error)}{hint}")
