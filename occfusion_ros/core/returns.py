"""Which points of a sweep are returns: drivers write beams that met nothing in ways of their own."""

import numpy as np

MIN_RANGE = 0.5  # metres; hardly a LiDAR measures less: it is its own housing, or a range of 0 and a beam's offset
MARK_SHARE = 0.01  # of all points; beams that agree to the last bit are so many only where they met nothing
MARK_COUNT = 64
SAMPLE = 1024  # points that are looked through for such places
SAME_RANGE = 1e-5  # relative, of squares: the rounding of float32 coordinates
FLAT = 0.05  # of the range: a ring on level ground has one range too, but also one height


def are_returns(xyz: np.ndarray, min_range: float = MIN_RANGE) -> np.ndarray:
    """Which points of one LiDAR's sweep are returns.

    No returns are: what is not finite; points nearer than `min_range`, zeros among them; a place at which a share of
    the points lies to the last bit, which is a driver's zero seen from another frame or a sentinel; and a share of the
    points at the greatest range in many directions, which is how simulators write that nothing was met.

    Args:
        xyz: (N, 3) float, metres, in the LiDAR's own frame.
        min_range: metres.

    Returns:
        (N,) bool.
    """
    x, y, z = xyz.T
    with np.errstate(over="ignore", invalid="ignore"):
        squared = x * x + y * y + z * z
    returns = np.isfinite(squared) & (squared >= min_range**2)
    enough = max(MARK_COUNT, MARK_SHARE * len(xyz))
    for place in _repeated_places(xyz, returns) if np.count_nonzero(returns) >= enough else ():
        marked = (x == place[0]) & (y == place[1]) & (z == place[2])
        if np.count_nonzero(marked) >= enough:
            returns &= ~marked
    farthest = returns & (squared >= np.max(squared, where=returns, initial=0.0) * (1 - SAME_RANGE))
    if np.count_nonzero(farthest) >= enough and np.ptp(z[farthest]) ** 2 > FLAT**2 * squared[farthest].max():
        returns &= ~farthest
    return returns


def _repeated_places(xyz: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """(P, 3) places at which several points of an even sample lie; no more than can have their share each."""
    step = max(1, len(xyz) // SAMPLE) | 1  # odd: in step with no power of two, of rings or columns
    sample = xyz[::step][returns[::step]]
    places, counts = np.unique(sample, axis=0, return_counts=True)
    several = counts >= max(3, MARK_SHARE * len(sample) / 3)
    return places[several][np.argsort(-counts[several], kind="stable")][: round(1 / MARK_SHARE)]
