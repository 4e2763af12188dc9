"""Starts ROS for a command, or says in one sentence why it cannot start here."""

import os
from pathlib import Path

from ..core.errors import OccFusionError, said


class StartError(OccFusionError):
    """ROS cannot start with these settings; the message says what to change."""


def check_middleware_installed() -> None:
    """Before rclpy is imported, which ends the process where the chosen middleware is missing.

    Raises:
        StartError: RMW_IMPLEMENTATION names one that is not installed.
    """
    wanted = os.environ.get("RMW_IMPLEMENTATION", "")
    folders = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    there = sorted({file.name for folder in folders
                    for file in folder.glob("share/ament_index/resource_index/rmw_typesupport/rmw_*_cpp")})
    if wanted and there and wanted not in there:
        raise StartError(f"cannot start: RMW_IMPLEMENTATION is {wanted}, which is not installed; installed: "
                         f"{', '.join(there)}; install it, or: unset RMW_IMPLEMENTATION")


def start(argv: list[str], context=None) -> None:
    """``rclpy.init``.

    Raises:
        StartError: rclpy refuses arguments or settings (domain, log folder, security).
    """
    import rclpy

    try:
        rclpy.init(args=argv, context=context)
    except RuntimeError as error:  # rclpy's own kinds are not public
        raise _reason(error) from error


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
        raise _reason(error) from error


def _reason(error: RuntimeError) -> StartError:
    return StartError(f"cannot start: {type(error).__name__}: {said(error)}")
