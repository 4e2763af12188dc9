"""How far the stamps of sweeps and images lie apart, and what that tells where they never pair."""

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from ..conversions.stamps import NS_PER_S

KEPT = 24  # distances of a camera
FEWEST = 4  # in a row that did not pair, before anything is concluded
YEAR_S = 365.25 * 86400
EPOCH_S = 20 * YEAR_S  # stamps before 1990 are no dates: they count from when a device was switched on
LEAP_SECONDS = {
    18: "GPS time runs ahead of UTC by that much",
    19: "TAI runs ahead of GPS time by that much",
    37: "TAI, as PTP distributes it, runs ahead of UTC by that much",
}
LEAP_SLACK_S = 0.5
ZONE_S, ZONES_S = 900.0, 14.5 * 3600  # time zones differ by quarters of an hour
ZONE_SLACK_S = 2.0
DRIFT = 1e-4  # seconds a second: clocks that drift less differ by a constant for minutes


class StampGaps:
    """Remembers, camera by camera, the distance from a sweep's stamp to the nearest image's."""

    def __init__(self, tolerance_s: Callable[[], float], warn: Callable[[str], None]) -> None:
        """
        Args:
            tolerance_s: the present `camera_tolerance_s`.
            warn: takes a sentence; once for each camera and kind of trouble.
        """
        self._tolerance_s, self._warn = tolerance_s, warn
        self._gaps: dict[str, deque[tuple[int, int]]] = {}  # by camera: stamps of sweep and image, nanoseconds
        self._said: set[tuple[str, str]] = set()

    def observe(self, sweep_ns: int, nearest_ns: Mapping[str, int | None]) -> None:
        """Take note of a released sweep; by camera the stamp of its nearest image, None where none has come."""
        for camera, image_ns in nearest_ns.items():
            if image_ns is not None:
                gaps = self._gaps.setdefault(camera, deque(maxlen=KEPT))
                if gaps and gaps[-1][0] > sweep_ns:  # time jumped back
                    gaps.clear()
                gaps.append((sweep_ns, image_ns))

    def distances(self) -> dict[str, str]:
        """What to show of every camera, always."""
        return {
            f"stamps: {camera}": f"image {_signed(_gap_s(gaps[-1]))} from its sweep, "
            f"camera_tolerance_s {self._tolerance_s():g}"
            for camera, gaps in list(self._gaps.items())
            if gaps
        }

    def verdicts(self) -> list[str]:
        """What is wrong with cameras whose images never pair, in sentences; alike ones together."""
        found: dict[tuple[str, str], list[str]] = {}
        for camera, gaps in list(self._gaps.items()):
            recent = list(gaps)[-FEWEST:]
            if len(recent) == FEWEST and min(abs(_gap_s(gap)) for gap in recent) > self._tolerance_s():
                found.setdefault(explain(np.array(gaps), self._tolerance_s()), []).append(camera)
        for (kind, text), cameras in found.items():
            if new := [camera for camera in cameras if (camera, kind) not in self._said]:
                self._said.update((camera, kind) for camera in new)
                self._warn(_sentence(new, text))
        return [_sentence(cameras, text) for (_, text), cameras in found.items()]


def _sentence(cameras: list[str], text: str) -> str:
    return f"images of {', '.join(cameras)} never pair with a sweep: {text}"


def explain(stamps_ns: np.ndarray, tolerance_s: float) -> tuple[str, str]:
    """What distances that never fall within the tolerance tell.

    Args:
        stamps_ns: (N, 2) int64, stamps of sweeps and of their nearest images, in order.

    Returns:
        the kind of trouble and a sentence with the remedy.
    """
    gaps_s = (stamps_ns[:, 1] - stamps_ns[:, 0]) / NS_PER_S  # the difference first: stamps have 19 digits
    middle = float(np.median(gaps_s))
    if abs(middle) > YEAR_S:
        return "epoch", _epoch(*(stamps_ns[-1] / NS_PER_S), middle)
    for seconds, reason in LEAP_SECONDS.items():
        if abs(abs(middle) - seconds) < LEAP_SLACK_S:
            return "leap seconds", (
                f"they lie {_signed(middle)} apart: {reason}; have both drivers stamp with UTC, "
                "or with the time of reception"
            )
    if _is_zone(middle):
        return "time zone", (
            f"they lie {_signed(middle)} apart, as time zones do: one of them stamps with local time instead of UTC"
        )
    drift = _drift((stamps_ns[:, 0] - stamps_ns[0, 0]) / NS_PER_S, gaps_s)
    if abs(drift) > DRIFT and np.ptp(gaps_s) > tolerance_s / 10:
        return "drift", (
            f"they lie {_signed(middle)} apart and drift by {1e3 * drift:+.2f} ms a second: their clocks "
            "are not synchronized; use PTP or chrony, or stamp with the time of reception"
        )
    if np.ptp(gaps_s) < tolerance_s:
        return "offset", (
            f"they lie {_signed(middle)} apart throughout: mend the delay of the one that is wrong, or "
            f"set camera_tolerance_s above {abs(middle):.2f}"
        )
    return "rhythm", (
        f"they lie {abs(gaps_s).min():.2f} to {abs(gaps_s).max():.2f} s apart: the images are rarer than "
        "camera_tolerance_s allows, or come late: raise it, or the camera's rate"
    )


def _epoch(sweep_s: float, image_s: float, gap_s: float) -> str:
    years = abs(gap_s) / YEAR_S
    early = "sweeps" if sweep_s < image_s else "images"
    if min(sweep_s, image_s) < EPOCH_S:
        return (
            f"their stamps lie {years:.0f} years apart: the {early} count from when the sensor was switched on; "
            "set its time mode (PTP, GPS or the host's time), or have its driver stamp with the time of reception"
        )
    return (
        f"their stamps lie {years:.1f} years apart: the {early} are stamped by a clock that was never set, or come "
        "from another recording; set the clock, or use the bag's own time for both"
    )


def _is_zone(gap_s: float) -> bool:
    zones = round(abs(gap_s) / ZONE_S)
    return 0 < zones and abs(gap_s) < ZONES_S and abs(abs(gap_s) - zones * ZONE_S) < ZONE_SLACK_S


def _drift(time_s: np.ndarray, gaps_s: np.ndarray) -> float:
    """Slope of the distances, seconds a second, where a straight line explains nearly all of their spread; else 0."""
    if len(time_s) < FEWEST or not np.ptp(time_s):
        return 0.0
    slope, start = np.polyfit(time_s, gaps_s, 1)
    rest = gaps_s - (start + slope * time_s)
    return float(slope) if rest.std() < 0.2 * gaps_s.std() else 0.0


def _gap_s(stamps: tuple[int, int]) -> float:
    return (stamps[1] - stamps[0]) / NS_PER_S


def _signed(seconds: float) -> str:
    return f"{seconds:+,.2f} s" if abs(seconds) < YEAR_S else f"{seconds / YEAR_S:+.1f} years"
