import numpy as np
import pytest

from occfusion_ros.core import past_sweeps
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import PastPoints
from occfusion_ros.core.past_sweeps import PastSweep, brought_to_present, past_points, thinned


def test_the_vehicle_and_what_is_no_point_are_left_out_where_the_sweep_was_measured():
    points = np.float32([[0.5, 0.5, 0, 1], [3, 0, 0, 1], [np.nan, 1, 1, 0], [0, 2, 0, 0.5]])
    assert np.array_equal(past_points(points, 1.5), points[[1, 3]])
    assert np.array_equal(past_points(points, 0), points[[0, 1, 3]])


def test_one_point_of_each_cube_is_kept():
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-30, 30, (20_000, 3)) * (0.1, 1, 0.02), rng.random(20_000)].astype(np.float32)
    kept = thinned(points)
    cubes = {tuple(cube) for cube in np.floor(points[:, :3] / np.float32(past_sweeps.SPACING_M)).astype(int).tolist()}
    assert len(kept) == len(cubes) < 18_000
    rows = {tuple(row): number for number, row in enumerate(points.tolist())}
    assert np.all(np.diff([rows[tuple(row)] for row in kept.tolist()]) > 0)
    assert len(thinned(points[:0])) == 0 and len(thinned(np.float32([[1e30, -1e30, 0, 0]]))) == 1


def test_no_sweep_keeps_more_than_its_share(monkeypatch):
    monkeypatch.setattr(past_sweeps, "MOST_POINTS", 100)
    points = np.c_[np.arange(1000.0), np.zeros((1000, 3))].astype(np.float32)
    kept = thinned(points)
    assert len(kept) == 100 and kept[0, 0] == 0 and kept[-1, 0] == 999


def test_sweeps_are_brought_to_where_their_points_lie_now():
    ahead = np.eye(4)
    ahead[:3, 3] = [0, -5, 0.5]  # the vehicle has driven 5 m since
    turned = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    sweeps = [
        PastSweep(np.float32([[1, 20, 0, 0.25]]), ahead, 0.5),
        PastSweep(np.float32([[2, 0, 1, 0], [0, 3, 0, 1]]), turned, 1.0),
    ]
    past = brought_to_present(sweeps)
    assert np.allclose(past.points, [[1, 15, 0.5, 0.25], [0, 2, 1, 0], [-3, 0, 0, 1]])
    assert past.lags.tolist() == [0.5, 1, 1] and sweeps[0].points[0, 1] == 20
    assert len(brought_to_present([]).points) == 0


@pytest.mark.parametrize(
    "points, lags, message",
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, np.float32), "past points: expected float32"),
        (np.zeros((2, 4), np.float32), np.zeros(3, np.float32), "lags: expected float32 .2,."),
        (np.zeros((2, 4), np.float32), np.zeros(2), "lags: expected float32"),
        (np.zeros((2, 4), np.float32), np.float32([0, -0.1]), "lags: expected seconds of at least 0"),
        (np.zeros((1, 4), np.float32), np.float32([np.nan]), "lags: expected seconds of at least 0"),
    ],
)
def test_past_points_that_are_none_are_refused(points, lags, message):
    with pytest.raises(InvalidFrameError, match=message):
        PastPoints(points, lags)
