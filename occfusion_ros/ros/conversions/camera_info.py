"""CameraInfo messages to the pinhole camera that the network is shown, and the lens between it and the image."""

import re
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from sensor_msgs.msg import CameraInfo

from ...core.errors import InvalidFrameError
from ...core.lens import BROWN, FISHEYE, MOST_COEFFICIENTS, Lens

MAX_COEFFICIENTS = 64  # of distortion; the longest model has 14
MAX_PIXELS = 1e6  # for focal lengths, principal points and coefficients
RECTIFIED = ("auto", "true", "false")
_STRAIGHT = 2.0  # pixels by which an image may be bent without a remark
_LEAST_SHARE = 0.2  # of the ideal image that the distorted one must fill
_DOUBT = (
    "taken as rectified, as the topic's name says, but P equals K though the distortion D is not zero, which is "
    "what drivers publish with unrectified images: set images_rectified to false if straight lines are bent in "
    "them, to true if not"
)

_MODELS = {
    name: model
    for model, names in {
        BROWN: "plumb_bob rational_polynomial thin_prism brown_conrady modified_brown_conrady radtan radial_tangential "
        "radial_tangential_thin_prism pinhole perspective opencv standard brown",
        FISHEYE: "equidistant fisheye opencv_fisheye kannala_brandt kannala_brandt4 kb4 equi equidistant4",
    }.items()
    for name in names.split()
}  # after ROS' distortion_models.hpp, Kalibr, librealsense, depthai and others
_RECT_NAME = re.compile(r"(^|[/_.-])(rect|rectified|undistorted|undist)([/_.-]|$)")


@dataclass(frozen=True)
class Calibration:
    """Pinhole calibration of one camera.

    Attributes:
        intrinsics: (3, 3) float64, pixels, of the ideal (rectified) image.
        size: (height, width) pixels of the images as they come, and of the ideal image.
        lens: the lens that the images were taken through; None where they are ideal already.
        rotation: (3, 3) float64, ideal camera from the frame that the images are stamped with.
        offset: (3,) float64 metres, ideal camera from the frame of the pair's first camera; holds where two cameras
            share a frame, as in a stereo pair.
        taken: how the images are taken, in words.
        doubt: what speaks against it, in words; empty where nothing does.
    """

    intrinsics: np.ndarray
    size: tuple[int, int]
    lens: Lens | None = None
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(3))
    taken: str = ""
    doubt: str = ""

    def check(self, image: np.ndarray) -> None:
        """Raise unless the image has the calibrated size."""
        if image.shape[:2] != self.size:
            raise InvalidFrameError(
                f"image: expected the calibrated size (height, width) {self.size}, got {image.shape[:2]}"
            )

    def ideal_from_frame(self, shared: bool) -> np.ndarray:
        """(4, 4) float64 from the frame that the images are stamped with to the ideal camera.

        Args:
            shared: another camera has the same frame: by ROS' convention the rectified one of a pair's first camera.
        """
        matrix = np.eye(4)
        if shared:
            matrix[:3, 3] = self.offset
        else:
            matrix[:3, :3] = self.rotation
        return matrix


def calibration_from_info(info: CameraInfo, rectified: str = "auto", topic: str = "") -> Calibration:
    """Calibration of the images a CameraInfo goes with; binning and regions of interest are honoured.

    Args:
        info: K, R and P are those of the whole image, as its own documentation says.
        rectified: "true": the images are rectified, so P holds; "false": they are as the sensor took them, so K and D
            hold and the ideal image is P's; "auto": rectified where the topic's name says so.
        topic: name of the images' topic. Where P is empty, K takes its place.

    Raises:
        InvalidFrameError: an empty or contradictory calibration, or a model of distortion that is not known.
    """
    _check_sizes(info)
    raw, projection = _matrix(info.k), np.array(info.p, np.float64).reshape(3, 4)
    ideal = projection[:, :3] if projection[:, :3].any() else raw
    lens, told = _lens(info, raw), rectified == "auto" and bool(_RECT_NAME.search(topic))
    reason = f"images_rectified is {rectified}" if rectified != "auto" else f"its topic is {topic!r}"
    if told or rectified == "true":
        off = _off_by(info, raw, ideal, lens) if told else 0.0
        taken = f"rectified already ({reason})" + (f", by up to {off:.0f} pixels wrongly if not" if off else "")
        return _ideal(info, ideal, projection, taken=taken, doubt=_DOUBT if off else "")
    if lens is None:
        return _ideal(info, raw, taken="taken as they come, since D is zero")
    taken = f"undistorted here by {info.distortion_model or 'brown'!r} with {len(info.d)} coefficients ({reason})"
    calibration = _ideal(info, ideal, projection, lens, taken)
    share, _ = _bend(lens, tuple(calibration.intrinsics.ravel()), calibration.size)
    if share < _LEAST_SHARE:
        raise InvalidFrameError(
            f"camera_info: undistorted, {share:.0%} of the image is left: expected K, D, R and P "
            f"of one camera, got D = {list(info.d)} of {info.distortion_model!r}"
        )
    return calibration


def _ideal(
    info: CameraInfo,
    intrinsics: np.ndarray,
    projection: np.ndarray | None = None,
    lens: Lens | None = None,
    taken: str = "",
    doubt: str = "",
) -> Calibration:
    """Put together what was found; with a `projection` the ideal camera is the rectified one, with R and P's offset."""
    window, rotation, offset = _window(info), np.eye(3), np.zeros(3)
    _check_pinhole(intrinsics)
    if projection is not None:
        rotation = _rotation(info)
        offset[:2] = projection[:2, 3] / np.diag(intrinsics)[:2]
        if not np.isfinite(projection).all() or np.abs(projection[:, 3]).max() > MAX_PIXELS or projection[2, 3]:
            raise InvalidFrameError(f"camera_info: expected P of a camera or a stereo pair, got {projection.tolist()}")
    return Calibration(window @ intrinsics, _size(info), lens, rotation, offset, taken, doubt)


def _lens(info: CameraInfo, raw: np.ndarray) -> Lens | None:
    """The lens, in pixels of the image as it comes; None without distortion."""
    coefficients = np.array(info.d, np.float64)
    if not coefficients.any():
        return None
    if not (np.abs(coefficients) <= MAX_PIXELS).all():
        raise InvalidFrameError(f"camera_info: expected finite coefficients of distortion, got {list(info.d)}")
    name = re.sub(r"[\s-]+", "_", info.distortion_model.strip().lower())
    model = BROWN if not name else _MODELS.get(name)
    used = np.trim_zeros(coefficients, "b")
    if model is None or len(used) > MOST_COEFFICIENTS[model]:
        raise InvalidFrameError(
            f"camera_info: distortion {info.distortion_model!r} with {len(info.d)} coefficients is not known here: "
            "rectify the images, for example with image_proc, or calibrate the camera as plumb_bob, "
            "rational_polynomial or equidistant"
        )
    _check_pinhole(raw)
    matrix = _window(info) @ raw
    return Lens(model, tuple(matrix.ravel().tolist()), tuple(used.tolist()), tuple(_rotation(info).ravel().tolist()))


def _off_by(info: CameraInfo, raw: np.ndarray, ideal: np.ndarray, lens: Lens | None) -> float:
    """Pixels by which images are off that are taken as rectified and are not; 0 where nothing hints at that."""
    if lens is None or not np.allclose(raw, ideal, rtol=1e-6):
        return 0.0
    _, off = _bend(lens, tuple((_window(info) @ ideal).ravel()), _size(info))
    return off if off >= _STRAIGHT else 0.0


@lru_cache(maxsize=64)
def _bend(lens: Lens, intrinsics: tuple[float, ...], size: tuple[int, int]) -> tuple[float, float]:
    """Share of the ideal image that the distorted one fills, and the most pixels by which a point of it moves."""
    v, u = np.meshgrid(*(np.linspace(0, length - 1, 24) for length in size), indexing="ij")
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(np.reshape(intrinsics, (3, 3))).T
    pixels = lens.pixels(rays)
    inside = ((pixels >= -0.5) & (pixels <= np.array(size[::-1]) - 0.5)).all(-1)
    moved = np.linalg.norm(pixels - np.stack([u, v], -1), axis=-1)
    return float(inside.mean()), float(np.nanmax(moved, initial=0.0))


def _window(info: CameraInfo) -> np.ndarray:
    """(3, 3) float64 from pixels of the whole image to those of the one that comes, cut first and binned then.

    A binned pixel lies at the center of those that it was made of.
    """
    matrix = np.eye(3)
    for axis, (start, factor) in enumerate(((info.roi.x_offset, info.binning_x), (info.roi.y_offset, info.binning_y))):
        factor = max(factor, 1)
        matrix[axis, axis] = 1 / factor
        matrix[axis, 2] = (0.5 - start) / factor - 0.5
    return matrix


def _size(info: CameraInfo) -> tuple[int, int]:
    """(height, width) of the images that come."""
    return (
        (info.roi.height or info.height) // max(info.binning_y, 1),
        (info.roi.width or info.width) // max(info.binning_x, 1),
    )


def _matrix(values: np.ndarray) -> np.ndarray:
    return np.array(values, np.float64).reshape(3, 3)


def _rotation(info: CameraInfo) -> np.ndarray:
    """R; the identity where it is empty."""
    rotation = _matrix(info.r)
    if not rotation.any():
        return np.eye(3)
    if not (np.abs(rotation) < 2).all() or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise InvalidFrameError(f"camera_info: expected R to be a rotation, got {rotation.tolist()}")
    return rotation


def _check_pinhole(intrinsics: np.ndarray) -> None:
    """Raise unless the matrix is a pinhole matrix; no skew is assumed anywhere but in the projection itself."""
    bearable = (np.abs(intrinsics) <= MAX_PIXELS).all()  # False for NaN
    if not (bearable and intrinsics[0, 0] > 0 and intrinsics[1, 1] > 0 and (intrinsics[2] == (0, 0, 1)).all()):
        raise InvalidFrameError(
            f"camera_info: expected a pinhole matrix with positive focal lengths up to "
            f"{MAX_PIXELS:g}, got {intrinsics.tolist()}"
        )


def _check_sizes(info: CameraInfo) -> None:
    """Raise for images of no size, and for parts that are not part of the whole."""
    if info.width < 1 or info.height < 1:
        raise InvalidFrameError(f"camera_info: expected a positive image size, got {info.width} x {info.height}")
    if len(info.d) > MAX_COEFFICIENTS:
        raise InvalidFrameError(
            f"camera_info: expected at most {MAX_COEFFICIENTS} coefficients of distortion, got {len(info.d)}"
        )
    roi = info.roi
    part = roi.x_offset + (roi.width or info.width), roi.y_offset + (roi.height or info.height)
    if part[0] > info.width or part[1] > info.height:
        raise InvalidFrameError(
            f"camera_info: expected a region of interest within {info.width} x {info.height}, got "
            f"{roi.width} x {roi.height} from {roi.x_offset}, {roi.y_offset}"
        )
    if min(_size(info)) < 1:
        raise InvalidFrameError(f"camera_info: binning by {info.binning_x} x {info.binning_y} leaves no image")
