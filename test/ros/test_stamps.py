"""Stamps and frames of headers."""

import pytest
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from occfusion_ros.core.errors import MOST_CHARACTERS, InvalidFrameError
from occfusion_ros.ros.conversions.stamps import frame_of, header_from, stamp_ns


@pytest.mark.parametrize("stamp", [0, 1, 1_700_000_000_123_456_789, (2**31 - 1) * 10**9 + 999_999_999])
def test_stamps_survive(stamp):
    assert stamp_ns(header_from(stamp, "map")) == stamp


@pytest.mark.parametrize("nanoseconds", [10**9, 2**32 - 1])
def test_nanoseconds_of_a_second_or_more_are_no_stamp(nanoseconds):
    """They would carry the last second that a message can hold over its end."""
    assert stamp_ns(Header(stamp=Time(sec=2**31 - 1, nanosec=nanoseconds))) == 0


@pytest.mark.parametrize("name", ["", "x" * 256, "lidar\n", "lidar\0", "lidar_\udcff"])
def test_what_cannot_be_a_frame_is_refused(name):
    header = Header()
    header._frame_id = name
    with pytest.raises(InvalidFrameError, match="frame_id: expected 1 to 255 printable characters"):
        frame_of(header)
    assert frame_of(Header(frame_id="lidar/top ä")) == "lidar/top ä"


def test_long_errors_are_cut():
    text = str(InvalidFrameError("x" * 10**6))
    assert len(text) == MOST_CHARACTERS + 4 and text.endswith("x ...")
