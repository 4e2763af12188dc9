"""Sensors on another machine: sends sweeps and images for some seconds and prints what the node made of them as JSON.

Run as a program, in the other network namespace. As drivers do, it sends with best effort.
"""

import json
import sys
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from tf2_msgs.msg import TFMessage

from helpers.rig import LATCHED, POINTS, SCENE
from helpers.ros_messages import camera_info, cloud, compressed
from occfusion_msgs.msg import OccupancyGrid3D
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns

PERIOD_S, PATIENCE_S, AFTER_S = 0.2, 40.0, 3.0


def main(seconds: float) -> None:
    """Send for so long."""
    rclpy.init()
    node = rclpy.create_node("sensors")
    answers, reports, sent = [], [], []
    node.create_subscription(OccupancyGrid3D, "/occfusion/occupancy", answers.append, qos_profile_sensor_data)
    node.create_subscription(DiagnosticArray, "/diagnostics", reports.append, 10)
    lidar = node.create_publisher(PointCloud2, "/lidar_top", qos_profile_sensor_data)
    camera = node.create_publisher(CompressedImage, "/cam_front/image_rect_compressed", qos_profile_sensor_data)
    calibration = node.create_publisher(CameraInfo, "/cam_front/camera_info", qos_profile_sensor_data)
    transform = TransformStamped(header=header_from(0, "lidar_top"), child_frame_id="cam_front")
    node.create_publisher(TFMessage, "/tf_static", LATCHED).publish(TFMessage(transforms=[transform]))
    end = time.monotonic() + PATIENCE_S
    while not (reports and camera.get_subscription_count() and lidar.get_subscription_count()):
        assert time.monotonic() < end, "the node was not found"
        rclpy.spin_once(node, timeout_sec=0.1)
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds + AFTER_S:
        if start + PERIOD_S * len(sent) <= now < start + seconds:
            sent.append(time.time_ns())
            calibration.publish(camera_info())
            camera.publish(compressed(SCENE, stamp_ns=sent[-1]))
            lidar.publish(cloud(POINTS, stamp_ns=sent[-1]))
        rclpy.spin_once(node, timeout_sec=0.02)
    reported = {entry.key: entry.value for status in reports[-1].status for entry in status.values}
    print(
        json.dumps(
            {
                "sent": sent,
                "answered": [stamp_ns(answer.header) for answer in answers],
                "cameras": [answer.cameras for answer in answers],
                "reported": reported,
            }
        )
    )
    rclpy.shutdown()


if __name__ == "__main__":
    main(float(sys.argv[1]))
