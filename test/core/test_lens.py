"""Distortion formulas against OpenCV's."""

import cv2
import numpy as np
import pytest

from occfusion_ros.core.lens import BROWN, FISHEYE, Lens

SIZE = (300, 480)
K = np.array([[260.0, 0, 236], [0, 255, 154], [0, 0, 1]])
IDEAL = np.array([[220.0, 0, 240], [0, 221, 149], [0, 0, 1]])
TURN = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
BROWNS = {
    4: (-0.28, 0.07, 0.001, -0.0005),
    5: (-0.28, 0.07, 0.001, -0.0005, -0.006),
    8: (0.5, -2.5, 0.0005, -0.0003, 1.4, 0.4, -2.3, 1.3),
    12: (-0.2, 0.05, 0.001, -0.002, 0.01, 0.02, 0.01, 0.003, 0.002, -0.001, 0.003, 0.0005),
    14: (-0.2, 0.05, 0.001, -0.002, 0.01, 0.02, 0.01, 0.003, 0.002, -0.001, 0.003, 0.0005, 0.02, -0.03),
}


def numbers(matrix: np.ndarray) -> tuple[float, ...]:
    return tuple(matrix.ravel().tolist())


def rays(ideal: np.ndarray = IDEAL) -> np.ndarray:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(ideal).T


@pytest.mark.parametrize("turn", [np.eye(3), TURN], ids=["straight", "turned"])
@pytest.mark.parametrize("count", BROWNS)
def test_brown_as_opencv(count, turn):
    lens = Lens(BROWN, numbers(K), BROWNS[count], numbers(turn))
    expected = cv2.initUndistortRectifyMap(K, np.array(BROWNS[count]), turn, IDEAL, SIZE[::-1], cv2.CV_32FC2)[0]
    got = lens.pixels(rays())
    inside = np.isfinite(got).all(-1)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(got[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("turn", [np.eye(3), TURN], ids=["straight", "turned"])
@pytest.mark.parametrize("coefficients", [(0.05, -0.01, 0.002, -0.0005), (0.0,) * 4, (-0.02, 0.01)])
def test_fisheye_as_opencv(coefficients, turn):
    lens = Lens(FISHEYE, numbers(K), coefficients, numbers(turn))
    d = np.array((*coefficients, 0, 0, 0, 0)[:4])
    expected = np.stack(cv2.fisheye.initUndistortRectifyMap(K, d, turn, IDEAL, SIZE[::-1], cv2.CV_32F), -1)
    np.testing.assert_allclose(lens.pixels(rays()), expected, atol=1e-3)


def test_what_the_model_folds_back_into_the_image_is_not_seen():
    """Far from the axis this polynomial comes back to the image's center; OpenCV shows mirrored corners there."""
    lens = Lens(BROWN, numbers(K), (-0.28,))
    angles = np.radians([0, 20, 40, 75, 85])
    along = np.stack([np.sin(angles), np.zeros(5), np.cos(angles)], -1)
    assert np.isfinite(lens.pixels(along)).all(1).tolist() == [True, True, True, False, False]
    assert np.isnan(lens.pixels(np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0]]))).all()


def test_without_distortion_the_lens_is_a_pinhole():
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    np.testing.assert_allclose(Lens(BROWN, numbers(K), ()).pixels(rays(K)), np.stack([u, v], -1), atol=1e-9)


@pytest.mark.parametrize("model, count", [("omni", 4), (FISHEYE, 5), (BROWN, 15)])
def test_unknown_models_are_refused(model, count):
    with pytest.raises(ValueError, match=f"got {count} of '{model}'"):
        Lens(model, numbers(K), (0.0,) * count)
