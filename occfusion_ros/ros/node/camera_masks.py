"""Masks that hide what cameras see of the vehicle itself, from PNG files."""

from pathlib import Path

import numpy as np

from ...core.encoded_image import inspect_image
from ...core.errors import InvalidFrameError
from ...core.frames import ImageMask
from ..conversions.image import MAX_PIXELS
from .parameters import NodeParameters, ParameterError

NONE = "none"  # stands for no mask in a list
_ASPECT = 0.01  # most by which the aspects of a mask and an image may differ


def read_masks(parameters: NodeParameters) -> dict[str, ImageMask]:
    """Masks by camera; a camera for which the pattern names no file has none.

    Raises:
        ParameterError: no file at all, one that cannot be read, or one that hides everything.
    """
    paths = {name: Path(path).expanduser() for name, path in parameters.camera_mask_files().items() if path != NONE}
    if parameters.camera_masks_are_a_pattern:
        there = {name: path for name, path in paths.items() if path.is_file()}
        if not there:
            raise ParameterError(f"camera_masks: none of the files is there: {', '.join(map(str, paths.values()))}")
        paths = there
    return {name: _read(path) for name, path in paths.items()}


def check_mask(mask: ImageMask, size: tuple[int, int]) -> None:
    """Raise InvalidFrameError unless a mask has the aspect of images of `size` (height, width)."""
    height, width = mask.hidden.shape
    if abs(height * size[1] / (width * size[0]) - 1) > _ASPECT:
        raise InvalidFrameError(
            "camera_masks: expected a mask of the images' size (height, width) "
            f"{size}, or smaller or larger in proportion, got {(height, width)}"
        )


def _read(path: Path) -> ImageMask:
    """Black hides, white does not."""
    import cv2

    try:
        data = path.read_bytes()
        whole = inspect_image(data)
    except (OSError, InvalidFrameError) as error:
        raise ParameterError(f"camera_masks: cannot read {path}: {error}") from error
    if whole.kind != "png" or whole.size[0] * whole.size[1] > MAX_PIXELS:
        raise ParameterError(
            f"camera_masks: {path}: expected a PNG of at most {MAX_PIXELS} pixels, got a {whole.kind} "
            f"of {whole.size[1]} x {whole.size[0]}"
        )
    gray = cv2.imdecode(np.frombuffer(data[: whole.length], np.uint8), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise ParameterError(f"camera_masks: {path} could not be decoded")
    hidden = gray < 128
    if hidden.all():
        raise ParameterError(
            f"camera_masks: {path} hides the whole image: paint black what belongs to the vehicle, "
            "white the rest, without transparency"
        )
    return ImageMask(hidden)
