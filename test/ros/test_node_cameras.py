"""Cameras of every kind in the node: bodies and lenses, stereo pairs, and what it says of them."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import NO_TURN, NOW, OPTICAL, POINTS, RIGHT, SCENE, Rig, send_camera, values
from helpers.ros_messages import camera_info, cloud, image

from occfusion_ros.core.lens import BROWN

DISTORTED = [-0.3, 0.1, 0.0, 0.0, 0.0]
AROUND = np.stack(
    [
        (reach * np.sin(angle), reach * np.cos(angle), height, 0.5)
        for angle in np.arange(0, 2 * np.pi, 0.05)
        for reach, height in ((6.0, -1.5), (9.0, 0.3))
    ]
)


def answer(rig: Rig, points: np.ndarray = POINTS) -> None:
    rig.send("/lidar_top", cloud(points, stamp_ns=NOW))
    rig.wait_for_occupancy(1)


def test_a_camera_in_a_body_frame_is_reported_with_what_to_do(start):
    rig = start(cameras=["cam_front"])
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), NO_TURN)  # x forward, z up
    send_camera(rig)
    answer(rig, AROUND)
    state = rig.wait_for_status("cameras", DiagnosticStatus.WARN, "body frame")
    assert "cam_front (0.0% of the returns)" in state.message and "optical frame" in state.message
    assert "0.0% of the returns" in values(state)["cam_front"]


def test_a_camera_in_its_optical_frame_is_not_doubted(camera_rig):
    send_camera(camera_rig)
    answer(camera_rig, AROUND)
    state = camera_rig.wait_for_status("cameras", DiagnosticStatus.OK)
    assert "rectified already (its topic is '/cam_front/image_rect_compressed')" in values(state)["cam_front"]
    assert "of the returns" in values(state)["cam_front"]


def test_p_equal_to_k_with_distortion_is_doubted_and_the_image_used(camera_rig):
    info = camera_info(d=DISTORTED, k=[50.0, 0, 32, 0, 50, 24, 0, 0, 1])
    send_camera(camera_rig, info=info)
    answer(camera_rig)
    assert camera_rig.pipeline.frames[0].cameras[0].lens is None
    camera_rig.wait_for_status("cameras", DiagnosticStatus.WARN, "P equals K")


@pytest.mark.parametrize(
    "parameters, topic",
    [
        ({}, "/cam_front/image_raw"),
        ({"images_rectified": False}, "/cam_front/image_rect"),
        ({"images_rectified": "false"}, "/cam_front/image"),
    ],
)
def test_distorted_images_get_their_lens(start, parameters, topic):
    rig = start(cameras=["cam_front"], image_topics=[topic], **parameters)
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
    rig.send("/cam_front/camera_info", camera_info(d=DISTORTED, p=[40.0, 0, 30, 0, 0, 40, 22, 0, 0, 0, 1, 0]))
    rig.send(topic, image(SCENE, "rgb8", stamp_ns=NOW))
    answer(rig)
    (camera,) = rig.pipeline.frames[0].cameras
    assert camera.lens.model == BROWN and camera.lens.coefficients == tuple(DISTORTED[:2])
    assert camera.intrinsics[0, 0] == 40 and camera.lens.matrix[0] == 50
    state = rig.wait_for_status("cameras", DiagnosticStatus.OK)
    assert "undistorted here by 'plumb_bob'" in values(state)["cam_front"]


def test_a_stereo_pair_in_one_frame_stands_as_far_apart_as_p_says(start):
    rig = start(cameras=["left", "right"], image_topics=["/{camera}/image_rect"])
    rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
    rig.send_transform("base_link", "left", (1.5, 0.0, 1.8), OPTICAL)
    rig.send("/left/camera_info", camera_info())
    rig.send("/right/camera_info", camera_info(p=[50.0, 0, 32, -6, 0, 50, 24, 0, 0, 0, 1, 0]))
    for name in ("left", "right"):
        rig.send(f"/{name}/image_rect", image(SCENE, "rgb8", stamp_ns=NOW, frame_id="left"))
    answer(rig)
    left, right = sorted(rig.pipeline.frames[0].cameras, key=lambda camera: camera.name)
    np.testing.assert_allclose((right.camera_from_grid - left.camera_from_grid)[:3, 3], (-0.12, 0, 0), atol=1e-12)


def test_how_images_are_taken_is_said_in_the_log_once(camera_rig, capfd):
    for _ in range(3):
        camera_rig.send("/cam_front/camera_info", camera_info())
    send_camera(camera_rig)
    answer(camera_rig)
    assert capfd.readouterr().err.count("cam_front: images are rectified already") == 1
