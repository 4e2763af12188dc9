"""Deskewing: what a moving sensor saw of a scene that stands still comes out as it stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core.motion import KNOT_S, deskewed, knots


def motion(velocity: np.ndarray, turn: np.ndarray, seconds: float) -> np.ndarray:
    """(4, 4) fixed_from_sensor of a sensor that moves and turns (rad/s about an axis) evenly; identity at 0."""
    rate = np.linalg.norm(turn)
    matrix, axis = np.eye(4), turn / (rate or 1)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = rate * seconds
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = velocity * seconds
    return matrix


def skewed(scene: np.ndarray, seconds: np.ndarray, velocity: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(N, 4) float32: points of a scene in the fixed frame as the sensor measured each at its own time."""
    seen = [np.linalg.inv(motion(velocity, turn, at)) @ [*point, 1] for point, at in zip(scene, seconds)]
    return np.c_[np.array(seen)[:, :3], np.arange(len(scene))].astype(np.float32)


vectors = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), velocity=vectors, turn=vectors, start=st.floats(-0.2, 0.1), span=st.floats(0.005, 0.2))
def test_a_scene_that_stands_still_is_put_together_again(seed, velocity, turn, start, span):
    """At 40 m/s and 1.5 rad/s along and about each axis."""
    velocity, turn = 40 * velocity, 1.5 * turn
    rng = np.random.default_rng(seed)
    scene, seconds = rng.uniform(-50, 50, (300, 3)), start + span * rng.uniform(size=300)
    at = knots(seconds)
    got = deskewed(
        skewed(scene, seconds, velocity, turn), seconds, at, np.stack([motion(velocity, turn, t) for t in at])
    )
    assert got.dtype == np.float32 and (np.diff(at) <= KNOT_S * (1 + 1e-9)).all()
    order = got[:, 3].astype(int)
    assert sorted(order.tolist()) == list(range(300))
    np.testing.assert_allclose(got[:, :3], scene[order], atol=0.01)


def test_without_deskew_it_would_be_far_off():
    seconds = np.linspace(0, 0.1, 300)
    scene = np.random.default_rng(0).uniform(-50, 50, (300, 3))
    off = skewed(scene, seconds, np.array([20.0, 0, 0]), np.array([0, 0, 0.5]))[:, :3] - scene
    assert np.linalg.norm(off, axis=1).max() > 2


@pytest.mark.parametrize("seconds, count", [([0, 0.1], 11), ([-0.05, 0.05], 11), ([0, 0.005], 2), ([0, 0.5], 51)])
def test_poses_are_few(seconds, count):
    at = knots(np.array(seconds))
    assert len(at) == count and (at[0], at[-1]) == tuple(seconds)
