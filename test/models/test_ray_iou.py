"""RayIoU against intersections of rays with boxes, one by one, and on scenes with known answers."""

import math
from collections import Counter

import numpy as np
import pytest

from models.evaluation.ray_iou import RayIoU, choose_origins, first_hits, ray_directions
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.grid import GridSpec

SMALL = GridSpec((-1.0, -1.2, -0.8), 0.2, (10, 12, 8))
ROOM = GridSpec((-6.4, -6.4, -5.0), 0.2, (64, 64, 40))
SENSOR = np.zeros((1, 3))


def enters(origin, direction, low, high):
    """Distance at which a ray enters a box and how far it runs in it, by the slab method; None where it misses."""
    first, last = 0.0, math.inf
    for o, d, a, b in zip(origin, direction, low, high):
        if d == 0:
            if not a < o < b:
                return None
            continue
        near, far = sorted(((a - o) / d, (b - o) / d))
        first, last = max(first, near), min(last, far)
    return (first, last - first) if last > first else None


def nearest_box(labels, grid, origin, direction):
    """(label, distance, shortest way in any box on the way to it) of the first occupied voxel."""
    best, clearest = (0, math.inf), math.inf
    for index in zip(*np.nonzero(labels)):
        low = np.array(grid.low) + np.array(index) * grid.voxel_size
        found = enters(origin, direction, low, low + grid.voxel_size)
        if found:
            clearest = min(clearest, found[1])
            best = min(best, (int(labels[index]), found[0]), key=lambda hit: hit[1])
    return *best, clearest


def test_first_hits_match_boxes_one_by_one():
    rng = np.random.default_rng(2)
    labels = np.where(rng.random(SMALL.size) < 0.06, rng.choice([1, 4, 16, 255], SMALL.size), 0).astype(np.uint8)
    origins = rng.uniform(np.add(SMALL.low, 0.01), np.subtract(SMALL.high, 0.01), (300, 3))
    directions = rng.normal(size=(300, 3))
    directions[:60] *= np.eye(3)[rng.integers(0, 3, 60)]  # along an axis
    directions[60:120, 2] = 0
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    got, distance = first_hits(labels, SMALL, origins, directions)
    compared = Counter()
    for i in range(300):
        label, expected, clearest = nearest_box(labels, SMALL, origins[i], directions[i])
        if clearest > 1e-4:  # a shorter cut through a corner is a matter of rounding
            compared[label] += 1
            assert got[i] == label, i
            assert not label or distance[i] == pytest.approx(expected, abs=1e-4)
    assert sum(compared.values()) > 280 and min(compared[label] for label in (0, 1, 4, 16, 255)) > 10


def test_directions_are_like_a_lidars():
    directions = ray_directions()
    assert directions.shape == (14040, 3)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    pitches = np.unique(np.round(np.arcsin(directions[:, 2]), 9))
    assert len(pitches) == 39 and pitches[0] == pytest.approx(-math.pi / 4) and 0.21 <= pitches[-1] < 0.23
    np.testing.assert_allclose(-1.84 / np.tan(pitches[:10]), 1.84 * np.arange(1, 11), rtol=1e-6)


def room(wall: int, label: int = 15) -> np.ndarray:
    """Labels of ROOM: empty but for a square wall `wall` voxels from the sides of the grid."""
    labels = np.zeros(ROOM.size, np.uint8)
    labels[wall : 64 - wall, wall : 64 - wall] = label
    labels[wall + 1 : 63 - wall, wall + 1 : 63 - wall] = 0
    return labels


def test_a_perfect_prediction_scores_one_in_what_is_there():
    rays = RayIoU(ROOM)
    rays.add(room(4), room(4), SENSOR)
    figures = rays.report()
    assert [figures[key] for key in ("1", "2", "4", "mean")] == [1, 1, 1, 1]
    assert {name for name, value in figures["per_class"].items() if value is not None} == {"manmade"}
    assert figures["rays_cast"] == 14040 and 10_000 < figures["rays"] < 14040, "the steepest rays miss the wall"


def test_a_wall_at_another_distance_counts_from_the_threshold_on():
    for voxels, expected in ((3, (1, 1, 1)), (4, None), (6, (0, 1, 1)), (11, (0, 0, 1))):
        rays = RayIoU(ROOM)  # along an axis the walls lie 0.6, 0.8, 1.2 and 2.2 m apart, across corners 1.42 times that
        rays.add(room(4 + voxels), room(4), SENSOR)
        figures = rays.report()
        if expected:
            assert (figures["1"], figures["2"], figures["4"]) == expected
            assert figures["mean"] == pytest.approx(sum(expected) / 3)
        else:
            assert 0 < figures["1"] < 1 and figures["2"] == 1


def test_a_wrong_class_and_a_missing_wall_score_nothing():
    for prediction, classes in ((room(4, label=16), {"manmade", "vegetation"}), (room(4) * 0, {"manmade"})):
        rays = RayIoU(ROOM)
        rays.add(prediction, room(4), SENSOR)
        assert rays.report()["mean"] == 0
        assert {name for name, value in rays.report()["per_class"].items() if value is not None} == classes


def test_rays_into_the_unknown_and_into_nothing_are_left_out():
    whole, half = RayIoU(ROOM), RayIoU(ROOM)
    whole.add(room(4), room(4), SENSOR)
    hidden = room(4)
    hidden[32:, 8:56][hidden[32:, 8:56] == 0] = 255  # right of the sensor nothing was observed in front of the wall
    hidden[31:34, 31:34, 22:28] = 0
    half.add(room(4), hidden, SENSOR)
    assert half.report()["mean"] == 1
    assert 0.3 < half.report()["rays"] / whole.report()["rays"] < 0.55
    empty = RayIoU(ROOM)
    empty.add(room(4), room(4) * 0, SENSOR)
    assert empty.report()["rays"] == 0 and math.isnan(empty.report()["mean"])


def test_counts_match_a_loop_over_rays():
    rng = np.random.default_rng(8)
    truth, predicted = rng.integers(1, 5, 500), rng.integers(0, 5, 500)
    truth_at, predicted_at = rng.uniform(0, 10, (2, 500))
    rays = RayIoU(ROOM)
    for part in (slice(0, 200), slice(200, None)):
        rays.add_rays(
            predicted[part].astype(np.uint8), predicted_at[part], truth[part].astype(np.uint8), truth_at[part]
        )
    means = []
    for threshold in (1, 2, 4):
        scores = []
        for label in range(1, 17):
            hits = either = 0
            for t, p, a, b in zip(truth, predicted, truth_at, predicted_at):
                hit = t == p == label and abs(a - b) < threshold
                hits += hit
                either += 1 if hit else int(t == label) + int(p == label)
            if either:
                scores.append(hits / either)
        means.append(sum(scores) / len(scores))
    figures = rays.report()
    np.testing.assert_allclose([figures["1"], figures["2"], figures["4"]], means)
    assert figures["mean"] == pytest.approx(sum(means) / 3)


def test_origins_are_spread_over_the_drive_inside_the_grid():
    drive = np.column_stack([np.zeros(41), np.arange(-100, 101, 5), np.zeros(41)]).astype(float)
    origins = choose_origins(GridSpec(), drive)
    assert len(origins) == 8 and origins[0, 1] == -50 and origins[-1, 1] == 50
    np.testing.assert_array_equal(choose_origins(GridSpec(), drive[19:22]), drive[19:22])
    assert len(choose_origins(GridSpec(), np.array([[0, 50.5, 0], [0, 0, 2.5]]))) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidFrameError, match="1 origins outside"):
        first_hits(np.zeros(SMALL.size, np.uint8), SMALL, np.array([[0, 0, 5.0]]), np.array([[1.0, 0, 0]]))
    with pytest.raises(ValueError, match="predicted labels below 17, got 255"):
        RayIoU(SMALL).add(np.full(SMALL.size, 255, np.uint8), np.zeros(SMALL.size, np.uint8), SENSOR)
