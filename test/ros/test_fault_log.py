"""Faults in the log."""

from occfusion_ros.ros.health import fault_log
from occfusion_ros.ros.health.fault_log import MOST_CAUSES, PERIOD_S, FaultLog


class Lines(list):
    """A logger that keeps what it is told."""

    warning = list.append


def test_a_noisy_cause_does_not_hide_others(monkeypatch):
    lines, now = Lines(), [100.0]
    monkeypatch.setattr(fault_log.time, "monotonic", lambda: now[0])
    log = FaultLog(lines)
    for index in range(300):
        now[0] = 100.0 + index * 0.03
        log("image cam_back", "wrong size")
        log("transform", "grid from lidar unknown")
    assert lines[:2] == ["image cam_back: wrong size", "transform: grid from lidar unknown"]
    assert lines[2:] == [f"{line} (and {int(PERIOD_S / 0.03)} more)" for line in lines[:2]]


def test_causes_without_end_are_forgotten():
    lines = Lines()
    log = FaultLog(lines)
    for index in range(3 * MOST_CAUSES):
        log(f"cause {index}")
    assert len(lines) == 3 * MOST_CAUSES and len(log._due) <= MOST_CAUSES
