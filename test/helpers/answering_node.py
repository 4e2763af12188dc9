"""A node that publishes known voxels and listens to sensor data that it publishes itself, as far as tools can tell."""

import io
import threading

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from PIL import Image as Picture
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from std_msgs.msg import Float64
from tf2_msgs.msg import TFMessage

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.occupancy_grid import class_table, message_from_grid
from occfusion_ros.ros.conversions.stamps import header_from

from .ros_messages import camera_info, cloud

STAMP = 1_532_402_927_647_951_000
SWEEP = np.array([[1.0, 2.0, 0.5, 0.25], [-3.0, 0.0, -1.0, 1.0], [0.0, 3.5, 0.0, 0.0]])
CAMERA_AT, FOCAL = (0.0, -6.0, 0.0), 150.0  # metres in the grid frame, where it looks along y; pixels
FORWARD = Quaternion(x=-np.sqrt(0.5), y=0.0, z=0.0, w=np.sqrt(0.5))
CYAN, YELLOW = (0, 255, 255), (255, 255, 0)


def jpeg(rgb: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (320, 180), rgb).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


class Source:
    """Publishes what the occupancy node publishes, again and again, until closed."""

    def __init__(
        self,
        name: str = "occfusion",
        cameras: tuple[str, ...] = ("cam_a",),
        outputs: str = "~",
        images: str = "",
        sensors: bool = False,
    ) -> None:
        """
        Args:
            outputs: where the occupancy is published, as by a remap.
            images: where the one camera's images are.
            sensors: whether there are a sweep, calibrations, transforms, diagnostics and a stage time too.
        """
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        labels = np.zeros((40, 40, 20), np.uint8)
        labels[10:30, 10:30, 5:9] = 4
        labels[35:] = 255  # unknown space is not drawn
        spec, remembered = GridSpec((-4.0, -4.0, -2.0), 0.2, (40, 40, 20)), np.flatnonzero(labels == 4)[:9]
        self.grid = OccupancyGrid(spec, labels, STAMP, "lidar_top", cameras, "m", remembered=remembered)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.classes = self.node.create_publisher(SemanticClasses, f"{outputs}/classes", latched)
        self.classes.publish(class_table("m", OPENOCCUPANCY_CLASSES, STAMP))
        self.occupancy = self.node.create_publisher(OccupancyGrid3D, f"{outputs}/occupancy", 10)
        self.message = message_from_grid(self.grid)
        best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        topics = [images] if images else [f"/{camera}/image_rect_compressed" for camera in cameras]
        self.images = [self.node.create_publisher(CompressedImage, topic, best_effort) for topic in topics]
        for topic in topics:  # the real node listens; the snapshot finds the topics by that
            self.node.create_subscription(CompressedImage, topic, lambda _: None, best_effort)
        self.others = self.sensors(cameras) if sensors else []
        self.node.create_timer(0.1, self.publish)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def sensors(self, cameras: tuple[str, ...]) -> list[tuple]:
        """Publishers and messages of everything else, which the node listens to where it is a sensor's."""
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        pose = TransformStamped(
            header=header_from(STAMP, "lidar_top"),
            child_frame_id="cam",
            transform=Transform(translation=Vector3(**dict(zip("xyz", CAMERA_AT))), rotation=FORWARD),
        )
        self.node.create_publisher(TFMessage, "/tf_static", latched).publish(TFMessage(transforms=[pose]))
        status = DiagnosticStatus(level=b"\1", name="occfusion: inputs", message="slow", hardware_id="/occfusion")
        foreign = DiagnosticStatus(level=b"\2", name="arm: inputs", message="broken", hardware_id="/arm")
        sent = {
            "/lidar_top": cloud(SWEEP, stamp_ns=STAMP),
            "/diagnostics": DiagnosticArray(status=[status, foreign]),
            "/occfusion/debug/processing_time_ms/fuser": Float64(data=12.5),
        } | {f"/{name}/camera_info": camera_info(320, 180, FOCAL) for name in cameras}
        for topic, message in sent.items():
            if isinstance(message, (PointCloud2, CameraInfo)):
                self.node.create_subscription(type(message), topic, lambda _: None, 5)
        return [(self.node.create_publisher(type(message), topic, 5), message) for topic, message in sent.items()]

    def spin(self) -> None:
        try:
            self.executor.spin()
        except rclpy.executors.ExternalShutdownException:
            pass

    def publish(self) -> None:
        own = {DiagnosticArray: 0, Float64: 0}  # subscriptions, of which sensors have one
        awaited = [(publisher, CompressedImage) for publisher in self.images]
        awaited += [(publisher, type(message)) for publisher, message in self.others]
        if any(publisher.get_subscription_count() <= own.get(kind, 1) for publisher, kind in awaited):
            return
        for publisher, message in self.others:
            publisher.publish(message)
        for publisher in self.images:
            publisher.publish(CompressedImage(header=header_from(STAMP + 40_000_000, "cam"), data=jpeg(CYAN)))
            publisher.publish(CompressedImage(header=header_from(STAMP + 90_000_000, "cam"), data=jpeg(YELLOW)))
        self.occupancy.publish(self.message)

    def close(self) -> None:
        rclpy.shutdown(context=self.context)
        self.thread.join()
        self.node.destroy_node()
