"""CameraInfo conversion."""

import cv2
import numpy as np
import pytest
from helpers.ros_messages import camera_info
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.lens import BROWN, FISHEYE
from occfusion_ros.ros.conversions.camera_info import RECTIFIED, calibration_from_info

K = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
OTHER_P = [40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0]
P = [[40, 0, 30], [0, 41, 20], [0, 0, 1]]
DISTORTED = [0.1, 0.01, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "fields, rectified, expected",
    [
        ({}, "true", K),
        ({}, "false", K),
        ({"p": OTHER_P}, "true", P),
        ({"p": OTHER_P}, "false", K),
        ({"p": OTHER_P}, "auto", K),
        ({"p": [0.0] * 12}, "true", K),
        ({"p": OTHER_P, "d": DISTORTED}, "true", P),
        ({"p": OTHER_P, "d": DISTORTED}, "false", P),
        ({"p": OTHER_P, "d": DISTORTED}, "auto", P),
        ({"p": [0.0] * 12, "d": DISTORTED}, "auto", K),
        ({"p": [0.0] * 12, "d": DISTORTED}, "true", K),
        ({"d": []}, "false", K),
        ({"r": [0.0] * 9}, "true", K),
        ({"roi": RegionOfInterest(width=64, height=48)}, "true", K),
        ({"binning_x": 1, "binning_y": 1}, "true", K),
    ],
)
def test_which_matrix_counts(fields, rectified, expected):
    calibration = calibration_from_info(camera_info(**fields), rectified)
    assert calibration.size == (48, 64) and calibration.intrinsics.dtype == np.float64
    np.testing.assert_array_equal(calibration.intrinsics, expected)
    assert (calibration.lens is not None) == (rectified != "true" and "d" in fields and any(fields["d"]))


@pytest.mark.parametrize(
    "topic, rectified",
    [
        ("/cam_front/image_rect_compressed", True),
        ("/cam/image_rect", True),
        ("/cam/image_rect_color/compressed", True),
        ("/zed/rgb/color/rect/image", True),
        ("/cam/rectified", True),
        ("/cam/image_raw", False),
        ("/cam/image", False),
        ("/direct/image_raw/compressed", False),
        ("", False),
    ],
)
def test_auto_goes_by_the_name_of_the_topic(topic, rectified):
    calibration = calibration_from_info(camera_info(d=DISTORTED, p=OTHER_P), "auto", topic)
    assert (calibration.lens is None) == rectified
    assert calibration.taken.startswith("rectified" if rectified else "undistorted")


@pytest.mark.parametrize(
    "model, count, lens",
    [
        ("plumb_bob", 5, BROWN),
        ("", 5, BROWN),
        ("", 4, BROWN),
        ("radtan", 4, BROWN),
        ("radial-tangential", 4, BROWN),
        ("Brown-Conrady", 5, BROWN),
        ("rational_polynomial", 8, BROWN),
        ("plumb_bob", 8, BROWN),
        ("rational_polynomial", 14, BROWN),
        ("thin_prism", 12, BROWN),
        ("equidistant", 4, FISHEYE),
        ("fisheye", 4, FISHEYE),
        ("kannala_brandt4", 4, FISHEYE),
        ("Kannala Brandt4", 4, FISHEYE),
        ("KB4", 4, FISHEYE),
        ("equidistant", 5, FISHEYE),
    ],
)
def test_models_go_by_many_names(model, count, lens):
    coefficients = [0.01, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-3][:count]
    got = calibration_from_info(camera_info(distortion_model=model, d=coefficients), "false").lens
    assert got.model == lens and got.coefficients[:2] == (0.01, 0.001)


@pytest.mark.parametrize(
    "fields, rectified, message",
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "true", "focal"),
        ({"k": [0.0] * 9}, "false", "focal"),
        ({"k": [0.0] * 9, "d": DISTORTED, "p": OTHER_P}, "false", "focal"),
        ({"k": [float("nan")] + [0.0] * 8, "p": [0.0] * 12}, "true", "focal"),
        ({"p": [-40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0]}, "true", "focal"),
        ({"p": [40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 2, 0]}, "true", "pinhole"),
        ({"d": DISTORTED, "distortion_model": "double_sphere"}, "false", "'double_sphere'.*image_proc"),
        ({"d": [0.1] * 5, "distortion_model": "equidistant"}, "false", "'equidistant' with 5 coefficients"),
        ({"d": [float("nan")] * 5}, "false", "finite coefficients"),
        ({"d": [-20.0, 0, 0, 0]}, "false", "% of the image is left"),
        ({"p": [1e7, 0, 32, 0, 0, 50, 24, 0, 0, 0, 1, 0]}, "true", "up to 1e\\+06"),
        ({"p": [50.0, 0, -1e300, 0, 0, 50, 24, 0, 0, 0, 1, 0]}, "true", "pinhole"),
        ({"d": [0.0] * 1000}, "true", "at most 64 coefficients of distortion, got 1000"),
        ({"width": 0}, "true", "positive image size"),
        ({"binning_x": 100}, "true", "binning by 100 x 0 leaves no image"),
        ({"roi": RegionOfInterest(x_offset=1)}, "true", "region of interest within 64 x 48"),
        ({"roi": RegionOfInterest(y_offset=20, width=32, height=48)}, "true", "region of interest"),
        ({"r": [0.0, -2, 0, 1, 0, 0, 0, 0, 1]}, "true", "R to be a rotation"),
        ({"p": [50.0, 0, 32, float("inf"), 0, 50, 24, 0, 0, 0, 1, 0]}, "true", "stereo pair"),
    ],
)
def test_unusable_calibrations_are_refused(fields, rectified, message):
    with pytest.raises(InvalidFrameError, match=message):
        calibration_from_info(camera_info(**fields), rectified)


def test_binning_and_region_of_interest():
    """A pixel of the image that comes lies where the whole image has the middle of those that it was made of."""
    roi = RegionOfInterest(x_offset=8, y_offset=4, width=40, height=30)
    got = calibration_from_info(camera_info(roi=roi, binning_x=2, binning_y=3, d=DISTORTED), "false")
    assert got.size == (10, 20)
    ray = np.array([0.1, -0.2, 1.0])
    whole = K @ ray
    expected = [(whole[0] - 8 - 0.5) / 2, (whole[1] - 4 - 1) / 3]
    np.testing.assert_allclose((got.intrinsics @ ray)[:2], expected)
    full = calibration_from_info(camera_info(d=DISTORTED), "false").lens.pixels(ray)
    np.testing.assert_allclose(got.lens.pixels(ray), [(full[0] - 8.5) / 2, (full[1] - 5) / 3])


def test_stereo_rectification_turns_the_camera_and_shifts_the_second_of_a_pair():
    turn = [0.0, -1, 0, 1, 0, 0, 0, 0, 1]
    info = camera_info(r=turn, p=[50.0, 0, 32, -25, 0, 50, 24, 0, 0, 0, 1, 0], d=DISTORTED)
    for rectified in ("true", "false"):
        got = calibration_from_info(info, rectified)
        np.testing.assert_array_equal(got.ideal_from_frame(shared=False)[:3, :3], np.reshape(turn, (3, 3)))
        point = np.array([1.0, 2, 10, 1])
        in_pair = got.intrinsics @ (got.ideal_from_frame(shared=True) @ point)[:3]
        np.testing.assert_allclose(in_pair, np.reshape(info.p, (3, 4)) @ point)
    raw = calibration_from_info(camera_info(r=turn), "auto")
    np.testing.assert_array_equal(raw.ideal_from_frame(shared=False), np.eye(4))


def test_an_undistorted_pixel_shows_what_the_distorted_one_did():
    """Through R and P into the ideal image and by the lens into the other: the same ray as straight through K and D."""
    turn = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    info = camera_info(r=turn.ravel().tolist(), p=OTHER_P, d=[-0.2, 0.05, 0.001, -0.001, 0.0])
    got = calibration_from_info(info, "false")
    points = np.random.default_rng(0).uniform((-2, -1, 5), (2, 1, 9), (20, 3))
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(info.d))
    ideal = points @ got.ideal_from_frame(shared=False)[:3, :3].T
    np.testing.assert_allclose(got.lens.pixels(ideal), expected[:, 0], atol=1e-6)


def test_p_equal_to_k_with_distortion_is_doubted_where_only_the_name_says_that_images_are_rectified():
    info = camera_info(1600, 900, 1260.0, d=[-0.35, 0.12, 0.001, -0.0005, 0.0])
    doubt = calibration_from_info(info, "auto", "/cam_front/image_rect_compressed").doubt
    assert "P equals K" in doubt and "images_rectified" in doubt
    for other, rectified, topic in (
        (info, "true", "/cam_front/image_rect"),
        (info, "auto", "/cam_front/image_raw"),
        (camera_info(), "auto", "/image_rect"),
        (camera_info(p=OTHER_P, d=DISTORTED), "auto", "/image_rect"),
    ):
        assert calibration_from_info(other, rectified, topic).doubt == ""


def test_image_of_another_size_is_refused():
    calibration = calibration_from_info(camera_info())
    calibration.check(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(InvalidFrameError, match=r"\(48, 64\), got \(24, 32\)"):
        calibration.check(np.zeros((24, 32, 3), np.uint8))


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=100, deadline=None)
@given(
    k=st.lists(numbers, min_size=9, max_size=9),
    p=st.lists(numbers, min_size=12, max_size=12),
    d=st.lists(numbers, max_size=8),
    r=st.lists(numbers, min_size=9, max_size=9),
    rectified=st.sampled_from(RECTIFIED),
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
)
def test_malformed_calibrations_are_refused_or_finite(rectified, **fields):
    try:
        calibration = calibration_from_info(CameraInfo(**fields), rectified)
    except InvalidFrameError:
        return
    assert np.isfinite(calibration.intrinsics).all() and calibration.intrinsics[0, 0] > 0
