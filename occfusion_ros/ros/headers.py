"""Message headers and the integer nanoseconds used everywhere else."""

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

NS_PER_S = 1_000_000_000


def header_from(stamp_ns: int, frame_id: str) -> Header:
    """A header with the stamp given in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def stamp_ns(header: Header) -> int:
    """The header's stamp in nanoseconds."""
    return header.stamp.sec * NS_PER_S + header.stamp.nanosec
