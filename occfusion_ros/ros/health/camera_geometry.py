"""Whether cameras can stand and look as calibrations and transforms say: judged by where the returns fall."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ...core.camera import project, projection_matrix
from ...core.frames import CameraImage, SensorFrame
from ..conversions.camera_info import Calibration
from .diagnostics import OK, WARN, TaskStatus

PERIOD_S = 0.5  # between frames that are looked at
MOST_POINTS = 4096  # of a sweep that are projected
FEW = 0.01  # share of the returns ahead of a camera that any camera sees more of
FAR = 30.0  # metres from the grid's origin; no vehicle carries a camera so far away
LEVEL = 0.7  # cosine and sine of the most by which a camera that looks around is tilted or on its side
STEEP = 0.5  # sine of an angle above the horizon from which on there is little but sky, and below, little but ground
STRAIGHT_DOWN = 0.95  # the same from which on no camera looks down, not even for parking
EDGE = 0.05  # of an image's width and height, where no principal point lies
SURE = 10  # frames after which few returns are no accident
MIN_RETURNS = 100  # ahead of a camera, to judge by

# From x forward, z up to z forward, y down (REP 103).
_OPTICAL_FROM_BODY = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])

_BODY_FRAME = (
    "hardly any return projects into its image, and many would if its frame were a body frame (x forward) in place of "
    "the optical one (z forward, x right): stamp the images with the optical frame, or publish a static transform to "
    "one (roll -90, pitch 0, yaw -90 degrees)"
)
_INVERTED = (
    "its image is not upright by its transform, and would be if parent and child were exchanged: the "
    "transform seems to be inverted"
)


class View(NamedTuple):
    """What one camera sees of one sweep.

    Attributes:
        seen: share of all returns that fall into the image.
        ahead: share of all returns that lie in the camera's direction, whatever their height.
        complaint: what cannot be, and what to do; empty where nothing speaks against the geometry.
        certain: whether one sweep is enough to say so.
    """

    seen: float
    ahead: float
    complaint: str = ""
    certain: bool = True


def judge(camera: CameraImage, points: np.ndarray) -> View:
    """Look at one camera; points (N, 3) float, metres, grid frame (x right, y forward, z up)."""
    pose = camera.camera_from_grid
    seen, ahead = _share_seen(camera, pose, points), _share_ahead(camera, points)
    return View(seen, ahead, *_complaint(camera, pose, points, seen, ahead))


def _complaint(
    camera: CameraImage, pose: np.ndarray, points: np.ndarray, seen: float, ahead: float
) -> tuple[str, bool]:
    """What is wrong, the most telling first, and whether one sweep is enough to say so."""
    if np.linalg.norm(pose[:3, 3]) > FAR:
        return (
            f"the transform puts it more than {FAR:g} m from the grid's origin, the place of something else: "
            "compare the images' frame_id with the transforms, and their units (metres)"
        ), True
    if mistake := _mistaken_axes(camera, pose, points, seen):
        return mistake, True
    principal = camera.intrinsics[:2, 2] / camera.image.shape[1::-1]
    if not ((principal > EDGE) & (principal < 1 - EDGE)).all():
        return (
            "its principal point lies at the edge of the image or outside: the calibration is that of another "
            "image size, or of the whole image where this is a part"
        ), True
    rise = pose[2, 2]  # of the viewing direction
    if (rise > STEEP or rise < -STRAIGHT_DOWN) and seen < FEW:
        return (
            f"hardly any return projects into its image, because by its transform it looks "
            f"{'into the sky' if rise > 0 else 'straight down'}: correct the rotation"
        ), False
    if rise > -STEEP and seen < FEW * ahead and ahead * len(points) > MIN_RETURNS:
        return (
            "hardly any of the returns in its direction projects into its image: correct the tilt in its "
            "transform, or the focal length and the principal point in its calibration"
        ), False
    return "", True


def _mistaken_axes(camera: CameraImage, pose: np.ndarray, points: np.ndarray, seen: float) -> str:
    """What another reading of the transform, by which the image would be upright, speaks for; nothing where it is."""
    if _upright(pose):
        return ""
    if seen < FEW and _upright(_OPTICAL_FROM_BODY @ pose):
        return _BODY_FRAME if _share_seen(camera, _OPTICAL_FROM_BODY @ pose, points) > 2 * FEW else ""
    return _INVERTED if _upright(np.linalg.inv(pose)) else ""


def _upright(pose: np.ndarray) -> bool:
    """Whether a camera looks about level and the ground is at the bottom of its image."""
    return bool(pose[1, 2] < -LEVEL and abs(pose[2, 2]) < LEVEL)


def _share_seen(camera: CameraImage, pose: np.ndarray, points: np.ndarray) -> float:
    """Share of the points in front of the camera and inside its image."""
    pixels, depth = project(points, projection_matrix(camera.intrinsics, pose))
    inside = ((pixels >= 0) & (pixels < camera.image.shape[1::-1])).all(1) & (depth > 0)
    return float(inside.mean())


def _share_ahead(camera: CameraImage, points: np.ndarray) -> float:
    """Share of the points within the camera's angle of view as seen from above; 0 where it looks up or down."""
    pose = camera.camera_from_grid
    forward = pose[2, :2]
    if np.linalg.norm(forward) < 0.3:
        return 0.0
    place = points[:, :2] + (pose[:3, :3].T @ pose[:3, 3])[:2]
    cosine = place @ forward / (np.linalg.norm(forward) * np.maximum(np.linalg.norm(place, axis=1), 1e-6))
    half_angle = np.arctan(camera.image.shape[1] / 2 / camera.intrinsics[0, 0])
    return float((cosine > np.cos(half_angle)).mean())


class CameraGeometry:
    """Task for the diagnostics: how images are taken, what share of the returns each camera sees, what cannot be."""

    def __init__(self, calibrations: Mapping[str, Calibration], warn: Callable[[str], None]) -> None:
        """
        Args:
            calibrations: by camera; the caller keeps it up to date.
            warn: says something in the log; called once for each camera and complaint.
        """
        self._calibrations, self._warn = calibrations, warn
        self._lock, self._next_s = threading.Lock(), 0.0
        self._views: dict[str, View] = {}
        self._doubtful: dict[str, int] = defaultdict(int)  # looks in a row that found the same complaint
        self._said: set[tuple[str, str]] = set()

    def observe(self, frame: SensorFrame) -> None:
        """Look at a frame, now and then; from any thread."""
        now_s = time.monotonic()
        if now_s < self._next_s or not len(frame.points):
            return
        self._next_s = now_s + PERIOD_S
        points = frame.points[:: -(-len(frame.points) // MOST_POINTS), :3].astype(np.float64)
        for camera in frame.cameras:
            view = judge(camera, points)
            with self._lock:
                last = self._views.get(camera.name)
                same = last is not None and last.complaint == view.complaint
                self._doubtful[camera.name] = self._doubtful[camera.name] + 1 if same else 1
                self._views[camera.name] = view

    def __call__(self) -> TaskStatus:
        """What is known now."""
        with self._lock:
            views = dict(self._views)
            complaints = {
                name: view.complaint
                for name, view in views.items()
                if view.complaint and (view.certain or self._doubtful[name] >= SURE)
            }
        inverted = [name for name, complaint in complaints.items() if complaint == _INVERTED]
        if 2 * len(inverted) <= len(views):  # a single one may be mounted on its head
            complaints = {name: complaint for name, complaint in complaints.items() if complaint != _INVERTED}
        calibrations = dict(self._calibrations)
        doubts = {name: calibration.doubt for name, calibration in calibrations.items() if calibration.doubt}
        self._say([*complaints.items(), *doubts.items()], views)
        values = {
            name: self._describe(calibrations.get(name), views.get(name)) for name in sorted({*calibrations, *views})
        }
        message = "; ".join(filter(None, (_grouped(complaints.items(), views), _grouped(doubts.items(), views))))
        return TaskStatus(WARN if message else OK, message or "as calibrations and transforms say", values)

    def _say(self, found: list[tuple[str, str]], views: Mapping[str, View]) -> None:
        new = [entry for entry in found if entry not in self._said]
        self._said.update(new)
        if new:
            self._warn(_grouped(new, views))

    @staticmethod
    def _describe(calibration: Calibration | None, view: View | None) -> str:
        parts = [f"{calibration.size[1]} x {calibration.size[0]}, {calibration.taken}"] if calibration else []
        parts += [f"sees {view.seen:.1%} of the returns, {view.ahead:.1%} lie in its direction"] if view else []
        return ", ".join(parts)


def _grouped(found: Iterable[tuple[str, str]], views: Mapping[str, View]) -> str:
    """Complaints, each with the cameras that it holds for and the share of the returns that they see."""
    cameras = defaultdict(list)
    for name, complaint in found:
        cameras[complaint].append(f"{name} ({views[name].seen:.1%} of the returns)" if name in views else name)
    return "; ".join(f"{complaint} - {', '.join(names)}" for complaint, names in cameras.items())
