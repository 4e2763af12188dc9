"""Starts ROS for a command, or says in one sentence why it cannot start here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import OccFusionError, one_line


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


def create_node(name: str, context, **options):
    """``rclpy.create_node``; where that fails ROS is shut down again.

    Raises:
        StartError: the middleware refuses its settings.
    """
    import rclpy

    try:
        return rclpy.create_node(name, context=context, **options)
    except RuntimeError as error:
        rclpy.shutdown(context=context)
        raise reason(error) from error


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
