"""A sensor frame as the messages that cameras, LiDARs and TF would send."""

import array
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.frames import CameraImage, SensorFrame

BASE, MAP = "base_link", "map"
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Messages:
    """One frame as it comes over ROS; `frame` is what it becomes."""

    cloud: Any  # sensor_msgs.msg.PointCloud2
    images: list[Any]  # sensor_msgs.msg.CompressedImage
    frame: SensorFrame


def messages_of(frame: SensorFrame) -> Messages:
    """A frame as a cloud and JPEG images, as cameras and LiDARs send them."""
    from sensor_msgs.msg import PointCloud2, PointField

    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    points = np.ascontiguousarray(frame.points, np.float32)
    cloud = PointCloud2(
        height=1,
        width=len(points),
        fields=fields,
        point_step=16,
        row_step=points.nbytes,
        data=array.array("B", points.tobytes()),
    )
    return Messages(cloud, [jpeg_image(camera.image) for camera in frame.cameras], frame)


def jpeg_image(pixels: np.ndarray) -> Any:
    """CompressedImage of (H, W, 3) uint8 RGB pixels."""
    from PIL import Image
    from sensor_msgs.msg import CompressedImage

    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=JPEG_QUALITY)
    return CompressedImage(format="jpeg", data=array.array("B", jpeg.getvalue()))


def raw_image(pixels: np.ndarray) -> Any:
    """Image of (H, W, 3) uint8 RGB pixels."""
    from sensor_msgs.msg import Image

    height, width, _ = pixels.shape
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=array.array("B", pixels.tobytes()))


def camera_info(camera: CameraImage) -> Any:
    """CameraInfo of a rectified camera."""
    from sensor_msgs.msg import CameraInfo

    height, width, _ = camera.image.shape
    projection = np.c_[camera.intrinsics, np.zeros(3)]
    return CameraInfo(
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=camera.intrinsics.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
    )


def transform(parent: str, child: str, parent_from_child: np.ndarray, stamp_ns: int = 0) -> Any:
    """TransformStamped of a rigid (4, 4)."""
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

    from occfusion_ros.ros.conversions.stamps import header_from
    from synthetic.recording.tables import quaternion

    (x, y, z), (qw, qx, qy, qz) = parent_from_child[:3, 3].tolist(), quaternion(parent_from_child)
    return TransformStamped(
        header=header_from(stamp_ns, parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def save_frame(frame: SensorFrame, path: Path) -> None:
    """Write a frame for another process; cameras of one size."""
    np.savez(
        path,
        points=frame.points,
        names=[c.name for c in frame.cameras],
        images=np.stack([c.image for c in frame.cameras]),
        intrinsics=[c.intrinsics for c in frame.cameras],
        camera_from_grid=[c.camera_from_grid for c in frame.cameras],
    )


def load_frame(path: Path) -> SensorFrame:
    """What `save_frame` wrote."""
    with np.load(path) as saved:
        cameras = zip(saved["names"].tolist(), saved["images"], saved["intrinsics"], saved["camera_from_grid"])
        return SensorFrame(0, saved["points"], tuple(CameraImage(*camera) for camera in cameras))
