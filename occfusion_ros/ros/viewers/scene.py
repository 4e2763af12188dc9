"""Everything that a viewer shows of one answer, decoded once and brought into the grid frame."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from ...core.camera import seen_in_image
from ...core.errors import InvalidFrameError
from ...core.frames import OccupancyGrid
from ...core.labels import OPENOCCUPANCY_CLASSES, SemanticClass
from ..conversions.camera_info import Calibration, calibration_from_info
from ..conversions.coloring import class_colors, coloring
from ..conversions.occupancy_grid import grid_from_message
from ..conversions.occupied_voxels import OccupiedVoxels
from ..conversions.point_cloud import points_from_cloud
from ..conversions.stamps import stamp_ns
from ..node.frame_builder import camera_from_grid
from ..tools.output_collector import Answer, OutputCollector
from ..transforms.buffer import make_transform_buffer
from ..transforms.tree import TransformError

CELLS = 200  # across an image: of what is projected into a cell, the nearest is shown


@dataclass(frozen=True)
class CameraView:
    """A camera's image, and what of the voxels it sees.

    Attributes:
        image: as it came.
        calibration: None where it is not known, as the following.
        camera_from_grid: (4, 4) float64, of the ideal camera.
        voxels: (M,) int64, which of the scene's voxels are seen, the farthest first.
        pixels: (M, 2) float32, where.
    """

    image: Image | CompressedImage
    calibration: Calibration | None = None
    camera_from_grid: np.ndarray | None = None
    voxels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    pixels: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))


@dataclass(frozen=True)
class Scene:
    """One answer of the node with what it was made of; all in the grid frame.

    Attributes:
        grid: the occupancy.
        classes: names and colors of its labels.
        voxels: the occupied ones.
        colors: (N, 3) uint8, theirs.
        points: (P, 4) float32, the sweep: x, y, z in metres, intensity as it came.
        cameras: by name.
        stage_ms: milliseconds, by stage: the last that have come.
        statuses: of the node's diagnostics, those that have changed.
    """

    grid: OccupancyGrid
    classes: tuple[SemanticClass, ...]
    voxels: OccupiedVoxels
    colors: np.ndarray
    points: np.ndarray
    cameras: dict[str, CameraView]
    stage_ms: dict[str, float]
    statuses: tuple[DiagnosticStatus, ...] = ()

    def counts(self) -> dict[str, int]:
        """Number of voxels by class, in the order of the labels; nothing that has no name."""
        found = np.bincount(self.voxels.labels, minlength=256)
        return {one.name: int(found[one.label]) for one in self.classes}


class SceneReader:
    """Turns answers into scenes; it listens to TF and diagnostics for that.

    Args:
        node: the rclpy node to subscribe with.
        collector: whose answers they are, made with `ALL_INPUTS`.
        color_by: one of `COLORINGS`.
        fixed_frame: frame in which nothing moves that does not move, so that a camera is where it was when its image
            was taken; empty: where it was with the sweep.
    """

    def __init__(self, node: Node, collector: OutputCollector, color_by: str = "class", fixed_frame: str = "") -> None:
        self._collector, self._color_by, self._fixed_frame = collector, color_by, fixed_frame
        self._transforms = make_transform_buffer(node)
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._changed: dict[str, DiagnosticStatus] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)

    def read(self, answer: Answer) -> Scene:
        """The scene of an answer; a cloud or camera of which something is missing is shown without it.

        Raises:
            InvalidFrameError: the occupancy cannot be used.
        """
        grid = grid_from_message(answer.message)
        classes = self._collector.classes or OPENOCCUPANCY_CLASSES
        voxels = OccupiedVoxels.of(grid.labels, grid.spec)
        colors = coloring(self._color_by, grid, classes)
        changed, self._changed = self._changed, {}
        return Scene(
            grid,
            classes,
            voxels,
            colors(voxels) if colors else class_colors(classes)[voxels.labels],
            np.concatenate([np.zeros((0, 4), np.float32), *(self._points(cloud, grid) for cloud in answer.clouds)]),
            self._cameras(answer, grid, voxels),
            {stage: times[-1] for stage, times in self._collector.stage_ms.items() if times},
            tuple(changed.values()),
        )

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep what has changed; the node says its full name where others have the serial number of a device."""
        for status in message.status:
            before = self._statuses.get(status.name)
            told = before and (before.level, before.message) == (status.level, status.message)
            if status.hardware_id == self._collector.full_name and not told:
                self._statuses[status.name] = self._changed[status.name] = status

    def _points(self, cloud: PointCloud2, grid: OccupancyGrid) -> np.ndarray:
        try:
            points = points_from_cloud(cloud)
            pose = self._transforms.lookup(grid.frame_id, cloud.header.frame_id, stamp_ns(cloud.header))
        except (InvalidFrameError, TransformError):
            return np.zeros((0, 4), np.float32)
        points[:, :3] = points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
        return points

    def _cameras(self, answer: Answer, grid: OccupancyGrid, voxels: OccupiedVoxels) -> dict[str, CameraView]:
        """The cameras, with the voxels that can be seen from somewhere projected into their images."""
        shown = np.searchsorted(voxels.flat, voxels.exposed.flat)
        centers = voxels.centers()[shown]
        frames = Counter(image.header.frame_id for image in answer.images.values())
        cameras = {}
        for name, image in answer.images.items():
            try:
                calibration = calibration_from_info(answer.infos[name], topic=answer.topics[name])
                pose = camera_from_grid(
                    image.header, grid.frame_id, grid.stamp_ns, self._fixed_frame, self._transforms.lookup
                )
                pose = calibration.ideal_from_frame(frames[image.header.frame_id] > 1) @ pose
                seen, pixels = seen_by(centers, calibration, pose)
                cameras[name] = CameraView(image, calibration, pose, shown[seen], pixels)
            except (KeyError, InvalidFrameError, TransformError):
                cameras[name] = CameraView(image)
        return cameras


def seen_by(centers: np.ndarray, calibration: Calibration, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the points (N, 3) in the grid frame a camera sees, the farthest first: (M,) int64, and (M, 2) float32
    pixels of its image as it comes. Of those that fall into one of 200 cells across the image, only the nearest.

    Args:
        calibration: of the camera.
        pose: (4, 4) ``camera_from_grid`` of the ideal camera.
    """
    ahead, pixels, _ = seen_in_image(centers, calibration.intrinsics, pose, calibration.lens, calibration.size)
    cells = (pixels + 0.5) // (calibration.size[1] / CELLS)
    _, first = np.unique(cells[:, 1] * (CELLS + 1) + cells[:, 0], return_index=True)
    kept = np.sort(first)[::-1]
    return ahead[kept], pixels[kept].astype(np.float32)


def image_kind(data: bytes) -> str:
    """What a compressed image is, by its first bytes: png or jpeg."""
    return "png" if data.startswith(b"\x89PNG") else "jpeg"
