"""Points of a moving sensor brought to one moment."""

import numpy as np

KNOT_S = 0.01  # seconds from pose to pose; a turn of 1 rad/s bends a line 50 m long by half a millimetre in that time


def knots(seconds: np.ndarray) -> np.ndarray:
    """(K,) float64: evenly spaced times, `KNOT_S` apart at most, from the first to the last of (N,) seconds; K > 1."""
    first, last = float(seconds.min()), float(seconds.max())
    return np.linspace(first, last, max(2, 1 + int(np.ceil((last - first) / KNOT_S))))


def deskewed(points: np.ndarray, seconds: np.ndarray, times: np.ndarray, target_from_sensor: np.ndarray) -> np.ndarray:
    """Points in the target frame, each from where the sensor was when it measured it.

    Between two poses a point moves on a straight line; see `KNOT_S` for what that neglects.

    Args:
        points: (N, 4) float32: x, y, z in metres in the sensor's frame when it was measured, and a value
            that stays.
        seconds: (N,) float, when each was measured.
        times: (K,) float64 evenly spaced seconds that span them, K > 1, see `knots`.
        target_from_sensor: (K, 4, 4) float64 rigid transforms at these times.

    Returns:
        (N, 4) float32, in the order of time.
    """
    steps = (seconds - times[0]) * ((len(times) - 1) / (times[-1] - times[0]))
    piece = np.clip(steps, 0, len(times) - 2).astype(np.int16)
    order = np.argsort(piece, kind="stable")
    points = np.take(points, order, axis=0)
    share = np.take(steps - piece, order).astype(np.float32)[:, None]
    ends = np.searchsorted(piece.take(order), np.arange(len(times)))
    poses = target_from_sensor.astype(np.float32)
    for index, (start, end) in enumerate(zip(ends, ends[1:])):
        xyz = points[start:end, :3]
        early, late = (xyz @ poses[i][:3, :3].T + poses[i][:3, 3] for i in (index, index + 1))
        points[start:end, :3] = early + share[start:end] * (late - early)
    return points
