"""What an encoded image says of itself, read from its structure before anything is decoded.

One rule for messages and files: an image is whole when its own structure ends, whatever follows. Buffers of USB cameras
are filled up with zeros or the rest of an older image, phones append a second one; a thumbnail in the header has an end
of its own, and coded bytes may look like one.
"""

import re
import struct
from dataclasses import dataclass

from .errors import InvalidFrameError

MAX_SCANS = 64  # of a progressive JPEG, each of which takes the time of a whole image; encoders write about ten
MAX_PARTS = 1 << 16  # segments of a JPEG or chunks of a PNG

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# A marker that ends coded pixels: 00 after FF is an escaped byte, D0 to D7 restart within a scan (ITU-T T.81, B.1.1).
# Of several FF the last one counts, so one is looked for: for that the search has a fast path.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START, _END, _SCAN, _TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
_SIZES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # headers of frames of any process; the others are tables

_OTHERS = (  # how files and streams begin that are published in place of images, or are met in their place
    (rb"\x00\x00\x01[\x00-\xff]|\x00\x00\x00\x01[\x00-\xff]", "video (h264, hevc or mpeg)"),
    (rb"RIFF....WEBP", "webp"),
    (rb"II\*\x00|MM\x00\*", "tiff"),
    (rb"BM....\x00\x00\x00\x00", "bmp"),
    (rb"GIF8", "gif"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "jpeg 2000"),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "jpeg xl"),
    (rb"\x12\x00\x0a", "av1"),
    (rb"....ftyp", "avif, heic or mp4"),
    (rb"OggS|[\x80-\x82]theora", "theora"),
    (rb"DKIF", "video (ivf)"),
    (rb"\x1a\x45\xdf\xa3", "video (matroska)"),
    (rb".{12}\x89PNG", "compressedDepth"),
)


@dataclass(frozen=True)
class EncodedImage:
    """A whole JPEG or PNG.

    Attributes:
        kind: "jpeg" or "png".
        size: (height, width) pixels.
        length: bytes that belong to the image, from the first one on.
    """

    kind: str
    size: tuple[int, int]
    length: int


def inspect_image(data: bytes) -> EncodedImage:
    """Read the structure of a JPEG or PNG; the pixels are not looked at.

    Raises:
        InvalidFrameError: neither of them, cut short, with headers that contradict each other, or of too many parts.
    """
    if data.startswith(_JPEG):
        return _inspect_jpeg(data)
    if data.startswith(_PNG):
        return _inspect_png(data)
    kind = recognized(data)
    raise InvalidFrameError(f"image: expected JPEG or PNG, got {len(data)} bytes" + (f" of {kind}" if kind else ""))


def recognized(data: bytes) -> str:
    """What encoded bytes that are no JPEG or PNG look like; empty where that is not known."""
    return next((name for start, name in _OTHERS if re.match(start, data, re.DOTALL)), "")


def _inspect_jpeg(data: bytes) -> EncodedImage:
    """Go from marker to marker (ITU-T T.81, annex B) to the end of the first image."""
    size, scans, place = None, 0, len(_JPEG)
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, place)
        if not found or found[1][0] == _START:  # the next image of a stream begins before this one ends
            break
        marker, place = found[1][0], found.end()
        if marker == _END:
            return _whole_jpeg(size, scans, place)
        if marker in _SIZES:
            if size is not None:
                raise InvalidFrameError("image: expected a JPEG with one header, got several")
            size = struct.unpack(">HH", data[place + 3 : place + 7].ljust(4, b"\0"))
        scans += marker == _SCAN
        place += 0 if marker == _TEMPORARY else max(2, int.from_bytes(data[place : place + 2], "big"))
    raise InvalidFrameError(f"image: JPEG of {len(data)} bytes is cut short: its end marker is missing")


def _whole_jpeg(size: tuple[int, int] | None, scans: int, length: int) -> EncodedImage:
    """Raise unless there was one header and a bearable number of scans before the end."""
    if size is None or min(size) < 1 or not scans:
        raise InvalidFrameError(f"image: JPEG of {length} bytes has no pixels: size {size}, {scans} scans")
    if scans > MAX_SCANS:
        raise InvalidFrameError(f"image: expected at most {MAX_SCANS} scans, got {scans}")
    return EncodedImage("jpeg", size, length)


def _inspect_png(data: bytes) -> EncodedImage:
    """Go from chunk to chunk (ISO/IEC 15948, 5.3) to the one that ends the image."""
    headers, place = [], len(_PNG)
    for _ in range(MAX_PARTS):
        if place + 12 > len(data):  # length, name, check sum
            break
        length, name = struct.unpack_from(">I4s", data, place)
        if name == b"IHDR":
            headers.append(place)
        place += 12 + length
        if name == b"IEND" and place <= len(data):
            return _whole_png(data, headers, place)
    raise InvalidFrameError(f"image: PNG of {len(data)} bytes is cut short: its last chunk is missing")


def _whole_png(data: bytes, headers: list[int], length: int) -> EncodedImage:
    """Raise unless there is one header, in front."""
    if headers != [len(_PNG)]:  # of several, one decoder takes the first and another the last
        raise InvalidFrameError(f"image: expected a PNG with one header, got {len(headers)}")
    width, height = struct.unpack_from(">II", data, len(_PNG) + 8)
    return EncodedImage("png", (height, width), length)
