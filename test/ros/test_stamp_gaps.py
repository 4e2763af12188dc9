"""What distances between stamps tell."""

import numpy as np
import pytest

from occfusion_ros.ros.health.stamp_gaps import FEWEST, StampGaps, explain

S, NOW = 1_000_000_000, 1_790_000_000 * 1_000_000_000
YEAR_S = 31_557_600


def stamps(gaps_s, sweep_ns: int = NOW, interval_s: float = 0.1) -> np.ndarray:
    """(N, 2) of sweeps and their images."""
    sweeps = sweep_ns + (np.arange(len(gaps_s)) * interval_s * S).astype(np.int64)
    return np.stack([sweeps, sweeps + (np.asarray(gaps_s) * S).round().astype(np.int64)], 1)


CONSTANT = np.full(12, 1.0)


@pytest.mark.parametrize(
    ("pairs", "kind", "texts"),
    [
        (stamps(0.32 * CONSTANT), "offset", ["+0.32 s apart throughout", "camera_tolerance_s above 0.32"]),
        (stamps(-4.0 * CONSTANT), "offset", ["-4.00 s"]),
        (stamps(0.2 + 0.03 * np.arange(12)), "drift", ["+300.00 ms a second", "PTP or chrony"]),
        (stamps(-0.5 - 2e-3 * np.arange(24), interval_s=1.0), "drift", ["-2.00 ms a second"]),
        (stamps(18.0 * CONSTANT), "leap seconds", ["GPS time", "UTC"]),
        (stamps(-37.1 * CONSTANT), "leap seconds", ["TAI", "-37.10 s"]),
        (stamps(7200.02 * CONSTANT), "time zone", ["+7,200.02 s", "local time"]),
        (stamps(-19800.0 * CONSTANT), "time zone", ["local time"]),  # half past five, as in India
        (
            stamps(1_789_999_000 * CONSTANT, sweep_ns=1000 * S),
            "epoch",
            ["57 years apart", "the sweeps count from when"],
        ),
        (stamps(-1_789_990_000 * CONSTANT), "epoch", ["the images count from when", "PTP"]),
        (stamps(-5 * YEAR_S * CONSTANT), "epoch", ["5.0 years apart", "never set"]),
        (stamps([0.15, 0.4, -0.3, 0.2, -0.45, 0.25, 0.35, -0.2]), "rhythm", ["0.15 to 0.45 s apart"]),
        (stamps(450.0 * CONSTANT), "offset", ["+450.00 s"]),  # half a quarter of an hour is no time zone
    ],
)
def test_kinds_are_told_apart(pairs, kind, texts):
    found, text = explain(pairs, 0.1)
    assert found == kind, text
    assert [words for words in texts if words not in text] == [], text


def test_each_camera_and_kind_is_said_once_and_shown_always():
    said: list[str] = []
    gaps = StampGaps(lambda: 0.1, said.append)
    for index in range(3 * FEWEST):
        sweep = NOW + index * S // 10
        gaps.observe(sweep, {"left": sweep + S, "right": sweep + S, "front": sweep + S // 100, "back": None})
        verdicts = gaps.verdicts()
        if index < FEWEST - 1:
            assert not verdicts
    assert len(said) == 1 and "left, right" in said[0] and "camera_tolerance_s above 1.00" in said[0]
    assert verdicts == said
    assert gaps.distances() == {
        "stamps: left": "image +1.00 s from its sweep, camera_tolerance_s 0.1",
        "stamps: right": "image +1.00 s from its sweep, camera_tolerance_s 0.1",
        "stamps: front": "image +0.01 s from its sweep, camera_tolerance_s 0.1",
    }


def test_one_image_in_time_ends_the_verdict_and_so_does_a_jump():
    gaps = StampGaps(lambda: 0.1, lambda _: None)
    for index in range(FEWEST):
        gaps.observe(NOW + index * S, {"left": NOW + index * S + S // 2})
    assert gaps.verdicts()
    gaps.observe(NOW + FEWEST * S, {"left": NOW + FEWEST * S})
    assert not gaps.verdicts()
    gaps.observe(NOW, {"left": NOW + S // 2})
    assert not gaps.verdicts(), "too few since time jumped back"
