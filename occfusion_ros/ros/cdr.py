"""CDR, the byte layout of serialised ROS messages: written straight from arrays, read without copies.

rclpy copies every point of a nested array through Python objects, and large arrays several times; a publisher that is
handed bytes sends them as they are, and a raw subscription gives them as they came. Tests hold these bytes equal to
what the middleware's own serialiser writes, padding aside: there it leaves whatever was in memory.
"""

import struct
from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from ..core.errors import InvalidFrameError


class CdrWriter:
    """Collects the fields of one message in their order of declaration; little endian."""

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

    def finish(self) -> bytes:
        """The serialised message."""
        return b"".join(self._chunks)

    def _align(self, size: int) -> None:
        self._add(self.PADDING * (-self._size % size))

    def _add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)


class CdrReader:
    """Gives the fields of one message in their order of declaration; nothing is allocated by what a length claims.

    Every method raises InvalidFrameError where the message ends too early.
    """

    ORDERS = {b"\x00\x00": ">", b"\x00\x01": "<"}  # representations of plain CDR

    def __init__(self, serialised: bytes) -> None:
        """
        Raises:
            InvalidFrameError: not plain CDR.
        """
        representation = bytes(serialised[:2])
        if representation not in self.ORDERS:
            raise InvalidFrameError(f"message: expected plain CDR, got representation 0x{representation.hex()}")
        self._order = self.ORDERS[representation]
        self._data = memoryview(serialised)[4:]  # alignment counts from after the encapsulation
        self._at = 0

    def number(self, letter: str) -> int | float:
        """A primitive field; its type as a letter of `struct`."""
        size = struct.calcsize(letter)
        self._at += -self._at % size
        return struct.unpack(self._order + letter, self._take(size))[0]

    def octets(self) -> memoryview:
        """A sequence of bytes, as a view of the message."""
        return self._take(self.number("I"))

    def string(self) -> str:
        """A string field; what is no UTF-8 is replaced, as rclpy does."""
        return bytes(self.octets()).removesuffix(b"\0").decode(errors="replace")

    def header(self) -> Header:
        """A std_msgs/Header field."""
        return Header(stamp=Time(sec=self.number("i"), nanosec=self.number("I")), frame_id=self.string())

    def _take(self, size: int) -> memoryview:
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise InvalidFrameError(f"message: expected {size} bytes at {start}, but it ends at {len(self._data)}")
        return self._data[start:self._at]
