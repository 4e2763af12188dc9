"""What goes in (`SensorFrame`) and what comes out (`OccupancyGrid`) of the whole system."""

from dataclasses import dataclass, field, replace

import numpy as np

from .ego_box import EgoBox
from .errors import InvalidFrameError
from .grid import GridSpec
from .lens import Lens


def _check(array: np.ndarray, name: str, shape: tuple, dtype: type) -> None:
    """Raise unless `array` has the dtype and the shape (None matches any length)."""
    ok = isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == len(shape)
    if not ok or any(want is not None and want != got for want, got in zip(shape, array.shape)):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidFrameError(f"{name}: expected {np.dtype(dtype)} {shape}, got {got}")


@dataclass(frozen=True, eq=False)
class ImageMask:
    """Where a camera sees the vehicle that carries it; two masks are never equal.

    Attributes:
        hidden: (h, w) bool, laid over the image as it comes, of any size; what is hidden counts as not seen.
    """

    hidden: np.ndarray

    def __post_init__(self) -> None:
        _check(self.hidden, "mask", (None, None), np.bool_)


@dataclass(frozen=True)
class CameraImage:
    """One camera image with its calibration.

    Attributes:
        name: the robot's own name of the camera.
        image: (H, W, 3) uint8, RGB; as `lens` took it.
        intrinsics: (3, 3) float64 pinhole matrix of the rectified image, which has the same size, pixels; pixel centers
            at integer coordinates.
        camera_from_grid: (4, 4) float64 rigid transform, metres, of the rectified camera, whose axes are optical: x
            right, y down, z forward.
        lens: None where the image is rectified; otherwise it is undistorted as it is brought to the network's size.
        mask: None where nothing is hidden.
    """

    name: str
    image: np.ndarray
    intrinsics: np.ndarray
    camera_from_grid: np.ndarray
    lens: Lens | None = None
    mask: ImageMask | None = None

    def __post_init__(self) -> None:
        _check(self.image, f"camera {self.name}: image", (None, None, 3), np.uint8)
        _check(self.intrinsics, f"camera {self.name}: intrinsics", (3, 3), np.float64)
        _check(self.camera_from_grid, f"camera {self.name}: camera_from_grid", (4, 4), np.float64)
        if min(self.image.shape[:2]) < 1:
            raise InvalidFrameError(f"camera {self.name}: empty image {self.image.shape}")
        if not (np.isfinite(self.intrinsics).all() and self.intrinsics[0, 0] > 0 and self.intrinsics[1, 1] > 0):
            raise InvalidFrameError(f"camera {self.name}: focal lengths must be > 0, got {self.intrinsics.tolist()}")
        rotation = self.camera_from_grid[:3, :3]
        if not np.isfinite(self.camera_from_grid).all() or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
            raise InvalidFrameError(f"camera {self.name}: camera_from_grid is not a rigid transform")


@dataclass(frozen=True, eq=False)
class PastPoints:
    """Returns of earlier sweeps: the vehicle's own motion is undone, that of others is not.

    Attributes:
        points: (P, 4) float32 as in `SensorFrame`, where they lie in the grid frame at the present sweep's stamp; none
            of the vehicle that measured them.
        lags: (P,) float32 seconds, at least 0: how long before the present sweep each was measured.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    lags: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        _check(self.points, "past points", (None, 4), np.float32)
        _check(self.lags, "lags", (len(self.points),), np.float32)
        if not (self.lags >= 0).all():  # so that NaN is refused
            raise InvalidFrameError(f"lags: expected seconds of at least 0, got {self.lags.min()}")


@dataclass(frozen=True)
class SensorFrame:
    """One LiDAR sweep with the camera images that belong to it, all in the grid frame.

    Attributes:
        stamp_ns: nanoseconds, the sweep's own stamp.
        points: (N, 4) float32: x, y, z in metres in the grid frame, intensity in 0..1.
        cameras: the cameras that took part; a camera that is missing is simply absent.
        frame_id: name of the grid frame.
        body_removed: returns from the vehicle itself are left out already; else those in the circle that the model was
            trained with are.
        ray_origins: (L, 3) float64, metres in the grid frame: where each LiDAR stood; one at the frame's origin.
        origin_of_point: (N,) uint8, the LiDAR of each point; None where there is only one.
        past: what earlier sweeps measured; a model that was not trained with it does not look at it.
    """

    stamp_ns: int
    points: np.ndarray
    cameras: tuple[CameraImage, ...] = ()
    frame_id: str = "lidar_top"
    body_removed: bool = False
    ray_origins: np.ndarray = field(default_factory=lambda: np.zeros((1, 3)))
    origin_of_point: np.ndarray | None = None
    past: PastPoints = field(default_factory=PastPoints)

    def __post_init__(self) -> None:
        _check(self.points, "points", (None, 4), np.float32)
        _check(self.ray_origins, "ray_origins", (None, 3), np.float64)
        if self.origin_of_point is not None:
            _check(self.origin_of_point, "origin_of_point", (len(self.points),), np.uint8)
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise InvalidFrameError(f"camera names must be unique, got {names}")

    def without_body(self, box: EgoBox) -> "SensorFrame":
        """The frame without the returns from inside a box, which takes the place of the model's circle."""
        kept, of = ~box.contains(self.points[:, :3]), self.origin_of_point
        return replace(
            self,
            points=self.points.compress(kept, axis=0),
            body_removed=True,
            origin_of_point=None if of is None else of.compress(kept),
        )


@dataclass(frozen=True)
class OccupancyGrid:
    """Semantic occupancy of one frame.

    Attributes:
        spec: the grid.
        labels: (X, Y, Z) uint8; 0 empty, 1.. class, 255 unknown.
        stamp_ns: nanoseconds, stamp of the sweep it was computed from.
        frame_id: name of the grid frame.
        cameras: names of the cameras that took part.
        model_id: the artifact that computed it.
        stage_ms: milliseconds spent in each stage.
        remembered: (M,) int64 ascending flat voxels (z fastest) whose label comes from earlier frames alone.
        occupancy, class_confidence: (X, Y, Z) uint8, 0..255 for 0..1: probability, from this frame alone, that a voxel
            is occupied, and of the class that it has if so; 0 where the frame says empty or nothing, as where a label
            is remembered, and never 0 of occupancy elsewhere; None where it is not known.
    """

    spec: GridSpec
    labels: np.ndarray
    stamp_ns: int
    frame_id: str
    cameras: tuple[str, ...] = ()
    model_id: str = ""
    stage_ms: dict[str, float] = field(default_factory=dict)
    remembered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    occupancy: np.ndarray | None = None
    class_confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check(self.labels, "labels", self.spec.size, np.uint8)
        _check(self.remembered, "remembered", (None,), np.int64)
        for name in ("occupancy", "class_confidence"):
            if getattr(self, name) is not None:
                _check(getattr(self, name), name, self.spec.size, np.uint8)
