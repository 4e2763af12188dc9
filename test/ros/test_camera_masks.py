"""Masks: files, what is refused, and what reaches the frames."""

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import NOW, POINTS, SCENE, send_camera
from helpers.ros_messages import cloud

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import ImageMask
from occfusion_ros.ros.node.camera_masks import check_mask, read_masks
from occfusion_ros.ros.node.parameters import NodeParameters, ParameterError

MASK = np.full((48, 64), 255, np.uint8)
MASK[40:] = 0


def save(path, image: np.ndarray = MASK, kind: str = ".png") -> None:
    path.write_bytes(cv2.imencode(kind, image)[1].tobytes())


def masks(*files: str, cameras: tuple[str, ...] = ("a", "b")) -> dict:
    return read_masks(NodeParameters(cameras=cameras, camera_masks=files))


def test_black_hides_and_cameras_without_a_file_have_no_mask(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "color.png", np.repeat(MASK[..., None], 3, 2))
    assert masks() == {} and masks("") == {}
    for files in ((f"{tmp_path}/{{camera}}.png",), (f"{tmp_path}/a.png", "none"), (f"{tmp_path}/color.png", "none")):
        found = masks(*files)
        assert list(found) == ["a"]
        np.testing.assert_array_equal(found["a"].hidden, MASK < 128)


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "cannot read .*a.png"),
        (b"", "expected JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (cv2.imencode(".jpg", MASK)[1].tobytes(), "expected a PNG .* got a jpeg"),
        (cv2.imencode(".png", MASK * 0)[1].tobytes(), "hides the whole image"),
        (cv2.imencode(".png", MASK)[1].tobytes()[:-20], "cut short"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ParameterError, match=message):
        masks(f"{tmp_path}/a.png", "none")


def test_a_pattern_that_names_no_file_and_a_list_of_another_length_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="none of the files is there: .*a.png, .*b.png"):
        masks(f"{tmp_path}/{{camera}}.png")
    with pytest.raises(ParameterError, match="camera_masks: expected one pattern with {camera} or 2 files"):
        masks(f"{tmp_path}/a.png")


@pytest.mark.parametrize(
    "size, fits", [((48, 64), True), ((900, 1200), True), ((24, 32), True), ((48, 65), False), ((64, 48), False)]
)
def test_a_mask_must_have_the_aspect_of_the_images(size, fits):
    mask = ImageMask(np.zeros((48, 64), bool))
    if fits:
        check_mask(mask, size)
    else:
        with pytest.raises(InvalidFrameError, match=r"got \(48, 64\)"):
            check_mask(mask, size)


@pytest.fixture
def masked_rig(start, tmp_path):
    from helpers.rig import OPTICAL, RIGHT

    def make(mask: np.ndarray):
        save(tmp_path / "cam_front.png", mask)
        rig = start(cameras=["cam_front"], camera_masks=[f"{tmp_path}/{{camera}}.png"])
        rig.send_transform("base_link", "lidar_top", (1.0, 0.0, 2.0), RIGHT)
        rig.send_transform("base_link", "cam_front", (1.5, 0.0, 1.8), OPTICAL)
        send_camera(rig)
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
        rig.wait_for_occupancy(1)
        return rig

    return make


def test_the_node_hands_masks_on(masked_rig):
    (camera,) = masked_rig(MASK).pipeline.frames[0].cameras
    np.testing.assert_array_equal(camera.mask.hidden, MASK < 128)
    assert camera.image.shape == SCENE.shape


def test_a_mask_of_another_aspect_leaves_the_camera_out_and_is_reported(masked_rig):
    rig = masked_rig(MASK[:30])
    assert rig.pipeline.frames[0].cameras == () and rig.faults() == {"image cam_front": 1}


def test_a_missing_mask_keeps_the_node_unconfigured_and_is_named(start, tmp_path):
    rig = start(cameras=["cam_front"], camera_masks=[f"{tmp_path}/{{camera}}.png"], autostart=False)
    assert not rig.node.start() and "cam_front.png" in rig.node.failure
    save(tmp_path / "cam_front.png")
    rig.start()
    rig.wait_for_status("state", DiagnosticStatus.OK, "active")
