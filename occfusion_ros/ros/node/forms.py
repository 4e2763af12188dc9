"""The forms in which an answer is published; what several of them need is computed once, and only when asked for."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from threading import RLock
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid as OccupancyGridMsg
from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name
from sensor_msgs.msg import CompressedImage, Image, PointCloud2
from std_msgs import msg as std_msgs
from visualization_msgs.msg import MarkerArray

from occfusion_msgs.msg import OccupancyGrid3D

from ...core.frames import CameraImage, OccupancyGrid
from ...core.labels import EMPTY, FLAT_GROUND, IGNORE, SemanticClass
from ...core.processor import usable_cores
from ...planning.costmap import in_fixed_frame
from ...planning.surface import Passable, Surface, costs, obstacles
from ...viz.overlay import overlay
from ..conversions.cells import cells_of
from ..conversions.coloring import class_colors, coloring
from ..conversions.image import jpeg_bytes
from ..conversions.markers import marker_bytes
from ..conversions.occupancy_grid import occupancy_bytes
from ..conversions.occupied_voxels import OccupiedVoxels
from ..conversions.planning import (
    column_cloud_bytes,
    confidence_of,
    costmap_bytes,
    height_map,
    mask_bytes,
    obstacle_bytes,
    seen_from_above,
)
from ..conversions.segmentation import segmentation_bytes
from ..conversions.stamps import header_from
from ..conversions.voxel_cloud import cloud_bytes, unknown_bytes
from ..conversions.voxel_grid import voxel_grid_bytes
from .parameter_values import bands_of, costs_of
from .parameters import NodeParameters

logger = logging.getLogger(__name__)
VOXEL_GRID = ("voxel_grid_merge", "voxel_grid_range_m")  # parameters of an output that may be missing


def shared(compute: Callable[[Any], Any]) -> property:
    """Make a property of what is computed once, by the thread that asks first, while others wait."""

    def get(owner: Any) -> Any:
        with owner.lock:
            if compute.__name__ not in vars(owner):
                vars(owner)[compute.__name__] = compute(owner)
            return vars(owner)[compute.__name__]

    return property(get, doc=compute.__doc__)


@dataclass(frozen=True)
class Answer:
    """An answer and all that its forms, which are built side by side, have in common.

    Attributes:
        grid: the answer.
        parameters: of the node.
        classes: of its labels.
        passable: what can be passed, with the band of `~/obstacles`.
        cameras: of the frame that is answered.
        pose: gives (4, 4) from the grid to the fixed frame at its stamp, or raises TransformError.
        lock: held while something is computed that several of them need.
    """

    grid: OccupancyGrid
    parameters: NodeParameters
    classes: tuple[SemanticClass, ...]
    passable: Passable
    cameras: tuple[CameraImage, ...]
    pose: Callable[[], np.ndarray]
    lock: Any = field(default_factory=RLock, repr=False, compare=False)

    @property
    def header(self) -> std_msgs.Header:
        """With the sweep's stamp, in the grid's frame."""
        return header_from(self.grid.stamp_ns, self.grid.frame_id)

    @shared
    def fixed_from_grid(self) -> np.ndarray:
        """What `pose` gives: several costmaps look it up once."""
        return self.pose()

    @shared
    def voxels(self) -> OccupiedVoxels:
        """What is occupied."""
        return OccupiedVoxels.of(self.grid.labels, self.grid.spec)

    @shared
    def seen(self) -> tuple[np.ndarray, np.ndarray]:
        """Centers, (N, 3) float32 metres, column by column, and colors, (N, 3) uint8, of what can be seen."""
        exposed = self.voxels.exposed
        return np.asfortranarray(exposed.centers(), np.float32), self._colored(exposed)

    @shared
    def surface(self) -> Surface:
        """What can be driven or walked on."""
        return Surface.of(self.grid.labels, self.grid.spec)

    @shared
    def obstacles(self) -> np.ndarray:
        """(N, 3) voxels that block."""
        return obstacles(self.surface, self.passable)

    @shared
    def above(self) -> tuple[np.ndarray, np.ndarray]:
        """See `seen_from_above`."""
        return seen_from_above(self.surface, self.obstacles)

    def occupancy(self) -> bytes:
        """All of it."""
        return occupancy_bytes(self.grid, self.voxels, self.parameters.dense, self.parameters.confidence)

    def markers(self) -> bytes:
        """Cubes."""
        most, lifetime = self.parameters.max_markers, self.parameters.marker_lifetime_s
        return marker_bytes(self.header, self.voxels, self.classes, most, lifetime, self._colors())

    def points(self) -> bytes:
        """A colored point for each occupied voxel."""
        return cloud_bytes(self.header, self.voxels, self.classes, self._colors())

    def unknown(self) -> bytes:
        """Where the unknown begins."""
        return unknown_bytes(self.header, self.grid.labels, self.grid.spec)

    def segmentation(self) -> bytes:
        """Points in the layout of Autoware."""
        return segmentation_bytes(self.header, self.voxels, self.grid)

    def blocking(self) -> bytes:
        """A point for each voxel that blocks."""
        return obstacle_bytes(self.header, self.obstacles, self.grid.spec)

    def costmap(self, passable: Passable | None = None) -> bytes:
        """Costs in the fixed frame, with another height band than that of `~/obstacles` or with that."""
        blocking = obstacles(self.surface, passable) if passable else self.obstacles
        found, heights = costs(self.surface, blocking, self.passable), self.surface.heights()
        height = float(np.nanmedian(heights)) if np.isfinite(heights).any() else 0.0
        costmap = in_fixed_frame(found, self.grid.spec, self.fixed_from_grid, height)
        return costmap_bytes(
            header_from(self.grid.stamp_ns, self.parameters.fixed_frame), costmap, self.parameters.costmap_unknown
        )

    def mask(self) -> bytes:
        """Labels seen from above."""
        return mask_bytes(self.header, self.above[1])

    def mask_points(self) -> bytes:
        """Where the pixels of the mask lie."""
        return column_cloud_bytes(self.header, self.above[0], self.grid.spec)

    def mask_confidence(self) -> bytes:
        """How sure the pixels of the mask are."""
        return mask_bytes(self.header, confidence_of(self.grid, self.above[0]))

    def height_map(self) -> Any:
        """The surface as a grid map."""
        found = costs(self.surface, self.obstacles, self.passable)
        return height_map(import_module("grid_map_msgs.msg"), std_msgs, self.header, self.surface, found)

    def voxel_grid(self) -> bytes:
        """Dense cells for Foxglove."""
        range_m, merge = self.parameters.voxel_grid_range_m, self.parameters.voxel_grid_merge
        return voxel_grid_bytes(self.header, cells_of(self.voxels, self._colored(self.voxels), range_m, merge))

    def overlay(self, name: str) -> bytes | None:
        """The voxels over a camera's image; None where the camera took no part."""
        for camera in self.cameras:
            if camera.name == name:
                return jpeg_bytes(self.header, overlay(camera, *self.seen, self.grid.spec.voxel_size))
        return None

    def _colored(self, voxels: OccupiedVoxels) -> np.ndarray:
        """(N, 3) uint8 colors of voxels."""
        colors = self._colors()
        return colors(voxels) if colors else class_colors(self.classes)[voxels.labels]

    def _colors(self) -> Any:
        return coloring(self.parameters.color_by, self.grid, self.classes)


@dataclass(frozen=True)
class Form:
    """One output.

    Attributes:
        topic: such as ``~/points``. kind: of its messages.
        build: gives a message of an answer, serialized or not, or None where there is none.
    """

    topic: str
    kind: type
    build: Callable[[Answer], Any]


class Builder:
    """Builds several forms of an answer side by side, on as many threads as there are cores."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(usable_cores(), "outputs")

    def build(self, answer: Answer, some: Sequence[Form]) -> list[Callable[[], Any]]:
        """Begin with the forms, the first one first; what is given waits for a message, or raises what went wrong."""
        return [self._pool.submit(form.build, answer).result for form in some]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def forms(parameters: NodeParameters, passable: Passable) -> Iterator[Form]:
    """Give all outputs of which there is a message for each answer."""
    yield Form("~/occupancy", OccupancyGrid3D, Answer.occupancy)
    yield Form("~/markers", MarkerArray, Answer.markers)
    yield Form("~/points", PointCloud2, Answer.points)
    yield Form("~/unknown", PointCloud2, Answer.unknown)
    yield Form("~/segmentation", PointCloud2, Answer.segmentation)
    yield Form("~/obstacles", PointCloud2, Answer.blocking)
    yield Form("~/from_above/mask", Image, Answer.mask)
    yield Form("~/from_above/points", PointCloud2, Answer.mask_points)
    yield Form("~/from_above/confidence", Image, Answer.mask_confidence)
    for name in overlaid(parameters.cameras):
        yield Form(f"~/overlay/{name}/compressed", CompressedImage, lambda answer, name=name: answer.overlay(name))
    if kinds := installed("grid_map_msgs.msg"):
        yield Form("~/height_map", kinds.GridMap, Answer.height_map)
    if hasattr(
        kind := getattr(installed("foxglove_msgs.msg"), "VoxelGrid", None), "slice_stride"
    ):  # as since August 2025
        yield Form("~/voxel_grid", kind, Answer.voxel_grid)
    elif any(getattr(parameters, name) != getattr(NodeParameters, name) for name in VOXEL_GRID):
        logger.warning(
            "%s: ~/voxel_grid needs foxglove_msgs of August 2025 or later: install it", ", ".join(VOXEL_GRID)
        )
    if parameters.fixed_frame:
        yield Form("~/costmap", OccupancyGridMsg, Answer.costmap)
        for name, band in bands_of(parameters.costmap_bands).items():
            other = Passable(passable.step_m, passable.slope, band, passable.costs)
            yield Form(f"~/costmap/{name}", OccupancyGridMsg, lambda answer, other=other: answer.costmap(other))
    elif parameters.costmap_bands:
        logger.warning("costmap_bands: a costmap stands still, so there is none without fixed_frame")


def overlaid(cameras: tuple[str, ...]) -> Iterator[str]:
    """Give the cameras whose names can be part of a topic; a warning names the others."""
    for name in cameras:
        try:
            validate_topic_name(f"~/overlay/{name}/compressed")
            yield name
        except InvalidTopicNameException:
            logger.warning("there is no ~/overlay of camera %r: no topic can have such a name", name)


def installed(module: str) -> Any:
    """Give a module of messages that may be missing, or None."""
    try:
        return import_module(module)
    except ImportError:
        return None


def passable_of(parameters: NodeParameters, classes: tuple[SemanticClass, ...]) -> Passable:
    """Give what can be passed; costs of classes that there are not are passed over, with a warning."""
    labels = {each.name: each.label for each in classes}
    by_label = np.full(256, 100, np.uint8)
    by_label[[EMPTY, IGNORE, *FLAT_GROUND]] = 0
    for name, cost in costs_of(parameters.class_costs).items():
        if name in labels:
            by_label[labels[name]] = cost
        else:
            logger.warning("class_costs: there is no class %r, but %s", name, ", ".join(labels))
    slope = math.tan(math.radians(parameters.max_slope_deg))
    return Passable(parameters.max_step_m, slope, parameters.obstacle_band_m, by_label)
