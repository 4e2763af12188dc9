"""Augmentation keeps points, calibration, images and truth consistent."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.training.augment import (
    AugmentConfig,
    augment,
    augment_images,
    blur,
    crop,
    draw_intensity,
    draw_plane,
    jitter,
    kept_points,
    lose_cameras,
    scale_intensity,
    transform,
    warp_image,
)
from models.training.data import UNSEEN, PreparedFrame
from occfusion_ros.core.camera import project, projection_matrix
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

GRID = GridSpec((-8.0, -8.0, -2.0), 0.5, (32, 32, 8))
WINDOW = GridSpec((-5.0, -2.0, -2.0), 0.5, (16, 16, 8))
INTRINSICS = np.array([[60.0, 0, 47.5], [0, 60.0, 31.5], [0, 0, 1]])
CAMERA_FROM_GRID = np.array([[1.0, 0, 0, 0.1], [0, 0, -1, 0.2], [0, 1, 0, 0.3], [0, 0, 0, 1]])  # looks along y
ORIGIN = np.array([0.3, -0.8, -0.7])
NONE = AugmentConfig(
    flip=0,
    turn=0,
    stretch=0,
    thin=0,
    beams=0,
    sector=0,
    intensity=0,
    no_intensity=0,
    all_cameras=0,
    some_cameras=0,
    jitter_degrees=0,
    jitter_meters=0,
)


def make_frame(seed: int) -> PreparedFrame:
    """Points near the middle of voxels, the truth 4 and observed exactly where there are points."""
    rng = np.random.default_rng(seed)
    voxels = np.unique(rng.integers(0, GRID.size, (300, 3)), axis=0)
    semantics = np.zeros(GRID.size, np.uint8)
    semantics[tuple(voxels.T)] = 4
    points = np.c_[GRID.centers(voxels) + rng.uniform(-0.2, 0.2, voxels.shape), np.full(len(voxels), 0.5)]
    image_from_grid = np.stack([projection_matrix(INTRINSICS, CAMERA_FROM_GRID)] * 2).astype(np.float32)
    features = (rng.normal(size=(2, 4, 2, 3)).astype(np.float16),)
    return PreparedFrame(points.astype(np.float32), image_from_grid, features, semantics, semantics > 0, GRID, ORIGIN)


def occupied(points: np.ndarray, grid: GridSpec) -> np.ndarray:
    """(X, Y, Z) bool: voxels with points."""
    indices, inside = grid.indices(points[:, :3])
    dense = np.zeros(grid.size, bool)
    dense[tuple(indices[inside].T)] = True
    return dense


def pixels(frame: PreparedFrame) -> np.ndarray:
    """(P, 3): where the first camera sees the points, and their depths."""
    uv, depth = project(frame.points[:, :3].astype(np.float64), frame.image_from_grid[0].astype(np.float64))
    return np.c_[uv, depth]


@pytest.mark.parametrize(
    "plane", [np.diag([-1.0, 1.0]), np.diag([1.0, -1.0]), np.array([[0.0, -1], [1, 0]]), np.array([[0.0, -1], [-1, 0]])]
)
def test_mirrors_and_quarter_turns_move_points_and_truth_alike(plane):
    frame = make_frame(0)
    changed = transform(frame, GRID, plane)
    assert not np.array_equal(changed.semantics, frame.semantics)
    assert np.array_equal(occupied(changed.points, GRID), changed.semantics == 4)
    assert np.array_equal(changed.observed, changed.semantics == 4)
    assert np.allclose(changed.points[:, :2], frame.points[:, :2] @ plane.T)
    assert np.allclose(changed.ray_origin, [*plane @ frame.ray_origin[:2], frame.ray_origin[2]])


@pytest.mark.parametrize("window", [GRID, WINDOW])
@pytest.mark.parametrize("seed", range(5))
def test_any_turn_and_scale_keeps_returns_in_occupied_voxels_and_pixels_where_they_were(seed, window):
    frame, rng = make_frame(seed), np.random.default_rng(seed)
    plane = draw_plane(AugmentConfig(turn=1, turn_degrees=180), rng)
    assert np.allclose(plane @ plane.T, np.linalg.det(plane @ plane.T) ** 0.5 * np.eye(2))  # nothing is sheared
    changed = transform(frame, window, plane)
    _, came_from_inside = GRID.indices(frame.points[:, :3])
    mine = occupied(changed.points[came_from_inside], window)
    assert mine.any() and (changed.semantics[mine] == 4).all() and changed.observed[mine].all()
    before, after = pixels(frame), pixels(changed)
    front = np.abs(before[:, 2]) > 0.5
    assert np.allclose(before[front], after[front], rtol=1e-3, atol=2e-2)


def test_turned_truth_is_the_nearest_voxel_and_unknown_outside():
    frame = replace(make_frame(1), points=np.zeros((0, 4), np.float32))
    angle = np.radians(30)
    plane = 1.03 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    changed = transform(frame, GRID, plane)
    voxels = np.stack(np.indices(GRID.size), -1).reshape(-1, 3)
    centers = GRID.centers(voxels)
    centers[:, :2] = centers[:, :2] @ np.linalg.inv(plane).T
    source, inside = GRID.indices(centers)
    expected = np.where(inside, frame.semantics[tuple(source.T)], IGNORE)
    assert 0.05 < (~inside).mean() < 0.3
    assert np.array_equal(changed.semantics.reshape(-1), expected)
    assert np.array_equal(changed.observed.reshape(-1), expected == 4)


def test_a_window_is_cut_from_the_truth():
    frame = make_frame(2)
    cut = crop(frame, WINDOW)
    assert cut.grid == WINDOW
    assert np.array_equal(cut.semantics, frame.semantics[6:22, 12:28])
    assert np.array_equal(cut.observed, frame.observed[6:22, 12:28])
    assert np.array_equal(cut.points, frame.points)
    assert crop(frame, GRID) is frame
    with pytest.raises(DatasetError, match="same voxels and layers"):
        crop(frame, GridSpec((-5.0, -2.0, -2.0), 0.25, (16, 16, 16)))


def test_without_any_augmentation_a_frame_stays_as_it_is():
    frame = make_frame(3)
    same = augment(frame, GRID, NONE, np.random.default_rng(0))
    assert np.array_equal(same.semantics, frame.semantics) and np.array_equal(same.observed, frame.observed)
    assert np.array_equal(same.points, frame.points)
    assert np.array_equal(same.image_from_grid, frame.image_from_grid)


def test_augmented_returns_lie_in_the_truth_and_the_same_seed_gives_the_same_frame():
    sizes = set()
    for seed in range(30):
        frame, again = (
            augment(make_frame(seed), WINDOW, AugmentConfig(turn_degrees=180), np.random.default_rng(seed))
            for _ in range(2)
        )
        assert np.array_equal(frame.points, again.points) and np.array_equal(frame.semantics, again.semantics)
        # A corner of the turned window may lie outside the grid, where returns know nothing either.
        assert np.isin(frame.semantics[occupied(frame.points, WINDOW)], (4, IGNORE)).all()
        assert 0 <= frame.points[:, 3].min() and frame.points[:, 3].max() <= 1
        sizes.add(len(frame.points))
    assert len(sizes) > 15


def test_beams_are_lost_as_a_whole():
    azimuth, beams = np.meshgrid(np.linspace(0, 2 * np.pi, 90, endpoint=False), np.linspace(-30.67, 10.67, 32))
    elevation = np.radians(beams)
    points = (
        np.stack(
            [
                20 * np.cos(elevation) * np.cos(azimuth),
                20 * np.cos(elevation) * np.sin(azimuth),
                20 * np.sin(elevation),
                np.ones_like(beams),
            ],
            -1,
        )
        .reshape(-1, 4)
        .astype(np.float32)
    )
    points[:, :3] += ORIGIN
    shares = []
    for seed in range(20):
        kept = points[kept_points(points, ORIGIN, replace(NONE, beams=1), np.random.default_rng(seed)), :3] - ORIGIN
        elevations = np.degrees(np.arctan2(kept[:, 2], np.hypot(kept[:, 0], kept[:, 1])))
        counts = np.bincount(np.rint((elevations + 30.67) / (41.34 / 31)).astype(int), minlength=32)
        whole = np.isin(counts, (0, 90))
        assert whole.mean() > 0.9  # the border between two bands may run along a beam
        shares.append((counts > 0).mean())
    assert min(shares) < 0.7 and max(shares) > 0.9


def test_a_lost_sector_is_one_gap_of_at_most_a_quarter():
    azimuth = np.linspace(-np.pi, np.pi, 720, endpoint=False)
    points = np.c_[10 * np.cos(azimuth), 10 * np.sin(azimuth), 0 * azimuth, azimuth].astype(np.float32)
    points[:, :3] += ORIGIN.astype(np.float32)
    gaps = []
    for seed in range(20):
        kept = points[kept_points(points, ORIGIN, replace(NONE, sector=1), np.random.default_rng(seed)), 3]
        steps = np.diff(np.r_[kept, kept[0] + 2 * np.pi])
        assert (steps > 0.02).sum() <= 1
        gaps.append(steps.max())
    assert 0.2 < np.mean(gaps) and max(gaps) <= np.pi / 2 + 0.02


def test_thinning_loses_up_to_its_share():
    points = np.ones((5000, 4), np.float32)
    kept = [
        kept_points(points, ORIGIN, replace(NONE, thin=0.4), np.random.default_rng(seed)).mean() for seed in range(20)
    ]
    assert 0.57 < min(kept) < 0.75 and 0.9 < max(kept)
    assert scale_intensity(points, 0.5)[0].tolist() == [1, 1, 1, 0.5] and scale_intensity(points, 2)[0, 3] == 1


def test_intensities_are_scaled_about_one_or_lost():
    config = replace(NONE, intensity=0.5, no_intensity=0.2)
    factors = np.array([draw_intensity(config, np.random.default_rng(seed)) for seed in range(400)])
    assert (factors == 0).mean() == pytest.approx(0.2, abs=0.06)
    logs = np.log(factors[factors > 0])
    assert abs(logs.mean()) < 0.08 and logs.std() == pytest.approx(0.5, rel=0.12)


def test_a_blurred_image_keeps_its_light_and_spreads_it():
    spot = torch.zeros((3, 21, 21))
    spot[:, 10, 10] = 1
    blurred = blur(spot, 1.0)
    assert torch.allclose(blurred.sum((1, 2)), torch.ones(3), atol=1e-5)
    offsets = torch.arange(21.0) - 10
    assert blurred[0].sum(0) @ offsets**2 == pytest.approx(1.0, rel=0.05)  # the variance is sigma squared


def test_lost_cameras_see_nothing():
    config = AugmentConfig(all_cameras=0.35, some_cameras=0.3)
    cameras = np.tile(make_frame(0).image_from_grid[:1], (6, 1, 1))
    lost = np.array(
        [
            (lose_cameras(cameras, config, np.random.default_rng(seed)) == UNSEEN.astype(np.float32)).all((1, 2)).sum()
            for seed in range(400)
        ]
    )
    assert (lost == 6).mean() == pytest.approx(0.35, abs=0.08)
    assert (lost == 0).mean() == pytest.approx(0.35 + 0.3 * 0.7**6, abs=0.08)
    _, depth = project(make_frame(0).points[:, :3], UNSEEN)
    assert (depth < 0).all()


def test_a_jittered_calibration_is_off_by_a_small_rotation():
    cameras = np.tile(make_frame(0).image_from_grid[:1], (200, 1, 1))
    config = replace(NONE, jitter_degrees=0.2, jitter_meters=0.01)
    wrong = np.linalg.inv(cameras[0].astype(np.float64)) @ jitter(cameras, config, np.random.default_rng(0))
    rotation = wrong[:, :3, :3]
    assert np.allclose(rotation @ rotation.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert np.degrees(np.std(rotation[:, 1, 0])) == pytest.approx(0.2, rel=0.2)
    assert np.std(wrong[:, :3, 3]) == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("seed", range(8))
def test_a_painted_point_stays_under_its_projection(seed):
    point = np.array([[0.4, 5.0, 0.3]])
    matrix = projection_matrix(INTRINSICS, CAMERA_FROM_GRID)
    ((u, v),) = project(point, matrix)[0]
    rows, columns = np.mgrid[:64, :96]
    bright = np.exp(-((rows - v) ** 2 + (columns - u) ** 2) / 8) * 200  # its center of mass is the projection
    images = torch.from_numpy(np.stack([bright] * 3)[None].round().astype(np.uint8))
    config = AugmentConfig(images=1, zoom=0.2, mirror=0.5)
    changed, moved = augment_images(images, torch.from_numpy(matrix[None]).float(), config, np.random.default_rng(seed))
    ((u_after, v_after),) = project(point, moved[0].double().numpy())[0]
    weight = changed[0].float().sum(0).numpy().astype(np.float64)
    weight = np.where(weight > 0.5 * weight.max(), weight, 0)
    assert abs(u_after - u) + abs(v_after - v) > 0.2
    assert (columns * weight).sum() / weight.sum() == pytest.approx(u_after, abs=0.15)
    assert (rows * weight).sum() / weight.sum() == pytest.approx(v_after, abs=0.15)


def test_a_mirrored_image_is_the_image_mirrored():
    image = torch.randint(0, 255, (3, 6, 10), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mirror = np.array([[-1.0, 0, 9, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert torch.equal(warp_image(image, mirror), image.flip(2))


@pytest.mark.parametrize("wrong", [{"flip": 1.5}, {"thin": -0.1}, {"all_cameras": 0.8}, {"stretch": 1.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentConfig(**wrong)
