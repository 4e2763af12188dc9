"""Publish one static transform on /tf_static: what tf2_ros' command of the same name does, for where it is missing."""

import argparse
import math
import sys


def quaternion(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w) of turns by roll about x, then pitch about y, then yaw about z (fixed axes, rad)."""
    (sr, cr), (sp, cp), (sy, cy) = ((math.sin(angle / 2), math.cos(angle / 2)) for angle in (roll, pitch, yaw))
    return (sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy)


def transform_message(options: argparse.Namespace):
    """The TFMessage for the parsed options, stamped zero: a static transform is valid at all times."""
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from std_msgs.msg import Header
    from tf2_msgs.msg import TFMessage
    x, y, z, w = quaternion(options.roll, options.pitch, options.yaw)
    transform = Transform(translation=Vector3(x=options.x, y=options.y, z=options.z),
                          rotation=Quaternion(x=x, y=y, z=z, w=w))
    return TFMessage(transforms=[TransformStamped(header=Header(frame_id=options.frame_id), transform=transform,
                                                  child_frame_id=options.child_frame_id)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="static_transform_publisher", description=__doc__)
    for axis in ("x", "y", "z"):
        parser.add_argument(f"--{axis}", type=float, default=0.0, help=f"translation along {axis}, metres")
    for angle in ("roll", "pitch", "yaw"):
        parser.add_argument(f"--{angle}", type=float, default=0.0, help=f"{angle}, radians")
    parser.add_argument("--frame-id", required=True, help="parent frame")
    parser.add_argument("--child-frame-id", required=True, help="child frame")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Publish until SIGINT or SIGTERM."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from rclpy.utilities import remove_ros_args
    from tf2_msgs.msg import TFMessage

    from .dds import use_shared_memory_profile
    given = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(remove_ros_args(given))
    use_shared_memory_profile()
    rclpy.init(args=given)
    try:
        node = rclpy.create_node("static_transform_publisher")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_publisher(TFMessage, "/tf_static", latched).publish(transform_message(options))
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
