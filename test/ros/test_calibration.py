"""CameraInfo conversion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_messages import camera_info
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.calibration import calibration_from_info

K = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
OTHER_P = [40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0]
DISTORTED = [0.1, 0.01, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("fields, rectified, expected", [
    ({}, True, K),
    ({}, False, K),
    ({"p": OTHER_P}, True, [[40, 0, 30], [0, 41, 20], [0, 0, 1]]),
    ({"p": OTHER_P}, False, K),
    ({"p": [0.0] * 12}, True, K),
    ({"p": OTHER_P, "d": DISTORTED}, True, [[40, 0, 30], [0, 41, 20], [0, 0, 1]]),
    ({"d": []}, False, K),
    ({"r": [0.0] * 9}, True, K),
    ({"roi": RegionOfInterest(width=64, height=48)}, True, K),
    ({"binning_x": 1, "binning_y": 1}, True, K),
])
def test_which_matrix_counts(fields, rectified, expected):
    calibration = calibration_from_info(camera_info(**fields), rectified)
    assert calibration.size == (48, 64) and calibration.intrinsics.dtype == np.float64
    np.testing.assert_array_equal(calibration.intrinsics, expected)


@pytest.mark.parametrize("fields, rectified, message", [
    ({"k": [0.0] * 9, "p": [0.0] * 12}, True, "focal"),
    ({"k": [0.0] * 9}, False, "focal"),
    ({"k": [float("nan")] + [0.0] * 8, "p": [0.0] * 12}, True, "focal"),
    ({"p": [-40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 1, 0]}, True, "focal"),
    ({"p": [40.0, 0, 30, 0, 0, 41, 20, 0, 0, 0, 2, 0]}, True, "pinhole"),
    ({"d": DISTORTED}, False, "image_proc"),
    ({"d": DISTORTED, "p": [0.0] * 12}, True, "P is empty"),
    ({"p": [1e7, 0, 32, 0, 0, 50, 24, 0, 0, 0, 1, 0]}, True, "up to 1e\\+06"),
    ({"p": [50.0, 0, -1e300, 0, 0, 50, 24, 0, 0, 0, 1, 0]}, True, "pinhole"),
    ({"d": [0.0] * 1000}, True, "at most 64 coefficients of distortion, got 1000"),
    ({"width": 0}, True, "positive image size"),
    ({"binning_x": 2}, True, "binning"),
    ({"roi": RegionOfInterest(x_offset=1)}, True, "region of interest"),
    ({"roi": RegionOfInterest(width=32, height=48)}, True, "region of interest"),
    ({"r": [0.0, -1, 0, 1, 0, 0, 0, 0, 1]}, True, "rectified by itself"),
    ({"p": [50.0, 0, 32, -25, 0, 50, 24, 0, 0, 0, 1, 0]}, True, "rectified by itself"),
])
def test_unusable_calibrations_are_refused(fields, rectified, message):
    with pytest.raises(InvalidFrameError, match=message):
        calibration_from_info(camera_info(**fields), rectified)


def test_image_of_another_size_is_refused():
    calibration = calibration_from_info(camera_info())
    calibration.check(np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(InvalidFrameError, match=r"\(48, 64\), got \(24, 32\)"):
        calibration.check(np.zeros((24, 32, 3), np.uint8))


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@settings(max_examples=100, deadline=None)
@given(k=st.lists(numbers, min_size=9, max_size=9), p=st.lists(numbers, min_size=12, max_size=12),
       d=st.lists(numbers, max_size=8), r=st.lists(numbers, min_size=9, max_size=9), rectified=st.booleans(),
       width=st.integers(0, 2**32 - 1), height=st.integers(0, 2**32 - 1))
def test_hostile_calibrations_are_refused_or_finite(rectified, **fields):
    try:
        calibration = calibration_from_info(CameraInfo(**fields), rectified)
    except InvalidFrameError:
        return
    assert np.isfinite(calibration.intrinsics).all() and calibration.intrinsics[0, 0] > 0
