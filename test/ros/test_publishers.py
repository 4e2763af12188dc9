"""Outputs: computed for whoever listens, and kept for whoever comes late."""

import pytest
from helpers.rig import LATCHED, NOW, POINTS, S
from helpers.ros_messages import cloud
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from occfusion_msgs.msg import OccupancyGrid3D
from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.node import forms as built


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """Names of the forms that were computed, in turn."""
    forms = []
    for name in ("occupancy_bytes", "marker_bytes", "cloud_bytes", "unknown_bytes"):
        original = getattr(built, name)

        def counted(*arguments, name=name, original=original) -> bytes:
            forms.append(name)
            return original(*arguments)

        monkeypatch.setattr(built, name, counted)
    return forms


@pytest.mark.parametrize("qos", [10, LATCHED], ids=["volatile", "latched"])
def test_whoever_comes_after_the_only_sweep_gets_its_occupancy(start, computed, qos):
    rig = start()
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    assert computed == ["occupancy_bytes"], "nobody listened to the others"
    markers = rig.listen(MarkerArray, "/occfusion/markers", qos)
    points = rig.listen(PointCloud2, "/occfusion/points", qos)
    rig.wait(lambda: markers and points, "what was computed before")
    assert stamp_ns(markers[0].markers[-1].header) == stamp_ns(points[0].header) == NOW
    again = rig.listen(OccupancyGrid3D, "/occfusion/occupancy", LATCHED)
    rig.wait(lambda: again, "the occupancy that was published before")
    assert stamp_ns(again[0].header) == NOW
    seen = len(rig.diagnostics)
    rig.wait(lambda: len(rig.diagnostics) > seen + 1, "a second of quiet")
    assert sorted(computed) == ["cloud_bytes", "marker_bytes", "occupancy_bytes"], "each once"
    assert len(rig.occupancy) == len(markers) == len(points) == len(again) == 1


def test_latecomers_get_the_newest(start):
    rig = start()
    for index in range(3):
        rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + index * S))
        rig.wait_for_occupancy(index + 1)
    points = rig.listen(PointCloud2, "/occfusion/points", LATCHED)
    rig.wait(lambda: points, "the newest")
    assert [stamp_ns(message.header) for message in points] == [NOW + 2 * S]
