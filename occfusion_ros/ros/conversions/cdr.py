"""Little-endian CDR, the byte layout of serialized ROS messages, written straight from arrays.

rclpy copies every point of a nested array through Python objects; a publisher that is handed bytes sends them as
they are. Tests hold these bytes equal to what the middleware's own serializer writes, padding aside: there it leaves
whatever was in memory.
"""

import struct
from collections.abc import Iterable

import numpy as np
from std_msgs.msg import Header


class CdrWriter:
    """Collects the fields of one message in their order of declaration."""

    PADDING = b"\0"

    def __init__(self) -> None:
        self._chunks: list[bytes] = [b"\x00\x01\x00\x00"]  # encapsulation: plain CDR, little endian
        self._size = 0  # alignment counts from after the encapsulation

    def numbers(self, letter: str, *values: float) -> None:
        """Primitive fields of one type in a row; the type as a letter of `struct`: ``B ? i I f d``."""
        self._align(struct.calcsize(letter))
        self._add(struct.pack(f"<{len(values)}{letter}", *values))

    def string(self, text: str) -> None:
        """A string field."""
        encoded = text.encode() + b"\0"
        self.numbers("I", len(encoded))
        self._add(encoded)

    def strings(self, texts: Iterable[str]) -> None:
        """A sequence of strings."""
        texts = tuple(texts)
        self.numbers("I", len(texts))
        for text in texts:
            self.string(text)

    def header(self, header: Header) -> None:
        """A std_msgs/Header field."""
        self.numbers("i", header.stamp.sec)
        self.numbers("I", header.stamp.nanosec)
        self.string(header.frame_id)

    def array(self, values: np.ndarray) -> None:
        """A sequence: of primitives from (N,), of structures of k equal primitives (Point) from (N, k)."""
        self.numbers("I", len(values))
        if len(values):
            self._align(values.dtype.itemsize)
            self._add(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())

    def fields(self, written: bytes) -> None:
        """Fields that were written beforehand, none of which has parts of more than 4 bytes; see `body`."""
        self._align(4)
        self._add(written)

    def body(self) -> bytes:
        """What was written, without the encapsulation."""
        return b"".join(self._chunks[1:])

    def finish(self) -> bytes:
        """The serialized message."""
        return b"".join(self._chunks)

    def _align(self, size: int) -> None:
        self._add(self.PADDING * (-self._size % size))

    def _add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
