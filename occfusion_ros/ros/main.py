"""Runs the node: `ros2 run occfusion_ros occfusion_node`, or `python -m occfusion_ros.ros.main`."""

import argparse
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


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted; 1 if the node could not start."""
    argv = sys.argv if argv is None else [NAME, *argv]
    argparse.ArgumentParser(
        prog="occfusion_node", description="Semantic occupancy from LiDAR sweeps and camera images.",
        epilog="Parameters are set as with any ROS node:\n  --ros-args -p model:=nano --params-file FILE\n"
               "For a table of them: python -m occfusion_ros.ros.parameters",
        formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(remove_ros_args(argv)[1:])
    use_shared_memory_profile()
    rclpy.init(args=argv)
    try:
        return _run()
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


def _run() -> int:
    executor = SingleThreadedExecutor()
    node = OccFusionNode()
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


if __name__ == "__main__":
    sys.exit(main())
