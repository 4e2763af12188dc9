"""The node in this process: its voxels over the very images that they were computed with."""

import cv2
import numpy as np
import pytest
from helpers.rig import LATCHED, NOW, S, send_camera
from helpers.ros_messages import camera_info, cloud, compressed
from sensor_msgs.msg import CompressedImage

from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.image import rgb_from_compressed
from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.node import forms

TOPIC = "/occfusion/overlay/cam_front/compressed"
VOXEL = np.array([[0.1, 4.1, -0.1, 1.0]])  # 3.6 m ahead of the camera, 0.1 m to its right and above it
PIXEL = (round(240 - 500 * 0.1 / 3.6), round(320 + 500 * 0.1 / 3.6))
INFO = camera_info(640, 480, 500.0)
COLOR = {each.label: each.rgb for each in OPENOCCUPANCY_CLASSES}[2]  # 1 + the number of cameras


def scene(brightness: int, stamp: int = NOW) -> CompressedImage:
    return compressed(np.full((480, 640, 3), brightness, np.uint8), stamp_ns=stamp)


def test_voxels_lie_over_the_image_of_their_frame(camera_rig):
    rig = camera_rig
    pictures = rig.listen(CompressedImage, TOPIC, LATCHED)
    for index, brightness in enumerate((60, 180)):
        stamp = NOW + index * S
        send_camera(rig, scene(brightness, stamp), info=INFO)
        rig.send("/lidar_top", cloud(VOXEL, stamp_ns=stamp))
        rig.wait(lambda count=index + 1: len(pictures) == count, "a picture for each answer")
        picture = rgb_from_compressed(pictures[-1], (480, 640)).astype(int)
        assert stamp_ns(pictures[-1].header) == stamp and pictures[-1].format == "rgb8; jpeg compressed bgr8"
        assert picture[PIXEL] == pytest.approx((np.array(COLOR) + brightness) / 2, abs=6)
        assert picture[100, 100] == pytest.approx(np.full(3, brightness), abs=3)
    assert not rig.faults()


def test_nobody_pays_for_a_picture_that_nobody_sees_and_latecomers_get_it(camera_rig, monkeypatch):
    drawn = []
    monkeypatch.setattr(forms, "overlay", lambda *given: drawn.append(given) or np.zeros((4, 4, 3), np.uint8))
    send_camera(camera_rig, scene(90), info=INFO)
    camera_rig.send("/lidar_top", cloud(VOXEL, stamp_ns=NOW))
    camera_rig.wait_for_occupancy(1)
    assert not drawn
    pictures = camera_rig.listen(CompressedImage, TOPIC, LATCHED)
    camera_rig.wait(lambda: pictures, "the picture of the newest answer")
    assert len(drawn) == 1 and drawn[0][0].image is camera_rig.pipeline.frames[0].cameras[0].image
    assert cv2.imdecode(np.frombuffer(pictures[0].data, np.uint8), cv2.IMREAD_COLOR).shape == (4, 4, 3)


def test_without_the_camera_there_is_no_picture(camera_rig):
    pictures = camera_rig.listen(CompressedImage, TOPIC, LATCHED)
    camera_rig.send("/lidar_top", cloud(VOXEL, stamp_ns=NOW))
    camera_rig.wait_for_occupancy(1)
    send_camera(camera_rig, scene(90, NOW + S), info=INFO)
    camera_rig.send("/lidar_top", cloud(VOXEL, stamp_ns=NOW + S))
    camera_rig.wait(lambda: pictures, "a picture once there is an image")
    assert [stamp_ns(picture.header) for picture in pictures] == [NOW + S]


def test_a_camera_whose_name_no_topic_can_have_has_no_picture(caplog):
    assert list(forms.overlaid(("front", "rear left", "side/left"))) == ["front", "side/left"]
    assert "'rear left'" in caplog.text
