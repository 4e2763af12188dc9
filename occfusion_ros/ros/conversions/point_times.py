"""What the time of a cloud's points means: drivers write it in many ways, and say nowhere in which."""

from typing import NamedTuple

import numpy as np

UNITS_NS = {"seconds": 1_000_000_000, "microseconds": 1_000, "nanoseconds": 1}
SHORTEST_S, LONGEST_S = 0.005, 0.5  # of a sweep: a hundredfold at most, so that one unit fits at most
LEAST_PER_S = 1000  # points: fewer are a packet in nanoseconds that was mistaken for a sweep in microseconds
LEAST_TIMES = 16  # different ones: fewer number something, such as the sweeps of several that were put together
SAMPLE = 512


class PointTimes(NamedTuple):
    """When the points of a cloud were measured.

    Attributes:
        seconds: (N,) float64 after the cloud's stamp.
        meaning: what the numbers were taken for.
    """

    seconds: np.ndarray
    meaning: str


class UnclearTimesError(Exception):
    """Times that cannot be told with certainty; the text says why."""


def read_times(name: str, values: np.ndarray, stamp_ns: int) -> PointTimes:
    """The times of points from the numbers in a field.

    A unit is taken where it makes the sweep last as long as sweeps do, and an origin (the cloud's stamp, or that of the
    stamps' clock) where the points then lie about the stamp; both only where nothing else would do as well.

    Args:
        name: of the field.
        values: (N,) of any datatype, of points that are returns; N > 0.
        stamp_ns: the cloud's stamp.

    Raises:
        UnclearTimesError: the meaning is not certain.
    """
    values = values.astype(np.float64)  # holds every number of 32 bits
    if not np.isfinite(values).all():
        raise UnclearTimesError(f"{name}: not all times are finite")
    with np.errstate(over="ignore"):
        first, span = values.min(), np.ptp(values)
    units = [unit for unit, ns in UNITS_NS.items() if SHORTEST_S <= span * ns / 1e9 <= LONGEST_S]
    if not units:
        raise UnclearTimesError(
            f"{name}: from first to last {span:g}, which is no sweep of {SHORTEST_S:g} to "
            f"{LONGEST_S:g} s in any of {', '.join(UNITS_NS)}"
        )
    if len(values) * 1e9 < LEAST_PER_S * span * UNITS_NS[units[0]]:
        raise UnclearTimesError(f"{name}: {len(values)} points in {span:g} {units[0]} are too few")
    if len(np.unique(values[:: max(1, len(values) // SAMPLE)])) < LEAST_TIMES:
        raise UnclearTimesError(f"{name}: fewer than {LEAST_TIMES} different times")
    scale = UNITS_NS[units[0]]
    first_ns = round(first.item() * scale)
    starts = {"after the stamp": first_ns / 1e9, "on the stamp's clock": (first_ns - stamp_ns) / 1e9}
    likely = [origin for origin, start in starts.items() if -LONGEST_S <= start <= LONGEST_S - span * scale / 1e9]
    if len(likely) != 1:
        relative_s, absolute_s = starts.values()
        raise UnclearTimesError(
            f"{name}: in {units[0]} its first point comes {relative_s:g} s after the stamp, or "
            f"{absolute_s:g} s if on the stamp's clock: expected one of both about the stamp"
        )
    return PointTimes(starts[likely[0]] + (values - first) * (scale / 1e9), f"{name}, {units[0]} {likely[0]}")
