"""Where an encoded image ends, by its structure."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.fuzz.malformed_messages import encoded_files
from occfusion_ros.core.encoded_image import inspect_image, recognized
from occfusion_ros.core.errors import InvalidFrameError

PIXELS = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def encoded(kind: str = "JPEG", pixels: np.ndarray = PIXELS, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


JPEG = encoded()
THUMBNAIL = encoded(pixels=PIXELS[:8, :8])
WHOLE = {
    "jpeg": JPEG,
    "progressive": encoded(progressive=True),
    "gray": encoded(pixels=PIXELS[..., 0]),
    "restarts": encoded(restart_marker_blocks=1),
    "png": encoded("PNG"),
    "thumbnail": JPEG[:2] + segment(0xE1, b"Exif\0\0" + THUMBNAIL) + JPEG[2:],
    "comment": JPEG[:2] + segment(0xFE, b"\xff\xd9" * 9) + JPEG[2:],
    "filled": JPEG[:2] + b"\xff" * 5 + JPEG[2:],
}
JUNK = (b"", bytes(6000), b"\xff\xd9", JPEG, b"\xff\xd8\xff\xe1", b"\xff\xd8 rest of an older frame \xff\xd9")


@pytest.mark.parametrize("after", JUNK)
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_image_ends_where_its_structure_ends(name, after):
    whole = inspect_image(WHOLE[name] + after)
    assert (whole.kind, whole.size, whole.length) == ("png" if name == "png" else "jpeg", (48, 64), len(WHOLE[name]))


@pytest.mark.parametrize("name", WHOLE)
def test_an_image_that_is_cut_short_anywhere_is_refused(name):
    for cut in range(1, len(WHOLE[name]), 7):
        for after in (b"", bytes(6000)):
            with pytest.raises(InvalidFrameError):
                inspect_image(WHOLE[name][:cut] + after)


@pytest.mark.parametrize("name", sorted(set(WHOLE) - {"png"}))
def test_pixels_that_are_cut_short_do_not_end_where_the_next_image_ends(name):
    data = WHOLE[name]
    for cut in range(data.rindex(b"\xff\xda") + 14, len(data), 7):
        if data[cut - 1] != 0xFF:
            with pytest.raises(InvalidFrameError, match="cut short"):
                inspect_image(data[:cut] + WHOLE["thumbnail"])


def test_two_images_in_one_file_are_one_image():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "MPO", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])])
    assert inspect_image(file.getvalue()).length < len(file.getvalue())


@pytest.mark.parametrize(
    "data, message",
    [
        (JPEG[:2] + JPEG[-2:], "no pixels"),
        (JPEG[:20] + segment(0xC0, bytes((8, 0, 9, 0, 9, 0))) + JPEG[20:], "one header"),
        (encoded_files()["jpeg of a thousand scans"], "at most 64 scans, got 10"),
        (JPEG[:2] + segment(0xFE, b"") * 70_000 + JPEG[2:], "cut short"),
        (encoded_files()["png of two headers"], "one header"),
        (encoded("PNG")[:8] + encoded("PNG")[-12:], "one header"),
        (encoded("GIF"), "bytes of gif"),
        (b"", "got 0 bytes"),
    ],
)
def test_contradictions_are_refused(data, message):
    with pytest.raises(InvalidFrameError, match=message):
        inspect_image(data)


@pytest.mark.parametrize(
    "kind, name",
    [
        ("WEBP", "webp"),
        ("TIFF", "tiff"),
        ("BMP", "bmp"),
        ("GIF", "gif"),
        ("JPEG2000", "jpeg 2000"),
        ("JPEG", ""),
        ("PNG", ""),
    ],
)
def test_other_kinds_are_recognized(kind, name):
    assert recognized(encoded(kind)) == name
