"""Voxels over images, at the pixels where they lie."""

from dataclasses import replace

import numpy as np
import pytest

from occfusion_ros.core.camera import NEAREST_M, seen_in_image
from occfusion_ros.core.frames import CameraImage
from occfusion_ros.core.lens import FISHEYE, Lens
from occfusion_ros.viz.overlay import LONGEST, WIDTHS, overlay

FORWARD = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # looks along y, z is up
GRAY, RED, BLUE = (100, 100, 100), (240, 20, 0), (0, 40, 200)
EDGE = 0.2


def camera(width: int = 640, height: int = 480, lens: Lens | None = None) -> CameraImage:
    image = np.full((height, width, 3), GRAY, np.uint8)
    intrinsics = np.array([[500.0, 0, width / 2], [0, 500, height / 2], [0, 0, 1]])
    return CameraImage("cam", image, intrinsics, FORWARD, lens)


def painted(picture: np.ndarray) -> np.ndarray:
    """(height, width) bool: where something was drawn."""
    return (np.abs(picture.astype(int) - GRAY) > 2).any(axis=2)


def blended(color: tuple) -> np.ndarray:
    return (np.array(color) + GRAY) / 2


def test_a_voxel_lies_at_its_pixel_in_its_color_and_size():
    picture = overlay(camera(), np.array([[1.0, 5.0, -0.5]]), np.array([RED], np.uint8), EDGE)
    rows, columns = np.nonzero(painted(picture))
    assert picture.shape == (480, 640, 3)
    assert columns.mean() == pytest.approx(320 + 500 * 1.0 / 5, abs=1) and rows.mean() == pytest.approx(290, abs=1)
    assert np.ptp(columns) + 1 == np.ptp(rows) + 1 == pytest.approx(500 * EDGE / 5, rel=0.25)
    assert picture[290, 420] == pytest.approx(blended(RED), abs=1)


def test_near_voxels_hide_far_ones():
    centers = np.array([[0.0, 4.0, 0.0], [0.0, 20.0, 0.0]])
    for order in ([0, 1], [1, 0]):
        picture = overlay(camera(), centers[order], np.array([RED, BLUE], np.uint8)[order], EDGE)
        assert picture[240, 320] == pytest.approx(blended(RED), abs=1)


def test_the_nearest_of_very_many_voxels_is_in_front():
    far = np.stack([np.zeros(70_000), np.linspace(20, 50, 70_000), np.zeros(70_000)], axis=1)
    colors = np.full((70_001, 3), BLUE, np.uint8)
    colors[0] = RED
    picture = overlay(camera(), np.concatenate([[[0.0, 4.0, 0.0]], far]), colors, EDGE)
    assert picture[240, 320] == pytest.approx(blended(RED), abs=1)


def test_what_is_behind_or_at_the_lens_or_beside_the_image_is_not_drawn():
    centers = np.array([[0.0, -5.0, 0.0], [0.0, 0.9 * NEAREST_M, 0.0], [10.0, 5.0, 0.0], [0.0, 5.0, 8.0]])
    assert not painted(overlay(camera(), centers, np.full((4, 3), 255, np.uint8), EDGE)).any()
    assert not painted(overlay(camera(), centers[:0], np.zeros((0, 3), np.uint8), EDGE)).any()


def test_a_large_image_is_shown_smaller_with_everything_in_its_place():
    picture = overlay(camera(3840, 2160), np.array([[1.0, 5.0, 0.0]]), np.array([RED], np.uint8), EDGE)
    assert picture.shape == (LONGEST * 9 // 16, LONGEST, 3)
    rows, columns = np.nonzero(painted(picture))
    assert columns.mean() == pytest.approx((1920 + 100) / 6, abs=1) and rows.mean() == pytest.approx(1080 / 6, abs=1)
    assert overlay(camera(100, 4000), np.zeros((0, 3)), np.zeros((0, 3), np.uint8), EDGE).shape == (LONGEST, 16, 3)


def test_through_a_lens_a_voxel_lies_where_the_lens_puts_it():
    lens = Lens(FISHEYE, (300.0, 0, 320, 0, 300, 240, 0, 0, 1), ())
    picture = overlay(camera(lens=lens), np.array([[4.0, 4.0, 0.0]]), np.array([BLUE], np.uint8), EDGE)
    rows, columns = np.nonzero(painted(picture))
    assert columns.mean() == pytest.approx(320 + 300 * np.pi / 4, abs=1) and rows.mean() == pytest.approx(240, abs=1)


def test_points_come_from_near_to_far_and_only_those_that_are_seen():
    points = np.array([[0.0, 9.0, 0.0], [0.0, -1.0, 0.0], [0.5, 3.0, 0.0], [0.0, 6.0, 1.0]])
    image = camera()
    which, pixels, depth = seen_in_image(points, image.intrinsics, image.camera_from_grid, None, (480, 640))
    assert which.tolist() == [2, 3, 0] and depth.tolist() == [3.0, 6.0, 9.0]
    assert pixels == pytest.approx(np.array([[320 + 500 / 6, 240], [320, 240 - 500 / 6], [320, 240]]))


def test_points_in_single_precision_column_by_column_are_seen_at_the_same_places():
    draw = np.random.default_rng(5)
    points = draw.uniform((-40, -5, -5), (40, 50, 5), (2000, 3))
    for lens in (None, Lens(FISHEYE, (300.0, 0, 320, 0, 300, 240, 0, 0, 1), (0.01,))):
        image = camera(lens=lens)
        double, single = (
            seen_in_image(each, image.intrinsics, image.camera_from_grid, lens, (480, 640))
            for each in (points, np.asfortranarray(points, np.float32))
        )
        assert len(double[0]) > 100 and sorted(double[0]) == sorted(single[0])
        assert single[1].dtype == single[2].dtype == np.float32
        by_point = [np.argsort(which) for which in (double[0], single[0])]
        for exact, rounded in zip(double[1:], single[1:]):
            assert rounded[by_point[1]] == pytest.approx(exact[by_point[0]], rel=1e-5, abs=1e-2)


def test_an_image_made_smaller_keeps_its_means():
    fine = np.random.default_rng(7).integers(0, 256, (20, 32, 3)).astype(np.uint8)  # regions of 50 x 50 pixels
    large = replace(camera(1600, 1000), image=fine.repeat(50, axis=0).repeat(50, axis=1))
    picture = overlay(large, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), EDGE)
    assert picture.shape == (400, 640, 3)
    assert (np.abs(picture[10::20, 10::20].astype(int) - fine) <= 1).all()
    stripes = replace(
        camera(1280, 640), image=np.tile(np.array([0, 200], np.uint8), (640, 640))[..., None].repeat(3, 2)
    )
    assert (overlay(stripes, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), EDGE) == 100).all()


def test_every_pixel_shows_the_nearest_voxel_that_covers_it():
    """As painting one after the other, the farthest first, does."""
    draw = np.random.default_rng(3)
    centers = draw.uniform((-8, 1, -5), (8, 20, 5), (400, 3))
    colors = draw.integers(0, 256, (400, 3)).astype(np.uint8)
    image = camera(160, 120)
    which, pixels, depth = seen_in_image(centers, image.intrinsics, image.camera_from_grid, None, (120, 160))
    painted_in_turn = image.image.copy()
    for one, (u, v), far in list(zip(which, np.round(pixels).astype(int), depth))[::-1]:
        width = int(WIDTHS[min(np.searchsorted(WIDTHS, 500 * EDGE / far), len(WIDTHS) - 1)])
        top, left = max(v - width + 1 + width // 2, 0), max(u - width + 1 + width // 2, 0)
        painted_in_turn[top : v + 1 + width // 2, left : u + 1 + width // 2] = colors[one]
    expected = (painted_in_turn.astype(int) + image.image) / 2
    assert len(which) > 20 and np.abs(overlay(image, centers, colors, EDGE) - expected).max() <= 1
