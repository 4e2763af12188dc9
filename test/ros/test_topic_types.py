"""Remedies for topics of another type."""

import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from occfusion_ros.ros.node.topic_types import CLOUD, COMPRESSED, IMAGE, INFO, other_types, type_name


def test_names_are_those_of_the_types():
    names = [type_name(kind) for kind in (PointCloud2, Image, CompressedImage, CameraInfo)]
    assert names == [CLOUD, IMAGE, COMPRESSED, INFO]


@pytest.mark.parametrize(
    ("wanted", "got", "remedy"),
    [
        (CLOUD, "livox_ros_driver2/msg/CustomMsg", "xfer_format"),
        (CLOUD, "livox_ros_driver/msg/CustomMsg", "xfer_format"),
        (CLOUD, "livox_interfaces/msg/CustomMsg", "xfer_format"),
        (CLOUD, "velodyne_msgs/msg/VelodyneScan", "PointCloud2"),
        (CLOUD, "ouster_sensor_msgs/msg/PacketMsg", "os_cloud"),
        (CLOUD, "hesai_ros_driver/msg/UdpFrame", "send_point"),
        (CLOUD, "sensor_msgs/msg/LaserScan", "one plane"),
        (COMPRESSED, IMAGE, "image_transport to raw"),
        (IMAGE, COMPRESSED, "image_transport to compressed"),
        (COMPRESSED, "foxglove_msgs/msg/CompressedVideo", "JPEG"),
        (IMAGE, "ffmpeg_image_transport_msgs/msg/FFMPEGPacket", "republish"),
        (IMAGE, "theora_image_transport/msg/Packet", "republish"),
        (INFO, "std_msgs/msg/String", "topic's name"),
    ],
)
def test_both_types_and_the_remedy_are_named(wanted, got, remedy):
    text = other_types(wanted, [got])
    assert wanted in text and got in text and remedy in text and "{" not in text


def test_the_right_type_and_no_publisher_are_no_fault():
    assert other_types(CLOUD, []) == "" and other_types(CLOUD, [IMAGE, CLOUD]) == ""
