"""Messages for planners: voxels that block, costs from above, and the surface as pictures that match a cloud."""

from typing import Any

import numpy as np
from std_msgs.msg import Header

from ...core.frames import OccupancyGrid
from ...core.grid import GridSpec
from ...core.labels import IGNORE, SemanticClass
from ...planning.costmap import Costmap
from ...planning.surface import Surface
from .cdr import CdrWriter
from .voxel_cloud import PLACE, serialized_cloud


def obstacle_bytes(header: Header, voxels: np.ndarray, spec: GridSpec) -> bytes:
    """Serialized PointCloud2 with fields x, y, z (metres): the centers of (N, 3) voxels."""
    points = np.empty(len(voxels), PLACE)
    points["x"], points["y"], points["z"] = spec.centers(voxels).T
    return serialized_cloud(header, points)


def costmap_bytes(header: Header, costmap: Costmap, unknown: int = -1) -> bytes:
    """Serialized nav_msgs/OccupancyGrid along the axes of the header's frame, which stands still.

    `unknown`: what to write, -1 to 100, where nothing is known.
    """
    cdr = CdrWriter()
    cdr.header(header)
    cdr.numbers("i", header.stamp.sec)  # map_load_time
    cdr.numbers("I", header.stamp.nanosec)
    cdr.numbers("f", costmap.resolution)
    cdr.numbers("I", *costmap.cells.shape[::-1])
    cdr.numbers("d", *costmap.low, 0.0, 0.0, 0.0, 1.0)
    cells = np.where(costmap.cells < 0, np.int8(unknown), costmap.cells)
    cdr.array(cells.reshape(-1))  # rows of x one after the other
    return cdr.finish()


def seen_from_above(surface: Surface, blocking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the voxel that is seen of each column, (X, Y) int64: the highest that blocks, or the surface; -1: nothing.

    And what it is called, (X, Y) uint8; 255 where nothing is seen.

    Args:
        blocking: (N, 3) voxels, what `obstacles` gives.
    """
    spec = surface.spec
    level, labels = surface.level.copy(), np.where(surface.level < 0, IGNORE, surface.labels).astype(np.uint8)
    order = np.argsort(blocking[:, 2], kind="stable")
    x, y, z = blocking[order].T  # what is assigned last stays
    level[x, y] = z
    labels[x, y] = surface.names[np.searchsorted(surface.places, spec.flatten(x, y, z))]
    return level, labels


def mask_bytes(header: Header, pixels: np.ndarray) -> bytes:
    """Serialized sensor_msgs/Image, mono8, of (H, W) uint8."""
    cdr = CdrWriter()
    cdr.header(header)
    cdr.numbers("I", *pixels.shape)
    cdr.string("mono8")
    cdr.numbers("B", 0)  # is_bigendian
    cdr.numbers("I", pixels.shape[1])
    cdr.array(pixels.reshape(-1))
    return cdr.finish()


def column_cloud_bytes(header: Header, level: np.ndarray, spec: GridSpec) -> bytes:
    """Serialized organized PointCloud2: tops of the voxels at (X, Y) `level`, a row for each x; NaN where it is -1."""
    points = np.empty(level.shape, PLACE)
    x, y, _ = (np.asarray(spec.low)[k] + (np.arange(spec.size[k]) + 0.5) * spec.voxel_size for k in range(3))
    points["x"], points["y"] = x[:, None], y[None, :]
    points["z"] = np.where(level < 0, np.nan, spec.low[2] + (level + 1) * spec.voxel_size)
    return serialized_cloud(header, points)


def confidence_of(grid: OccupancyGrid, level: np.ndarray) -> np.ndarray:
    """(X, Y) uint8, 0 to 255 for 0 to 1: how probable the label of the voxel at (X, Y) `level` is.

    255 where the grid does not say, 0 where `level` is -1.
    """
    if grid.occupancy is None or grid.class_confidence is None:
        return np.where(level < 0, 0, 255).astype(np.uint8)
    at = np.maximum(level, 0)[..., None]
    both = [np.take_along_axis(values, at, 2)[..., 0] for values in (grid.occupancy, grid.class_confidence)]
    return np.where(level < 0, 0, both[0].astype(np.int32) * both[1] // 255).astype(np.uint8)


def label_info(kinds: Any, header: Header, classes: tuple[SemanticClass, ...]) -> Any:
    """Give the vision_msgs/LabelInfo of all classes; `kinds` is `vision_msgs.msg`."""
    named = [kinds.VisionClass(class_id=each.label, class_name=each.name) for each in classes]
    return kinds.LabelInfo(header=header, class_map=named, threshold=0.0)


def height_map(kinds: Any, multi_array: Any, header: Header, surface: Surface, costs: np.ndarray) -> Any:
    """Give the grid_map_msgs/GridMap with the layers ``elevation``, metres, and ``cost``; NaN is unknown.

    Grid maps begin at the corner with the greatest x and y, and are stored column by column.

    Args:
        kinds, multi_array: `grid_map_msgs.msg` and `std_msgs.msg`.
        costs: (X, Y) int8, -1 unknown.
    """
    spec, (rows, columns) = surface.spec, costs.shape
    message = kinds.GridMap(header=header, layers=["elevation", "cost"], basic_layers=["elevation"])
    info = message.info
    info.resolution, (info.length_x, info.length_y) = spec.voxel_size, (n * spec.voxel_size for n in costs.shape)
    middle = (np.asarray(spec.low) + spec.high) / 2
    info.pose.position.x, info.pose.position.y, info.pose.orientation.w = float(middle[0]), float(middle[1]), 1.0
    for layer in (surface.heights(), np.where(costs < 0, np.nan, costs)):
        array = multi_array.Float32MultiArray()
        array.layout.dim = [
            multi_array.MultiArrayDimension(label="column_index", size=columns, stride=rows * columns),
            multi_array.MultiArrayDimension(label="row_index", size=rows, stride=rows),
        ]
        array.data = layer[::-1, ::-1].astype(np.float32).ravel(order="F").tolist()
        message.data.append(array)
    return message
