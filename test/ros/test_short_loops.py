"""A recording of a moment that is played again and again is answered each round, in simulated time."""

import pytest
from helpers.rig import MS, NOW, POINTS
from helpers.ros_messages import cloud
from rosgraph_msgs.msg import Clock

from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns


@pytest.mark.parametrize("sweeps", [1, 3])
def test_each_round_of_a_short_bag_is_answered(start, sweeps):
    rig = start(use_sim_time=True)
    clock = rig.node.get_clock()
    for i in range(3):
        for j in range(sweeps):
            stamp = NOW + 40 * j * MS
            rig.send("/clock", Clock(clock=header_from(stamp, "").stamp))
            rig.wait(lambda wanted=stamp: clock.now().nanoseconds == wanted, "the clock")
            rig.send("/lidar_top", cloud(POINTS, stamp_ns=stamp))
            assert stamp_ns(rig.wait_for_occupancy(i * sweeps + j + 1).header) == stamp
        rig.send("/clock", Clock(clock=header_from(NOW + 40 * sweeps * MS, "").stamp))
        rig.wait(lambda: clock.now().nanoseconds > NOW + 40 * (sweeps - 1) * MS + 1, "the end of a round")
    assert not rig.dropped()
