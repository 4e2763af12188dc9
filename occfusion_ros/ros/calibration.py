"""CameraInfo messages to pinhole intrinsics."""

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from ..core.errors import InvalidFrameError

MAX_COEFFICIENTS = 64  # of distortion; the longest model has 14
MAX_PIXELS = 1e6  # for focal lengths and principal points


@dataclass(frozen=True)
class Calibration:
    """Pinhole calibration of one camera.

    Attributes:
        intrinsics: (3, 3) float64, pixels.
        size: (height, width) pixels of the images it belongs to.
    """

    intrinsics: np.ndarray
    size: tuple[int, int]

    def check(self, image: np.ndarray) -> None:
        """Raise unless the image has the calibrated size."""
        if image.shape[:2] != self.size:
            raise InvalidFrameError(f"image: expected the calibrated size (height, width) {self.size}, "
                                    f"got {image.shape[:2]}")


def calibration_from_info(info: CameraInfo, rectified: bool = True) -> Calibration:
    """Calibration of the images a CameraInfo goes with.

    Args:
        info: full-resolution calibration; binning and regions of interest are refused.
        rectified: the images are rectified, so P holds (K where P is empty and there is no distortion);
            otherwise K holds and there must be no distortion.

    Raises:
        InvalidFrameError: an empty calibration, or one that does not describe a single pinhole camera.
    """
    _check_plain(info)
    projection = np.array(info.p, np.float64).reshape(3, 4)
    if rectified and projection.any():
        _check_single_camera(info, projection)
        return _checked(projection[:, :3], info)
    if np.any(info.d):
        advice = "P is empty" if rectified else "rectify them first, for example with image_proc"
        raise InvalidFrameError(f"camera_info: the images are distorted (D = {list(info.d)}): {advice}")
    return _checked(np.array(info.k, np.float64).reshape(3, 3), info)


def _checked(intrinsics: np.ndarray, info: CameraInfo) -> Calibration:
    """Raise unless the matrix is a pinhole matrix; no skew is assumed anywhere but in the projection itself."""
    bearable = (np.abs(intrinsics) <= MAX_PIXELS).all()  # False for NaN
    if not (bearable and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0 and (intrinsics[2] == (0, 0, 1)).all()):
        raise InvalidFrameError(f"camera_info: expected a pinhole matrix with positive focal lengths up to "
                                f"{MAX_PIXELS:g}, got {intrinsics.tolist()}")
    return Calibration(intrinsics.copy(), (info.height, info.width))


def _check_plain(info: CameraInfo) -> None:
    """Raise for sizes of zero and for cut or binned images, whose pixels K and P do not describe."""
    if info.width < 1 or info.height < 1:
        raise InvalidFrameError(f"camera_info: expected a positive image size, got {info.width} x {info.height}")
    if len(info.d) > MAX_COEFFICIENTS:
        raise InvalidFrameError(f"camera_info: expected at most {MAX_COEFFICIENTS} coefficients of distortion, got "
                                f"{len(info.d)}")
    roi = info.roi
    cut = roi.x_offset or roi.y_offset or roi.width not in (0, info.width) or roi.height not in (0, info.height)
    if cut or max(info.binning_x, info.binning_y) > 1:
        raise InvalidFrameError("camera_info: expected full images, got binning or a region of interest")


def _check_single_camera(info: CameraInfo, projection: np.ndarray) -> None:
    """Raise where rectification turned or shifted the camera (a stereo pair): TF does not tell that frame."""
    turned = np.any(info.r) and not np.allclose(np.reshape(info.r, (3, 3)), np.eye(3), atol=1e-6)
    if turned or projection[:, 3].any():
        raise InvalidFrameError("camera_info: expected a camera rectified by itself (R identity, no offset in P), "
                                f"got R = {list(info.r)}, P = {projection.tolist()}")
