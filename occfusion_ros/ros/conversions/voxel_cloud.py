"""PointCloud2 of voxels: the occupied ones with label and color, and where the unknown begins."""

import numpy as np
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from ...core.grid import GridSpec
from ...core.labels import IGNORE, SemanticClass
from .cdr import CdrWriter
from .coloring import Colors, class_colors
from .occupied_voxels import OccupiedVoxels

BLOCK = 4  # voxels along each edge of a block of unknown space

# The layout RViz and PCL (PointXYZRGBL) know: color packed as 0x00RRGGBB into the bytes of a float.
PLACE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
_POINT = np.dtype([*PLACE.descr, ("rgb", "<u4"), ("label", "<u4")])
_KINDS = {name: PointField.FLOAT32 for name in ("x", "y", "z", "rgb", "probability", "entropy")}
_KINDS |= {"label": PointField.UINT32, "class_id": PointField.UINT8}


def cloud_bytes(
    header: Header, voxels: OccupiedVoxels, classes: tuple[SemanticClass, ...], colors: Colors | None = None
) -> bytes:
    """Serialized PointCloud2 with fields x, y, z (metres), rgb and label, one point per occupied voxel.

    `colors`: of each point; None: that of its class.
    """
    return serialized_cloud(header, _points(voxels, colors(voxels) if colors else class_colors(classes)[voxels.labels]))


def unknown_bytes(header: Header, labels: np.ndarray, spec: GridSpec) -> bytes:
    """Serialized PointCloud2 with fields x, y, z (metres): `unknown_hull` of (X, Y, Z) uint8 labels."""
    centers = unknown_hull(labels, spec)
    points = np.empty(len(centers), PLACE)
    points["x"], points["y"], points["z"] = centers.T
    return serialized_cloud(header, points)


def unknown_hull(labels: np.ndarray, spec: GridSpec) -> np.ndarray:
    """(N, 3) float64 metres: where unknown space begins in (X, Y, Z) uint8 labels.

    One point is the center of a block of 4 x 4 x 4 unknown voxels that has a block beside it with another one in it.
    """
    blocks = _unknown_blocks(labels)
    known, beside = ~blocks, np.zeros_like(blocks)
    for axis in range(3):
        known_along, beside_along = np.moveaxis(known, axis, 0), np.moveaxis(beside, axis, 0)
        beside_along[1:] |= known_along[:-1]
        beside_along[:-1] |= known_along[1:]
    return np.asarray(spec.low) + (np.argwhere(blocks & beside) + 0.5) * BLOCK * spec.voxel_size


def _unknown_blocks(labels: np.ndarray) -> np.ndarray:
    """Which blocks are unknown throughout; voxels beyond the last whole block of an axis are left out."""
    unknown = labels == IGNORE
    for axis in range(3):
        along = np.moveaxis(unknown, axis, 0)
        count = len(along) // BLOCK
        along = np.logical_and.reduce([along[i : count * BLOCK : BLOCK] for i in range(BLOCK)])
        unknown = np.moveaxis(along, 0, axis)
    return unknown


def serialized_cloud(header: Header, points: np.ndarray) -> bytes:
    """Serialized PointCloud2 of (N,) points, or (H, W) of an organized cloud, in which some may be NaN."""
    height, width = points.shape if points.ndim == 2 else (1, len(points))
    cdr = CdrWriter()
    cdr.header(header)
    cdr.numbers("I", height, width)
    cdr.numbers("I", len(points.dtype.names))
    for name in points.dtype.names:
        cdr.string(name)
        cdr.numbers("I", points.dtype.fields[name][1])
        cdr.numbers("B", _KINDS[name])
        cdr.numbers("I", 1)
    cdr.numbers("?", False)  # is_bigendian
    cdr.numbers("I", points.itemsize, width * points.itemsize)
    cdr.array(points.reshape(-1).view(np.uint8))
    cdr.numbers("?", points.ndim == 1)  # is_dense
    return cdr.finish()


def _points(voxels: OccupiedVoxels, colors: np.ndarray) -> np.ndarray:
    red, green, blue = colors.astype(np.uint32).T
    points = np.empty(len(voxels.flat), _POINT)
    points["x"], points["y"], points["z"] = voxels.centers().T
    points["rgb"], points["label"] = red << 16 | green << 8 | blue, voxels.labels
    return points
