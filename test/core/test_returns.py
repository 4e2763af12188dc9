"""What is a return: every way in which drivers write that a beam met nothing, and nothing besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core.returns import MIN_RANGE, are_returns


def scene(count: int = 4000, seed: int = 0) -> np.ndarray:
    """(N, 3) float32: level ground below the sensor and things in all directions, as float32 arithmetic gives them."""
    rng = np.random.default_rng(seed)
    azimuth, ranges = rng.uniform(-np.pi, np.pi, count), rng.uniform(2, 60, count)
    height = np.where(rng.uniform(size=count) < 0.5, -1.8, rng.uniform(-1.8, 6, count))
    return np.stack([ranges * np.cos(azimuth), ranges * np.sin(azimuth), height], 1).astype(np.float32)


def directions(count: int) -> np.ndarray:
    """(N, 3) unit vectors over the channels of a spinning LiDAR."""
    azimuth = np.linspace(-np.pi, np.pi, count, endpoint=False)
    elevation = np.radians(np.linspace(-25, 15, 32))[np.arange(count) % 32]
    return np.stack([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], 1)


NOTHING = {
    "zeros": np.zeros((500, 3)),
    "negative zeros": np.full((500, 3), -0.0),
    "NaN": np.full((500, 3), np.nan),
    "one NaN": np.tile([1.0, np.nan, 3.0], (500, 1)),
    "infinite": np.tile([np.inf, 0, 0], (500, 1)),
    "too great to square": np.full((500, 3), 3e38),
    "range 0 about the optical center": 0.0277 * directions(500) + [0, 0, 0.0382],
    "the sensor's housing": 0.4 * directions(500),
    "zeros moved with the sensor": np.tile([1.2, -0.4, 1.9], (500, 1)),
    "a sentinel": np.tile([-1.0, -1.0, -1.0], (500, 1)),
    "greatest range of a simulator": 70 * directions(500),
    "zeros of two sensors": np.repeat([[1.2, 0.5, 1.9], [1.2, -0.5, 1.9]], 250, axis=0),
}


@pytest.mark.parametrize("case", NOTHING)
@pytest.mark.parametrize("returns", [0, 1500])
def test_beams_that_met_nothing_are_no_returns(case, returns):
    nothing = NOTHING[case].astype(np.float32)
    if not returns and case == "zeros of two sensors":
        nothing = nothing[:250]
    sweep, order = np.vstack([nothing, scene(returns)]), np.random.default_rng(1).permutation(len(nothing) + returns)
    got = are_returns(sweep[order])
    np.testing.assert_array_equal(got, order >= len(nothing))


@pytest.mark.parametrize(
    "points",
    [
        scene(),
        scene(20),
        scene(1),
        scene()[:0],
        np.tile(scene(1000), (3, 1)),
        np.round(scene() * 10) / 10,
        30 * directions(2000) * [1, 1, 0] + [0, 0, -1.8],
        np.tile(np.float32([5, 0, 0]), (10, 1)),
    ],
    ids=["sweep", "few", "one", "none", "three returns a beam", "whole decimetres", "one ring on level ground", "same"],
)
def test_returns_stay(points):
    assert are_returns(points.astype(np.float32)).all()


def test_the_nearest_that_can_be_measured_is_the_callers_to_say():
    points = np.float32([[0.8, 0, 0], [0, 0, -0.3], [0, MIN_RANGE, 0]])
    assert are_returns(points).tolist() == [True, False, True]
    assert are_returns(points, 0.1).all() and are_returns(points, 0.7).tolist() == [True, False, False]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.05, 0.9), place=st.tuples(*[st.floats(-60, 60, width=32)] * 3))
def test_marks_are_found_wherever_they_lie(seed, share, place):
    sweep = scene(3000, seed)
    marked = np.random.default_rng(seed).uniform(size=len(sweep)) < share
    sweep[marked] = place
    np.testing.assert_array_equal(are_returns(sweep), ~marked)
