import sys
import time

import numpy as np
import pytest

from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, OPENOCCUPANCY_CLASSES
from occfusion_ros.viz.birdseye import BACKGROUND, birds_eye_view
from occfusion_ros.viz.perspective import View, perspective_view
from occfusion_ros.viz.picture import (
    HEADER,
    INK,
    MAP_SIZE,
    MARGIN,
    MISSING,
    SCENE_WIDTH,
    comparison_picture,
    frame_picture,
)
from occfusion_ros.viz.voxels import exposed_faces

CAR, PEDESTRIAN, ROAD = 4, 7, 11
SMALL = GridSpec((-4.0, -4.0, -2.0), 0.2, (40, 40, 20))


def make_grid(*voxels: tuple) -> OccupancyGrid:
    """A grid with labels given as (index expression, label) pairs."""
    labels = np.zeros(SMALL.size, np.uint8)
    for index, label in voxels:
        labels[index] = label
    return OccupancyGrid(SMALL, labels, 1_500_000_000, "lidar_top", ("cam_a",), "test", {"fuse": 12.0})


def hue(rgb: np.ndarray) -> np.ndarray:
    """Color without brightness, so that shading does not matter."""
    rgb = np.asarray(rgb, float)
    return rgb / np.linalg.norm(rgb, axis=-1, keepdims=True)


def count_hue(image: np.ndarray, label: int) -> int:
    """Pixels whose color is that of a class at some brightness."""
    target = hue(OPENOCCUPANCY_CLASSES[label - 1].rgb)
    return int((hue(image.reshape(-1, 3).clip(1)) @ target > 0.999).sum())


def test_a_lone_voxel_has_six_faces_that_point_outwards():
    faces = exposed_faces(make_grid(((3, 4, 5), CAR)))
    center = SMALL.centers(np.array([[3, 4, 5]]))[0]
    assert len(faces.labels) == 6 and set(faces.labels) == {CAR}
    np.testing.assert_allclose(faces.corners.mean(axis=1) - center, faces.normals * 0.1, atol=1e-5)
    turned = np.cross(faces.corners[:, 1] - faces.corners[:, 0], faces.corners[:, 2] - faces.corners[:, 1])
    np.testing.assert_allclose(turned, faces.normals * 0.04, atol=1e-5)


@pytest.mark.parametrize(
    "voxels, faces, rows",
    [
        ([(np.s_[2:4, 4, 5], CAR)], 10, 6),
        ([(np.s_[2, 4, 5], CAR), (np.s_[3, 4, 5], ROAD)], 10, 10),
        ([(np.s_[0:3, 0:3, 0:3], CAR)], 6 * 9, 6 * 3),
        ([(np.s_[39, 4, 5], CAR), (np.s_[0, 5, 5], CAR)], 12, 12),  # the next in memory is no neighbor
        ([(np.s_[3, 4, 5], IGNORE)], 0, 0),
    ],
)
def test_faces_between_voxels_are_left_out_and_those_in_a_row_are_one(voxels, faces, rows):
    found = exposed_faces(make_grid(*voxels))
    edges = np.linalg.norm(np.diff(found.corners, axis=1), axis=2)
    assert len(found.labels) == rows and (edges[:, 0] * edges[:, 1]).sum() == pytest.approx(0.04 * faces, rel=1e-4)


def test_birds_eye_view_puts_right_to_the_right_and_forward_up():
    picture = birds_eye_view(make_grid(((30, 5, 3), CAR)), OPENOCCUPANCY_CLASSES)
    rows, columns = np.nonzero((picture != BACKGROUND).any(axis=2))
    assert (rows.tolist(), columns.tolist()) == ([SMALL.size[1] - 1 - 5], [30])
    np.testing.assert_allclose(hue(picture[34, 30]), hue(OPENOCCUPANCY_CLASSES[CAR - 1].rgb), atol=0.01)


def test_birds_eye_view_shows_the_topmost_label_brighter_when_higher():
    low, high = (
        birds_eye_view(make_grid(((8, 8, 0), ROAD), ((8, 8, z), CAR)), OPENOCCUPANCY_CLASSES)[31, 8] for z in (2, 18)
    )
    np.testing.assert_allclose(hue(low), hue(high), atol=0.02)
    assert high.sum() > low.sum()


ABOVE = View(eye=(0.0, -0.01, 12.0), target=(0.0, 0.0, 0.0), field_of_view=40.0, fog=1e6)


def test_perspective_view_shows_class_colors_where_they_belong():
    grid = make_grid((np.s_[30:38, 16:24, 4], CAR), (np.s_[2:10, 16:24, 4], PEDESTRIAN))
    image = perspective_view(grid, OPENOCCUPANCY_CLASSES, (120, 120), ABOVE, ego=False)
    left, right = image[:, :60], image[:, 60:]
    assert count_hue(right, CAR) > 100 and count_hue(left, PEDESTRIAN) > 100
    assert count_hue(left, CAR) == 0 and count_hue(right, PEDESTRIAN) == 0


def test_perspective_view_hides_what_is_behind():
    roofed = make_grid((np.s_[16:24, 16:24, 2], PEDESTRIAN), (np.s_[10:30, 10:30, 12], CAR))
    image = perspective_view(roofed, OPENOCCUPANCY_CLASSES, (120, 120), ABOVE, ego=False)
    assert count_hue(image, PEDESTRIAN) == 0 and count_hue(image, CAR) > 100


def test_perspective_view_casts_shadows():
    ground = np.s_[:, :, 0]
    bare, shaded = (
        perspective_view(make_grid(*voxels), OPENOCCUPANCY_CLASSES, (90, 90), ABOVE, ego=False).mean()
        for voxels in ([(ground, ROAD)], [(ground, ROAD), ((20, 20, 19), ROAD)])
    )
    assert shaded < bare


def test_perspective_view_draws_the_vehicle_and_copes_with_an_empty_grid():
    empty = make_grid()
    blank = perspective_view(empty, OPENOCCUPANCY_CLASSES, (60, 80), ABOVE, ego=False)
    vehicle = perspective_view(empty, OPENOCCUPANCY_CLASSES, (60, 80), ABOVE)
    assert blank.min() > 180 and vehicle.min() < 60


def test_pictures_are_the_same_every_time():
    grid = make_grid((np.s_[5:20, 5:20, 3:9], CAR))
    first, second = (perspective_view(grid, OPENOCCUPANCY_CLASSES, (90, 120)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_where_embreex_is_missing_the_place_of_the_3d_view_says_so(monkeypatch):
    grid = make_grid((np.s_[5:20, 5:20, 3:9], CAR))
    images = {"cam_a": np.full((90, 160, 3), (0, 255, 255), np.uint8)}
    with_scene = frame_picture(grid, OPENOCCUPANCY_CLASSES, images)
    monkeypatch.setitem(sys.modules, "embreex", None)
    with pytest.raises(OccFusionError, match="pip install embreex"):
        perspective_view(grid, OPENOCCUPANCY_CLASSES)
    without = frame_picture(grid, OPENOCCUPANCY_CLASSES, images)
    scene = np.s_[HEADER : HEADER + MAP_SIZE, MARGIN : MARGIN + SCENE_WIDTH]
    assert not (with_scene[scene] == MISSING).all(axis=2).any()
    assert (without[scene] == MISSING).all(axis=2).mean() > 0.9 and (without[scene] == INK).all(axis=2).any()
    differs = (with_scene != without).any(axis=2)
    differs[scene] = False
    assert not differs.any()


@pytest.mark.parametrize("shapes", [(), ((90, 160),), ((90, 160),) * 6, ((90, 160), (120, 120))])
def test_frame_picture_takes_any_number_of_images_of_any_size(shapes):
    images = {f"camera_{i}": np.full((*shape, 3), (0, 255, 255), np.uint8) for i, shape in enumerate(shapes)}
    picture = frame_picture(make_grid((np.s_[5:20, 5:20, 3:9], CAR)), OPENOCCUPANCY_CLASSES, images)
    assert picture.dtype == np.uint8 and picture.ndim == 3
    cyan = (picture == (0, 255, 255)).all(axis=2).mean()
    assert (cyan > 0.02 * len(shapes)) if shapes else cyan == 0


def test_labels_without_a_class_are_drawn_gray():
    picture = birds_eye_view(make_grid(((8, 8, 19), 200)), OPENOCCUPANCY_CLASSES)
    assert picture[31, 8].tolist() == [128, 128, 128]
    frame_picture(make_grid(((8, 8, 19), 200)), OPENOCCUPANCY_CLASSES, {})


def test_a_dense_scene_is_drawn_within_seconds():
    rng = np.random.default_rng(0)
    labels = np.zeros(GridSpec().size, np.uint8)
    labels[100:400, 100:300, 15] = ROAD
    labels[tuple(rng.integers(0, size, 8_000) for size in labels.shape)] = CAR
    start = time.process_time()
    frame_picture(OccupancyGrid(GridSpec(), labels, 0, "lidar_top"), OPENOCCUPANCY_CLASSES, {})
    assert time.process_time() - start < 20  # about 3 s on an idle core


def test_a_comparison_shows_every_grid_with_what_is_written_on_it():
    one, two = make_grid((np.s_[5:20, 5:20, 3:9], CAR)), make_grid((np.s_[5:9, 5:9, 3:9], CAR))
    for other, same in ((one, True), (two, False)):
        picture = comparison_picture({"a": one, "b": other}, OPENOCCUPANCY_CLASSES)
        left = picture[HEADER + 30 :, MARGIN : MARGIN + MAP_SIZE]
        right = picture[HEADER + 30 :, picture.shape[1] - MARGIN - MAP_SIZE : picture.shape[1] - MARGIN]
        assert left.shape == right.shape and (left == right).all() == same
