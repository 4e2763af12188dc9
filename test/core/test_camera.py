import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from occfusion_ros.core.camera import fit_image, fitted_intrinsics, project, projection_matrix
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import CameraImage, SensorFrame

NETWORK = (256, 704)
SIZES = st.tuples(st.integers(64, 2500), st.integers(64, 2500))


@given(SIZES, st.floats(0, 1), st.floats(0.1, 0.9))
def test_the_fitted_image_covers_the_network_size(source, row, horizon):
    fit = fit_image(source, NETWORK, row * source[0], horizon)
    assert fit.resized[0] >= NETWORK[0] and fit.resized[1] >= NETWORK[1]
    assert 0 <= fit.top <= fit.resized[0] - NETWORK[0] and 0 <= fit.left <= fit.resized[1] - NETWORK[1]
    assert fit.resized[0] == NETWORK[0] or fit.resized[1] == NETWORK[1]


def test_the_principal_row_lands_on_the_horizon():
    intrinsics = np.array([[1266.0, 0, 968], [0, 1266, 600], [0, 0, 1]])
    fit = fit_image((1216, 1936), NETWORK, intrinsics[1, 2], 0.27)
    fitted = fitted_intrinsics(intrinsics, (1216, 1936), fit)
    assert fitted[1, 2] == pytest.approx(0.27 * NETWORK[0], abs=1)
    assert fitted[0, 0] == pytest.approx(1266 * 704 / 1936)


@given(SIZES, st.floats(0, 1), st.floats(0, 1))
def test_fitted_intrinsics_map_pixels_as_resize_and_crop_do(source, u, v):
    intrinsics = np.array([[500.0, 0, source[1] / 2], [0, 500, source[0] / 2], [0, 0, 1]])
    fit = fit_image(source, NETWORK, intrinsics[1, 2], 0.3)
    fitted = fitted_intrinsics(intrinsics, source, fit)
    pixel = np.array([u * source[1], v * source[0]])
    ray = np.linalg.solve(intrinsics, [*pixel, 1])
    # Edges of the image stay edges: a pixel's distance from the border, half a pixel included, scales with the image.
    expected = (pixel + 0.5) * np.array(fit.resized[::-1]) / source[::-1] - 0.5 - [fit.left, fit.top]
    np.testing.assert_allclose((fitted @ ray)[:2], expected, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_projection_inverts_back_projection(seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    camera_from_grid = np.eye(4)
    camera_from_grid[:3, :3], camera_from_grid[:3, 3] = rotation, rng.normal(size=3)
    intrinsics = np.array([[600.0, 0, 350], [0, 610, 120], [0, 0, 1]])
    pixels, depth = rng.uniform(0, 700, (20, 2)), rng.uniform(1, 50, 20)
    in_camera = depth[:, None] * np.linalg.solve(intrinsics, np.c_[pixels, np.ones(20)].T).T
    points = (in_camera - camera_from_grid[:3, 3]) @ np.linalg.inv(rotation).T
    got, got_depth = project(points, projection_matrix(intrinsics, camera_from_grid))
    np.testing.assert_allclose(got, pixels, atol=1e-6)
    np.testing.assert_allclose(got_depth, depth, atol=1e-9)


def test_a_camera_that_cannot_be_used_is_refused_by_name():
    good = {
        "name": "front",
        "image": np.zeros((4, 4, 3), np.uint8),
        "intrinsics": np.eye(3),
        "camera_from_grid": np.eye(4),
    }
    CameraImage(**good)
    bad = {"image": np.zeros((4, 4), np.uint8), "intrinsics": np.zeros((3, 3)), "camera_from_grid": 2 * np.eye(4)}
    for name, value in bad.items():
        with pytest.raises(InvalidFrameError, match="camera front"):
            CameraImage(**{**good, name: value})


def test_a_cloud_of_another_layout_is_refused():
    with pytest.raises(InvalidFrameError, match=r"expected float32 \(None, 4\), got float64 \(5, 4\)"):
        SensorFrame(0, np.zeros((5, 4)))
