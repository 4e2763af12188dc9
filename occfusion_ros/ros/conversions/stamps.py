"""Message headers and the integer nanoseconds used everywhere else."""

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from ...core.errors import InvalidFrameError

NS_PER_S = 1_000_000_000
MOST_CHARACTERS = 255  # of the name of a frame


def header_from(stamp_ns: int, frame_id: str) -> Header:
    """A header with the stamp given in nanoseconds."""
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def stamp_ns(header: Header) -> int:
    """The header's stamp in nanoseconds; 0, no stamp, where its nanoseconds are a second or more."""
    return header.stamp.sec * NS_PER_S + header.stamp.nanosec if header.stamp.nanosec < NS_PER_S else 0


def frame_of(header: Header) -> str:
    """The header's frame.

    Raises:
        InvalidFrameError: it has none, or one that cannot be a name.
    """
    name = header.frame_id
    if not name or len(name) > MOST_CHARACTERS or not name.isprintable():
        raise InvalidFrameError(f"frame_id: expected 1 to {MOST_CHARACTERS} printable characters, got {name[:50]!r}")
    return name
