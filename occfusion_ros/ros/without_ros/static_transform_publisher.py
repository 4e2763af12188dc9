"""Publish one static transform on /tf_static: what tf2_ros' command of the same name does, for where it is missing."""

import argparse
import math
import sys
import threading
from collections.abc import Callable
from functools import partial

from ...core.command import failed, parser_of
from ..startup.interrupts import run_until_interrupted
from ..startup.rclpy_start import StartError, check_middleware_installed, running_node


def quaternion(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w) of turns by roll about x, then pitch about y, then yaw about z (fixed axes, rad)."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(angle / 2), math.cos(angle / 2)) for angle in (roll, pitch, yaw))
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


def transform_message(options: argparse.Namespace):
    """The TFMessage for the parsed options, stamped zero: a static transform is valid at all times."""
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage

    x, y, z, w = quaternion(options.roll, options.pitch, options.yaw)
    transform = Transform(
        translation=Vector3(x=options.x, y=options.y, z=options.z), rotation=Quaternion(x=x, y=y, z=z, w=w)
    )
    return TFMessage(
        transforms=[
            TransformStamped(
                header=Header(frame_id=options.frame_id), transform=transform, child_frame_id=options.child_frame_id
            )
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("static_transform_publisher", __doc__)
    for axis in ("x", "y", "z"):
        parser.add_argument(f"--{axis}", type=float, default=0.0, help=f"translation along {axis}, metres")
    for angle in ("roll", "pitch", "yaw"):
        parser.add_argument(f"--{angle}", type=float, default=0.0, help=f"{angle}, radians")
    parser.add_argument("--frame-id", required=True, help="parent frame")
    parser.add_argument("--child-frame-id", required=True, help="child frame")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Publish until SIGINT or SIGTERM."""
    return run_until_interrupted(
        partial(_load, sys.argv[1:] if argv is None else argv), "static_transform_publisher", exit_code=0
    )


def _load(argv: list[str]) -> Callable[[], int]:
    try:
        check_middleware_installed()
    except StartError as error:
        return partial(failed, error)
    import tf2_msgs.msg  # noqa: F401 - takes long, as rclpy does
    from rclpy.utilities import remove_ros_args

    return partial(_publish, _parser().parse_args(remove_ros_args(argv)), argv)


def _publish(options: argparse.Namespace, argv: list[str]) -> int:
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from tf2_msgs.msg import TFMessage

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    try:
        with running_node("static_transform_publisher", argv, start_parameter_services=False) as node:
            node.create_publisher(TFMessage, "/tf_static", latched).publish(transform_message(options))
            while not threading.Event().wait(1.0):  # nothing to spin: the middleware serves who comes late
                pass  # again and again, because a signal just before one long wait would not end it
    except StartError as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
