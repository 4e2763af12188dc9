"""Raw images are read from their serialised bytes as the middleware reads them, and never beyond their end."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from ros_messages import received
from sensor_msgs.msg import Image

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.headers import header_from
from occfusion_ros.ros.images import image_from_serialised

FIELDS = ("header", "height", "width", "encoding", "is_bigendian", "step")
number = st.integers(0, 2**32 - 1)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
MESSAGE = Image(header=header_from(1_700_000_000_123_456_789, "cam"), height=2, width=3, encoding="mono8", step=3,
                data=b"abcdef")


@settings(max_examples=150, deadline=None)
@given(stamp=st.integers(-2**31 * 10**9, 2**31 * 10**9 - 1), frame=text, height=number, width=number, encoding=text,
       big_endian=st.integers(0, 255), step=number, data=st.binary(max_size=40))
def test_fields_are_those_of_the_message(stamp, frame, height, width, encoding, big_endian, step, data):
    message = Image(header=header_from(stamp, frame), height=height, width=width, encoding=encoding,
                    is_bigendian=big_endian, step=step, data=data)
    image = received(message)
    assert all(getattr(image, name) == getattr(message, name) for name in FIELDS)
    assert bytes(image.data) == data


def test_big_endian_messages():
    """As a middleware on another processor writes them."""
    parts = [b"\0\0\0\0", struct.pack(">iII4s", 1_700_000_000, 123_456_789, 4, b"cam\0"),
             struct.pack(">III6s", 2, 3, 6, b"mono8\0"), struct.pack(">BxII", 0, 3, 6), b"abcdef"]
    image = image_from_serialised(b"".join(parts))
    assert all(getattr(image, name) == getattr(MESSAGE, name) for name in FIELDS) and bytes(image.data) == b"abcdef"


def test_pixels_are_not_copied():
    serialised = serialize_message(MESSAGE)
    assert image_from_serialised(serialised).data.obj is serialised


def test_a_message_that_is_cut_short_is_refused_wherever_it_ends():
    serialised = serialize_message(MESSAGE)
    end = serialised.index(b"abcdef") + 6
    for length in range(end):
        with pytest.raises(InvalidFrameError, match="message: "):
            image_from_serialised(serialised[:length])
    assert image_from_serialised(serialised[:end]).height == 2


@pytest.mark.parametrize("start", [b"\0\x06", b"\0\x03", b"\xff\xff"])
def test_other_representations_are_refused(start):
    with pytest.raises(InvalidFrameError, match=f"expected plain CDR, got representation 0x{start.hex()}"):
        image_from_serialised(start + serialize_message(MESSAGE)[2:])


@settings(max_examples=200, deadline=None)
@given(start=st.sampled_from([b"\0\0\0\0", b"\0\1\0\0"]), rest=st.binary(max_size=200))
@example(start=b"\0\1\0\0", rest=b"\xff" * 12)
def test_any_bytes_are_read_or_refused(start, rest):
    try:
        image = image_from_serialised(start + rest)
    except InvalidFrameError:
        return
    assert len(image.data) <= len(rest)
