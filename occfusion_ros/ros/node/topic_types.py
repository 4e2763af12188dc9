"""What to do where a topic carries another type than the one that is wanted."""

from collections.abc import Collection

CLOUD, SCAN = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/LaserScan"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"

_VIDEO = (
    "video cannot be decoded here: have the driver publish JPEG (compressed), or decode it first, for example "
    "with ros2 run image_transport republish"
)
_PACKETS = "these are packets as the sensor sends them: start the part of the driver that turns them into {wanted}"

# By the end of the package's name or the name of the message, since drivers rename their packages.
_BY_PACKAGE = {
    "livox": "set the Livox driver's xfer_format to 0 (PointCloud2), or to 2 with older drivers",
    "velodyne": _PACKETS + " (velodyne_pointcloud, velodyne_transform_node)",
    "ouster": _PACKETS + " (ouster_ros, os_cloud), and name its topic .../points",
    "hesai": _PACKETS + " (send_point_cloud_ros: true)",
    "rslidar": _PACKETS + " (send_point_cloud_ros: true)",
    "robosense": _PACKETS + " (send_point_cloud_ros: true)",
    "ffmpeg_image_transport": _VIDEO,
    "theora_image_transport": _VIDEO,
    "h264": _VIDEO,
    "x264": _VIDEO,
}
_BY_TYPE = {
    "foxglove_msgs/msg/CompressedVideo": _VIDEO,
    SCAN: "that is a scan in one plane: a LiDAR with several beams is needed",
    "sensor_msgs/msg/PointCloud": "convert it (point_cloud_converter), or have the driver publish PointCloud2",
}
_BY_PAIR = {
    (COMPRESSED, IMAGE): "set image_transport to raw, or name the topic of the compressed images",
    (IMAGE, COMPRESSED): "set image_transport to compressed, or name the topic of the raw images",
    (CLOUD, IMAGE): "that is a depth image or a picture: name the topic of the point cloud",
}


def type_name(kind: type) -> str:
    """Name of a message's class, such as ``sensor_msgs/msg/Image``."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def other_types(wanted: str, published: Collection[str]) -> str:
    """What is wrong and what to do where only other types than `wanted` are published; empty where nothing is wrong."""
    if not published or wanted in published:
        return ""
    got = sorted(published)
    return f"expected {wanted}, but {', '.join(got)} is published: {_remedy(wanted, got[0])}"


def _remedy(wanted: str, got: str) -> str:
    if (wanted, got) in _BY_PAIR:
        return _BY_PAIR[wanted, got]
    package = next((remedy for name, remedy in _BY_PACKAGE.items() if name in got.split("/")[0].lower()), None)
    remedy = _BY_TYPE.get(got) or package or "correct the topic's name in the parameters, or the driver's settings"
    return remedy.format(wanted=wanted.split("/")[-1])
