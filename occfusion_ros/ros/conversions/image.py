"""Image and CompressedImage messages to RGB arrays."""

import os
import re

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ...core.encoded_image import inspect_image, recognized
from ...core.errors import InvalidFrameError
from .cdr import CdrWriter

MAX_PIXELS = 1 << 26  # 64 megapixels
JPEG_QUALITY = 85  # percent
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))  # OpenCV reads headers in its own way

_PACKED = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}  # channels of a byte each
_REORDERED = {"bgr8": "COLOR_BGR2RGB", "rgba8": "COLOR_RGBA2RGB", "bgra8": "COLOR_BGRA2RGB", "mono8": "COLOR_GRAY2RGB"}
# OpenCV names a Bayer pattern by its second row, ROS by its first.
_BAYER = {
    "bayer_rggb8": "COLOR_BayerBG2RGB",
    "bayer_bggr8": "COLOR_BayerRG2RGB",
    "bayer_gbrg8": "COLOR_BayerGR2RGB",
    "bayer_grbg8": "COLOR_BayerGB2RGB",
}


def rgb_from_image(image: Image) -> np.ndarray:
    """Pixels of a raw image, (H, W, 3) uint8 RGB; a view of the message where that is possible.

    Raises:
        InvalidFrameError: sizes that contradict each other, or an encoding neither we nor cv_bridge can read.
    """
    if image.encoding in _PACKED:
        return _to_rgb(_pixels(image, "u1", _PACKED[image.encoding]), _REORDERED.get(image.encoding))
    if image.encoding in _BAYER:
        return _to_rgb(_pixels(image, "u1", 1), _BAYER[image.encoding])
    if image.encoding == "mono16":
        wide = _pixels(image, ">u2" if image.is_bigendian else "<u2", 1)
        return _to_rgb((wide >> 8).astype(np.uint8), "COLOR_GRAY2RGB")
    return _by_cv_bridge(image)


def rgb_from_compressed(image: CompressedImage, size: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels of a JPEG or PNG image, (H, W, 3) uint8 RGB.

    Args:
        image: its header is looked at before anything is unpacked.
        size: (height, width) pixels that it must have; None: any up to `MAX_PIXELS`.

    Raises:
        InvalidFrameError: not a JPEG or PNG, damaged, cut short, of another size, or too costly to unpack.
    """
    import cv2

    data = _whole_image(image, size)
    as_rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)  # from OpenCV 4.11 on; spares a pass over the pixels
    how = (as_rgb or cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        raise InvalidFrameError(f"compressed image: {error}") from error
    if pixels is None:
        raise InvalidFrameError(f"compressed image: {len(data)} bytes could not be decoded")
    return pixels if as_rgb else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def jpeg_bytes(header: Header, pixels: np.ndarray) -> bytes:
    """Serialized CompressedImage of (H, W, 3) uint8 RGB pixels."""
    import cv2

    cdr = CdrWriter()
    cdr.header(header)
    cdr.string("rgb8; jpeg compressed bgr8")  # as image_transport writes it
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    cdr.array(encoded.reshape(-1))
    return cdr.finish()


def _pixels(image: Image, dtype: str, channels: int) -> np.ndarray:
    """View of a raw image as (H, W, channels), or (H, W) for one channel; step and padding honoured."""
    pixel = np.dtype(dtype).itemsize * channels
    if image.height < 1 or image.width < 1:
        raise InvalidFrameError(f"image: expected a positive size, got {image.width} x {image.height}")
    if image.step < image.width * pixel:
        raise InvalidFrameError(f"image: expected step of at least {image.width} * {pixel} bytes, got {image.step}")
    needed = (image.height - 1) * image.step + image.width * pixel
    if needed > len(image.data):
        raise InvalidFrameError(
            f"image: expected {needed} bytes for {image.width} x {image.height} {image.encoding}, got {len(image.data)}"
        )
    if image.height * image.width > MAX_PIXELS:
        raise InvalidFrameError(f"image: expected at most {MAX_PIXELS} pixels, got {image.width} x {image.height}")
    view = np.ndarray(
        (image.height, image.width, channels), dtype, image.data, strides=(image.step, pixel, pixel // channels)
    )
    return view[..., 0] if channels == 1 else view


def _to_rgb(pixels: np.ndarray, conversion: str | None) -> np.ndarray:
    """Apply a named OpenCV color conversion; None: already RGB."""
    if conversion is None:
        return pixels
    import cv2

    try:
        return cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, conversion))
    except cv2.error as error:
        raise InvalidFrameError(f"image: {error}") from error


def _by_cv_bridge(image: Image) -> np.ndarray:
    """Any other encoding, where cv_bridge is installed."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        known = ", ".join([*_PACKED, "mono16", *_BAYER])
        raise InvalidFrameError(
            f"image: expected encoding {known} (others need cv_bridge), got {image.encoding!r}"
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(image, "rgb8")
    except (CvBridgeError, ValueError, TypeError) as error:
        raise InvalidFrameError(f"image: cv_bridge cannot read encoding {image.encoding!r}: {error}") from error


def _whole_image(image: CompressedImage, size: tuple[int, int] | None) -> bytes:
    """The bytes of a whole JPEG or PNG of the right size, without what follows it."""
    data, encoding, _, codec = bytes(image.data), *image.format.partition(";")
    if "compressedDepth" in image.format:
        raise InvalidFrameError(
            f"compressed image: expected color or gray, got depth, {image.format!r}: give the "
            "topic of the camera's images in image_topics"
        )
    if encoding.startswith("bayer") and not any(color in codec for color in ("bgr", "rgb")):
        raise InvalidFrameError(
            f"compressed image: expected color or gray, got a Bayer pattern, {image.format!r}: "
            "publish it debayered, for example with image_proc"
        )
    if not data.startswith((b"\xff\xd8", b"\x89PNG")):
        raise InvalidFrameError(_refusal(image.format, data))
    whole = inspect_image(data)
    height, width = whole.size
    if width * height > MAX_PIXELS:
        raise InvalidFrameError(f"compressed image: expected at most {MAX_PIXELS} pixels, got {width} x {height}")
    if size and whole.size != size:
        raise InvalidFrameError(
            f"compressed image: expected the calibrated size (height, width) {size}, got {whole.size}"
        )
    return data[: whole.length]


def _refusal(encoding: str, data: bytes) -> str:
    """What came instead of a JPEG or PNG, by its bytes and by the name that it was given, and what to do."""
    looks, name = recognized(data), " ".join(encoding.split())[:60]
    if not name or re.search("jpe?g|png", name, re.IGNORECASE):  # the name tells nothing, or is not true
        name = looks or "what came"
    detail = f" that look like {looks}" if looks else ", neither JPEG nor PNG"
    return (
        f"compressed image: {name} cannot be decoded here: publish JPEG or PNG (got format {encoding!r}, "
        f"{len(data)} bytes{detail})"
    )
