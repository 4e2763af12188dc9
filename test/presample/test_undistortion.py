"""Distorted images become what their rectified twins become."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from occfusion_ros.core.camera import fit_image
from occfusion_ros.core.frames import CameraImage
from occfusion_ros.core.lens import BROWN, FISHEYE, Lens
from occfusion_ros.presample.projection import fit_pixels, fit_projection

SIZE, HORIZON = (128, 352), 0.27
SOURCE = (450, 800)
K = np.array([[620.0, 0, 396], [0, 622, 232], [0, 0, 1]])
P = np.array([[580.0, 0, 402], [0, 580, 228], [0, 0, 1]])
TURN = cv2.Rodrigues(np.array([0.01, -0.02, 0.005]))[0]
BENT = {
    "plumb_bob": (BROWN, (-0.3, 0.1, 0.001, -0.0005, -0.01)),
    "rational_polynomial": (BROWN, (0.5, -0.4, 0.0005, -0.0003, 0.1, 0.8, -0.3, 0.05)),
    "fisheye": (FISHEYE, (0.05, -0.01, 0.002, -0.0005)),
}


def scene(seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: edges of every direction and fine texture, as outdoor images have them."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(60, 200, (30, 53, 3)).astype(np.float32)
    image = cv2.resize(coarse, SOURCE[::-1], interpolation=cv2.INTER_CUBIC)
    for _ in range(60):
        corner, extent = rng.integers(0, SOURCE[::-1]), rng.integers(10, 150, 2)
        cv2.rectangle(image, corner.tolist(), (corner + extent).tolist(), rng.uniform(0, 255, 3).tolist(), -1)
    return cv2.GaussianBlur(image, (0, 0), 0.7).clip(0, 255).astype(np.uint8)


def bent(ideal: np.ndarray, model: str, coefficients: tuple[float, ...], turn: np.ndarray) -> np.ndarray:
    """The image that a lens takes of what the ideal camera sees, by OpenCV."""
    v, u = np.mgrid[: SOURCE[0], : SOURCE[1]].astype(np.float64)
    pixels, d = np.stack([u, v], -1).reshape(-1, 1, 2), np.array(coefficients)
    undistort = cv2.undistortPoints if model == BROWN else cv2.fisheye.undistortPoints
    place = undistort(pixels, K, d, R=turn, P=P).reshape(*SOURCE, 2).astype(np.float32)
    return cv2.remap(ideal, place, None, cv2.INTER_CUBIC)


def cameras(name: str, turn: np.ndarray) -> tuple[CameraImage, CameraImage]:
    """The same view rectified, and through a lens."""
    model, coefficients = BENT[name]
    ideal = CameraImage("front", scene(), P, np.eye(4))
    lens = Lens(model, tuple(K.ravel().tolist()), coefficients, tuple(turn.ravel().tolist()))
    return ideal, replace(ideal, image=bent(ideal.image, model, coefficients, turn), lens=lens)


@pytest.mark.parametrize("turn", [np.eye(3), TURN], ids=["straight", "turned"])
@pytest.mark.parametrize("name", BENT)
def test_a_distorted_image_becomes_its_rectified_twin(name, turn):
    ideal, distorted = cameras(name, turn)
    want, got = (fit_pixels(camera, SIZE, HORIZON).float() for camera in (ideal, distorted))
    raw = fit_pixels(replace(distorted, lens=None), SIZE, HORIZON).float()
    inner = (slice(None), slice(8, -8), slice(8, -8))
    off, before = (got - want)[inner].abs(), (raw - want)[inner].abs()
    assert off.mean() < 2.5 < 8 < before.mean()
    np.testing.assert_array_equal(fit_projection(ideal, SIZE, HORIZON), fit_projection(distorted, SIZE, HORIZON))


@pytest.mark.parametrize("name", BENT)
def test_it_is_as_good_as_undistorting_first(name):
    """OpenCV's undistorted image, resampled like any rectified one; neither more blurred nor aliased."""
    ideal, distorted = cameras(name, np.eye(3))
    model, coefficients = BENT[name]
    library = cv2 if model == BROWN else cv2.fisheye
    maps = library.initUndistortRectifyMap(K, np.array(coefficients), np.eye(3), P, SOURCE[::-1], cv2.CV_32F)
    first = replace(ideal, image=cv2.remap(distorted.image, *maps, cv2.INTER_LINEAR))
    want, two_steps, one_step = (
        fit_pixels(camera, SIZE, HORIZON).float()[:, 8:-8, 8:-8] for camera in (ideal, first, distorted)
    )
    assert (one_step - two_steps).abs().mean() < 2
    sharpness = one_step.diff(dim=2).abs().mean() / want.diff(dim=2).abs().mean()
    assert 0.95 < sharpness < 1.1


def test_rectified_images_are_resampled_as_the_network_was_trained():
    camera = cameras("fisheye", np.eye(3))[0]
    fit = fit_image(SOURCE, SIZE, P[1, 2], HORIZON)
    image = torch.from_numpy(camera.image).permute(2, 0, 1)[None]
    want = F.interpolate(image, fit.resized, mode="bilinear", antialias=True, align_corners=False)
    want = want[0, :, fit.top : fit.top + SIZE[0], fit.left : fit.left + SIZE[1]]
    assert torch.equal(fit_pixels(camera, SIZE, HORIZON), want)


def test_small_images_and_wide_lenses_are_undistorted_too():
    wide = Lens(FISHEYE, (20.0, 0.0, 32.0, 0.0, 20.0, 24.0, 0.0, 0.0, 1.0), (0.0,))
    camera = CameraImage(
        "small", np.full((48, 64, 3), 77, np.uint8), np.array([[20.0, 0, 32], [0, 20, 24], [0, 0, 1]]), np.eye(4), wide
    )
    got = fit_pixels(camera, SIZE, HORIZON)
    assert got.shape == (3, *SIZE) and got.dtype == torch.uint8 and (got == 77).all()
