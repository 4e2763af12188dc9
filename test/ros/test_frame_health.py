"""Verdicts on frames: what is a fault, what is not, and that a cause is always named."""

from collections import Counter
from types import SimpleNamespace

import pytest

from occfusion_ros.ros.health.diagnostics import ERROR, OK, WARN
from occfusion_ros.ros.health.stamp_gaps import StampGaps
from occfusion_ros.ros.health.statistics import Statistics
from occfusion_ros.ros.node import frame_health
from occfusion_ros.ros.node.frame_health import FrameHealth


class Run:
    """A node's counters, and time that passes."""

    def __init__(self, monkeypatch, rate_hz: float = 0.0, interval_s: float = 0.1) -> None:
        self.now, self.rate_hz = 1000.0, rate_hz
        monkeypatch.setattr(frame_health.time, "monotonic", lambda: self.now)
        self.lidar = SimpleNamespace(received=0, interval_s=interval_s)
        self.sync = SimpleNamespace(**{name: Counter() for name in ("dropped", "missing", "late", "unused")})
        self.stats = Statistics()
        self.health = FrameHealth(
            self.lidar, self.sync, self.stats, StampGaps(lambda: 0.1, print), lambda: self.rate_hz
        )

    def second(self, sweeps: int = 10, published: int = 10, fault: tuple = (), superseded: int = 0):
        """A second passes; what the health says then."""
        self.now += 1.0
        self.lidar.received += sweeps
        self.stats.published += published
        self.sync.dropped["superseded"] += superseded
        if fault:
            self.stats.add_fault(*fault)
        return self.health()


def test_a_sweep_that_is_still_computed_is_no_fault(monkeypatch):
    """One sweep a second, each published in the second after, with a camera missing."""
    run = Run(monkeypatch, interval_s=1.0)
    for index in range(12):
        run.sync.missing["cam_front"] += 1
        state = run.second(1, published=int(index > 0))
        assert state.level == WARN and "without" in state.message and "none was published" not in state.message


def test_half_a_hertz_without_faults_is_well(monkeypatch):
    run = Run(monkeypatch, interval_s=2.0)
    for index in range(12):
        assert run.second(index % 2, published=(index + 1) % 2).level == OK


@pytest.mark.parametrize("cause", ["transform", "invalid sweep", "sweep without stamp", "backend", "internal"])
def test_when_nothing_is_published_the_cause_is_named(monkeypatch, cause):
    run = Run(monkeypatch)
    state = run.second(3, 0, fault=(cause, "this went wrong"))
    assert state.level == ERROR and f"none was published: 1 x {cause} ({cause}: this went wrong)" in state.message


def test_out_of_order_is_named_too(monkeypatch):
    run = Run(monkeypatch)
    run.sync.dropped["out_of_order"] += 8
    state = run.second(8, 0)
    assert state.level == ERROR and "none was published: 8 x out_of_order stamps" in state.message


def test_a_fault_of_a_camera_is_a_warning_that_names_it(monkeypatch):
    run = Run(monkeypatch)
    run.stats.add_fault("transform cam_back", "unknown frame")
    state = run.second(1, 0, fault=("image cam_left", "cut short"))
    assert state.level == WARN and "1 x transform cam_back" in state.message and "1 x image cam_left" in state.message


def test_newest_wins_is_no_warning(monkeypatch):
    run = Run(monkeypatch)
    for _ in range(6):
        state = run.second(20, 10, superseded=10)
        assert state.level == OK and "superseded by newer ones" in state.message


@pytest.mark.parametrize(("wanted_hz", "level"), [(0.0, OK), (3.0, OK), (8.0, WARN)])
def test_a_rate_that_is_wanted_is_held(monkeypatch, wanted_hz, level):
    run = Run(monkeypatch, rate_hz=wanted_hz)
    states = [run.second(20, 5, superseded=15) for _ in range(8)]
    assert states[-1].level == level and ("5.0 Hz published, below min_output_rate_hz 8" in states[-1].message) == (
        level == WARN
    )


def test_silence_of_the_lidar_is_not_a_low_rate(monkeypatch):
    run = Run(monkeypatch, rate_hz=8.0)
    assert [run.second(0, 0).level for _ in range(8)] == [OK] * 8


def test_what_is_over_is_forgotten(monkeypatch):
    run = Run(monkeypatch)
    assert run.second(fault=("image cam_left", "cut short")).level == WARN
    assert [run.second().level for _ in range(7)][-1] == OK
