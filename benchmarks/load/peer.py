"""A node as it is often written, to compare with: `python -m benchmarks.load.peer --ros-args -p ...`.

Everything happens in one callback: messages of all topics are paired by approximate time, points are converted one by
one, images are unpacked one after the other, and markers are built from Python objects. The model, the pipeline and the
parameters are those of the real node.
"""

import itertools
import struct
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from occfusion_ros.core.frames import CameraImage, OccupancyGrid, SensorFrame
from occfusion_ros.ros.conversions.camera_info import Calibration, calibration_from_info
from occfusion_ros.ros.conversions.image import rgb_from_compressed, rgb_from_image
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns
from occfusion_ros.ros.node.parameters import NodeParameters, declare_parameters
from occfusion_ros.ros.startup.dds import use_shared_memory_profile
from occfusion_ros.ros.transforms.buffer import make_transform_buffer
from occfusion_ros.ros.transforms.tree import TransformError
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

QUEUE, SLOP_S = 10, 0.1  # as in message_filters' examples


class ApproximateTime:
    """What the `ApproximateTimeSynchronizer` of message_filters (in Python) does.

    Args:
        topics: number of topics. callback: is given one message of each.
    """

    def __init__(self, topics: int, callback: Callable[..., None]) -> None:
        self._queues: list[dict[int, Any]] = [{} for _ in range(topics)]
        self._callback = callback

    def add(self, topic: int, message: Any) -> None:
        """Take a message; where it completes a set, call back."""
        mine, stamp = self._queues[topic], stamp_ns(message.header)
        mine[stamp] = message
        while len(mine) > QUEUE:
            del mine[min(mine)]
        slop = round(SLOP_S * 1e9)
        near = [sorted((s for s in queue if abs(s - stamp) <= slop), key=lambda s: abs(s - stamp))
                if queue is not mine else [stamp] for queue in self._queues]
        for stamps in itertools.product(*near):
            if max(stamps) - min(stamps) < slop:
                self._callback(*(queue.pop(s) for queue, s in zip(self._queues, stamps)))
                return


class Peer(Node):
    """The node."""

    def __init__(self) -> None:
        super().__init__("peer")
        declare_parameters(self)
        values = {field.name: self.get_parameter(field.name).value for field in fields(NodeParameters)}
        self.settings = NodeParameters(**values)
        self.pipeline = Pipeline.load(self.settings.model, self.settings.backend,
                                      settings=BackendSettings(self.settings.threads))
        self.transforms, self.calibrations = make_transform_buffer(self), {}
        self.markers = self.create_publisher(MarkerArray, "~/markers", 5)
        topics = self.settings.camera_topics()
        self.synchronizer = ApproximateTime(1 + len(topics), self.on_frame)
        self.create_subscription(PointCloud2, self.settings.lidar_topic, lambda m: self.synchronizer.add(0, m), 10)
        for index, (name, (image_topic, info_topic)) in enumerate(topics.items(), 1):
            kind = CompressedImage if self.settings.is_compressed(image_topic) else Image
            self.create_subscription(kind, image_topic, lambda m, i=index: self.synchronizer.add(i, m), 10)
            self.create_subscription(CameraInfo, info_topic, lambda m, n=name: self.on_info(n, m), 10)

    def on_info(self, name: str, info: CameraInfo) -> None:
        """Keep a calibration."""
        self.calibrations[name]: Calibration = calibration_from_info(info)

    def on_frame(self, cloud: PointCloud2, *images: Image | CompressedImage) -> None:
        """Convert, run, convert, publish."""
        try:
            cameras = [self.camera(name, image, cloud) for name, image in zip(self.settings.cameras, images)]
        except (KeyError, TransformError):
            return  # calibration or transforms have not come yet
        frame = SensorFrame(stamp_ns(cloud.header), points_one_by_one(cloud), tuple(cameras), (), cloud.header.frame_id)
        self.markers.publish(marker_objects(self.pipeline(frame), self.pipeline.contract.classes))

    def camera(self, name: str, image: Image | CompressedImage, cloud: PointCloud2) -> CameraImage:
        """One camera of a frame."""
        pose = self.transforms.lookup(image.header.frame_id, cloud.header.frame_id, stamp_ns(cloud.header))
        pixels = rgb_from_image(image) if isinstance(image, Image) else rgb_from_compressed(image)
        return CameraImage(name, pixels, self.calibrations[name].intrinsics, pose)


def points_one_by_one(cloud: PointCloud2) -> np.ndarray:
    """(N, 4) float32 points of a cloud with x, y, z and intensity as floats in a row."""
    points = []
    for x, y, z, intensity in struct.iter_unpack("<ffff", cloud.data):
        points.append([x, y, z, intensity])
    return np.array(points, np.float32)


def marker_objects(grid: OccupancyGrid, classes: tuple) -> MarkerArray:
    """A list of cubes for each class, every occupied voxel a Point."""
    markers, header = [], header_from(grid.stamp_ns, grid.frame_id)
    (low_x, low_y, low_z), edge = grid.spec.low, grid.spec.voxel_size
    for kind in classes:
        red, green, blue = (channel / 255 for channel in kind.rgb)
        marker = Marker(header=header, ns=kind.name, id=kind.label, type=Marker.CUBE_LIST,
                        color=ColorRGBA(r=red, g=green, b=blue, a=1.0))
        marker.scale.x = marker.scale.y = marker.scale.z = edge
        markers.append(marker)
    for i, j, k in np.argwhere(grid.labels).tolist():
        cube = Point(x=low_x + (i + 0.5) * edge, y=low_y + (j + 0.5) * edge, z=low_z + (k + 0.5) * edge)
        markers[grid.labels[i, j, k] - 1].points.append(cube)
    for marker in markers:
        marker.action = Marker.ADD if marker.points else Marker.DELETE
    return MarkerArray(markers=markers)


def main() -> int:
    """Run until interrupted."""
    use_shared_memory_profile()
    rclpy.init(args=sys.argv)
    try:
        rclpy.spin(Peer())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
