"""Image conversion: encodings, padding, damage."""

import sys
import types

import numpy as np
import pytest
from helpers.ros_messages import compressed, image
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from benchmarks.fuzz.malformed_messages import encoded_files
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.conversions import image as conversion
from occfusion_ros.ros.conversions.image import rgb_from_compressed, rgb_from_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GRAY = RGB[..., 0]
ALPHA = np.full((6, 8, 1), 7, np.uint8)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    "encoding, pixels, expected",
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.concatenate([RGB, ALPHA], 2), RGB),
        ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], 2), RGB),
        ("mono8", GRAY, np.repeat(GRAY[..., None], 3, 2)),
        ("mono16", GRAY.astype("<u2") << 8 | 0x12, np.repeat(GRAY[..., None], 3, 2)),
        ("mono16", (GRAY.astype("<u2") << 8 | 0x12).astype(">u2"), np.repeat(GRAY[..., None], 3, 2)),
    ],
    ids=["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "mono16-big-endian"],
)
def test_encodings(encoding, pixels, expected, padding):
    got = rgb_from_image(image(pixels, encoding, padding=padding * pixels.itemsize))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    "encoding, pattern",
    [("bayer_rggb8", "RGGB"), ("bayer_bggr8", "BGGR"), ("bayer_gbrg8", "GBRG"), ("bayer_grbg8", "GRBG")],
)
def test_bayer_pattern_of_one_color(encoding, pattern):
    color = {"R": 200, "G": 100, "B": 30}
    tile = np.array([color[c] for c in pattern], np.uint8).reshape(2, 2)
    got = rgb_from_image(image(np.tile(tile, (4, 5)), encoding, padding=3))
    np.testing.assert_array_equal(got[2:-2, 2:-2], np.broadcast_to((200, 100, 30), (4, 6, 3)))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 9}, "step of at least"),
        ({"height": 7}, "168 bytes"),
        ({"height": 4_294_967_295}, "got 144"),
        ({"width": 4_294_967_295, "step": 4_294_967_295}, "step of at least"),
        ({"step": 0}, "step of at least"),
        ({"height": 0}, "positive size"),
        ({"width": 0}, "positive size"),
        ({"data": b""}, "got 0"),
        ({"encoding": "16UC1"}, "got '16UC1'"),
        ({"encoding": ""}, "got ''"),
    ],
)
def test_contradictory_images_are_refused(change, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    bad = image(RGB, "rgb8")
    for name, value in change.items():
        setattr(bad, name, value)
    with pytest.raises(InvalidFrameError, match=message):
        rgb_from_image(bad)


def test_other_encodings_go_through_cv_bridge_where_it_is(monkeypatch):
    pytest.importorskip("cv_bridge", reason="cv_bridge comes with a ROS install only")
    half = RGB.astype(np.uint16) << 8
    np.testing.assert_allclose(rgb_from_image(image(half, "rgb16")), RGB, atol=1)


@pytest.mark.parametrize("kind, tolerance", [("png", 0), ("jpeg", 12)])
def test_compressed_images(kind, tolerance):
    smooth = np.linspace((0, 50, 200), (255, 100, 0), 64, dtype=np.uint8)[None].repeat(48, 0)
    got = rgb_from_compressed(compressed(smooth, kind))
    assert got.shape == smooth.shape and got.dtype == np.uint8
    np.testing.assert_allclose(got.astype(int), smooth, atol=tolerance)


def test_orientation_tags_do_not_turn_the_image():
    import io

    import PIL.Image

    tags = PIL.Image.Exif()
    tags[0x0112] = 6  # "turn by 90 degrees"
    stream = io.BytesIO()
    PIL.Image.fromarray(RGB).save(stream, "JPEG", exif=tags)
    assert rgb_from_compressed(CompressedImage(format="jpeg", data=stream.getvalue())).shape == RGB.shape


def damaged(change) -> CompressedImage:
    message = compressed(np.tile(RGB, (20, 20, 1)))
    message.data = change(bytes(message.data))
    return message


@pytest.mark.parametrize(
    "message",
    [
        CompressedImage(format="jpeg"),
        CompressedImage(format="jpeg", data=b"not an image at all"),
        CompressedImage(format="jpeg", data=b"\xff\xd8\xff\xe0" + bytes(100)),
        CompressedImage(format="16UC1; compressedDepth png", data=bytes(12) + bytes(compressed(RGB, "png").data)),
        CompressedImage(format="bayer_rggb8; jpeg compressed", data=compressed(RGB).data),
        damaged(lambda data: data[: len(data) // 2]),
        damaged(lambda data: data[:200]),
    ],
    ids=["empty", "text", "bare-header", "depth", "bayer", "half", "cut-in-header"],
)
def test_damaged_compressed_images_are_refused(message):
    with pytest.raises(InvalidFrameError):
        rgb_from_compressed(message)


@pytest.mark.parametrize(
    "after",
    [
        bytes(1100),
        bytes(20_000),
        b"\xff" * 3000,
        b"\xff\xd9" * 9,
        b"--boundarydonotcross\r\n",
        bytes(compressed(RGB[::-1]).data),
        b"\xff\xd8\xff\xe0",
        bytes(range(256)) * 20,
    ],
)
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_whatever_follows_a_whole_image_is_allowed(kind, after):
    whole = compressed(np.tile(RGB, (20, 20, 1)), kind)
    padded = CompressedImage(format=kind, data=bytes(whole.data) + after)
    np.testing.assert_array_equal(rgb_from_compressed(padded), rgb_from_compressed(whole))


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("h264", b"\0\0\0\1\x67\x42\0\x1f" + bytes(99), "h264 cannot be decoded here: publish JPEG or PNG"),
        ("hevc", b"\0\0\0\1\x40\1" + bytes(99), "hevc cannot be decoded here: publish JPEG or PNG"),
        ("ffmpeg", b"\x12\0\x0a\x0b" + bytes(99), "ffmpeg cannot be decoded here.*look like av1"),
        ("theora", b"\x80theora" + bytes(99), "theora cannot be decoded here"),
        ("jpeg", b"\0\0\0\1\x67\x42\0\x1f", "h264.*cannot be decoded here.*got format 'jpeg'"),
        ("rgb8; jpeg compressed bgr8", encoded_files()["webp"], "webp cannot be decoded here"),
        ("jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "jp2 cannot be decoded here.*look like jpeg 2000"),
        ("", encoded_files()["tiff"], "tiff cannot be decoded here"),
        ("", bytes(1000), "what came cannot be decoded here.*neither JPEG nor PNG"),
        ("32FC1; compressedDepth png", bytes(12) + bytes(compressed(RGB, "png").data), "got depth"),
        ("bayer_rggb8; jpeg compressed ", bytes(compressed(RGB).data), "Bayer"),
    ],
)
def test_refusals_name_the_format_that_came(name, data, message):
    with pytest.raises(InvalidFrameError, match=message):
        rgb_from_compressed(CompressedImage(format=name, data=data))


@pytest.mark.parametrize(
    "name", ["", "jpg", "image/jpeg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bgr8", "h264"]
)
def test_the_bytes_of_a_jpeg_count_and_not_its_name(name):
    assert rgb_from_compressed(CompressedImage(format=name, data=compressed(RGB).data)).shape == RGB.shape


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(monkeypatch):
    monkeypatch.setattr(conversion, "MAX_PIXELS", 47)
    with pytest.raises(InvalidFrameError, match="at most 47 pixels, got 8 x 6"):
        rgb_from_compressed(compressed(RGB, "png"))


sizes = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1))


@settings(max_examples=150, deadline=None)
@given(
    encoding=st.sampled_from(["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "bayer_rggb8", "8UC3", "x"]),
    height=sizes,
    width=sizes,
    step=sizes,
    big_endian=st.integers(0, 255),
    data=st.binary(max_size=600),
)
def test_malformed_images_are_refused_or_read_within_their_bytes(encoding, height, width, step, big_endian, data):
    message = Image(encoding=encoding, height=height, width=width, step=step, is_bigendian=big_endian, data=data)
    try:
        rgb = rgb_from_image(message)
    except InvalidFrameError:
        return
    assert rgb.dtype == np.uint8 and rgb.shape == (height, width, 3) and height * width <= len(data)


WHOLE = {kind: bytes(compressed(np.tile(RGB, (4, 4, 1)), kind).data) for kind in ("jpeg", "png")}


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    keep=st.floats(0, 1),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=5),
)
def test_damaged_files_are_refused_or_decoded(kind, edits, keep):
    data = bytearray(WHOLE[kind])
    for position, replacement in edits:
        start = int(position * len(data))
        data[start : start + len(replacement)] = replacement
    try:
        rgb = rgb_from_compressed(CompressedImage(format=kind, data=bytes(data[: int(keep * len(data)) + 1])))
    except InvalidFrameError:
        return
    assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3


def test_cv_bridge_failures_are_invalid_frames(monkeypatch):
    class CvBridgeError(TypeError):
        pass

    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            raise CvBridgeError(f"no {message.encoding}")

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=CvBridge, CvBridgeError=CvBridgeError))
    with pytest.raises(InvalidFrameError, match="no 8UC7"):
        rgb_from_image(image(RGB, "8UC7"))


def test_an_image_of_another_size_than_the_calibrated_one_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("cv2.imdecode", None)
    with pytest.raises(InvalidFrameError, match=r"expected the calibrated size .* \(7, 8\), got \(6, 8\)"):
        rgb_from_compressed(compressed(RGB, "png"), (7, 8))


def test_a_png_of_two_headers_is_refused():
    """Pillow takes the last one, OpenCV the first, and would unpack what it claims."""
    with pytest.raises(InvalidFrameError, match="expected a PNG with one header"):
        rgb_from_compressed(CompressedImage(format="png", data=encoded_files()["png of two headers"]))


def test_a_jpeg_of_a_thousand_scans_is_refused():
    with pytest.raises(InvalidFrameError, match="expected at most 64 scans, got 10"):
        rgb_from_compressed(CompressedImage(format="jpeg", data=encoded_files()["jpeg of a thousand scans"]))
    assert rgb_from_compressed(CompressedImage(format="jpeg", data=encoded_files()["jpeg progressive"])).any()


def test_a_raw_image_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr(conversion, "MAX_PIXELS", 47)
    with pytest.raises(InvalidFrameError, match="at most 47 pixels, got 8 x 6"):
        rgb_from_image(image(RGB, "rgb8"))
