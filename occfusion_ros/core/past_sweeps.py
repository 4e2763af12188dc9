"""Earlier sweeps, as they are kept for later frames: thinned, and each with its pose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .frames import PastPoints

MOST_SWEEPS = 10
SPACING_M = 0.2  # of a sweep that is past one return is kept in each cube of this edge: more say nothing new of a voxel
MOST_POINTS = 20_000  # of such a sweep; nuScenes' has some 15,000
CUBE_BITS = (14, 14, 9)  # cubes along x, y and z that are told apart: 1.6 km and 51 m to each side
INDEX_BITS = 26  # of a point in its sweep


@dataclass(frozen=True, eq=False)
class PastSweep:
    """An earlier sweep, with what brings it to the present one.

    Attributes:
        points: (N, 4) float32, metres and intensity, in the grid frame at its own stamp; as `past_points` leaves them.
        grid_from_past: (4, 4) float64, metres, from there into the grid frame at the present sweep's stamp.
        lag_s: seconds by which it is older than the present sweep.
    """

    points: np.ndarray
    grid_from_past: np.ndarray
    lag_s: float


def past_points(points: np.ndarray, ego_radius: float) -> np.ndarray:
    """What is kept of a sweep (N, 4) float32 for later frames, in its own grid frame.

    The vehicle itself is left out here, before it moves on: later it would be an obstacle where it stood.

    Args:
        ego_radius: metres; returns nearer than this in x and y are the vehicle's. 0: it is left out already.
    """
    there = np.isfinite(points[:, :3]).all(axis=1) & (np.hypot(points[:, 0], points[:, 1]) >= ego_radius)
    return thinned(points[there])


def thinned(points: np.ndarray) -> np.ndarray:
    """Of finite points (N, 4) float32 the first in each cube, and of these `MOST_POINTS` evenly, in the given order."""
    key = np.zeros(len(points), np.int64)
    for axis, bits in zip(points[:, :3].T, CUBE_BITS):
        cubes = np.floor(axis / np.float32(SPACING_M)) + (1 << bits - 1)
        key = key << bits | cubes.clip(0, (1 << bits) - 1).astype(np.int64)
    order = np.sort(key << INDEX_BITS | np.arange(len(points)))  # faster than sorting indices by their key
    new = np.diff(order >> INDEX_BITS, prepend=-1) != 0
    first = np.sort(order[new] & (1 << INDEX_BITS) - 1)
    if len(first) > MOST_POINTS:
        first = first[np.linspace(0, len(first) - 1, MOST_POINTS).astype(int)]
    return points[first]


def brought_to_present(sweeps: Sequence[PastSweep]) -> PastPoints:
    """All points of sweeps where they lie in the present grid frame, with their lags."""
    if not sweeps:
        return PastPoints()
    lags = np.array([sweep.lag_s for sweep in sweeps], np.float32)
    return PastPoints(
        np.concatenate([_moved(sweep.points, sweep.grid_from_past) for sweep in sweeps]),
        np.repeat(lags, [len(sweep.points) for sweep in sweeps]),
    )


def _moved(points: np.ndarray, target_from_source: np.ndarray) -> np.ndarray:
    """(N, 4) float32 points, the first three columns moved."""
    matrix, result = target_from_source.astype(np.float32), points.copy()
    result[:, :3] = points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    return result
