"""PointCloud2 of the centers of occupied voxels, with label and color."""

import numpy as np
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

from ...core.labels import SemanticClass
from .cdr import CdrWriter
from .occupied_voxels import OccupiedVoxels

# The layout RViz and PCL (PointXYZRGBL) know: color packed as 0x00RRGGBB into the bytes of a float.
_POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4")])
_FIELDS = {
    "x": PointField.FLOAT32,
    "y": PointField.FLOAT32,
    "z": PointField.FLOAT32,
    "rgb": PointField.FLOAT32,
    "label": PointField.UINT32,
}


def cloud_bytes(header: Header, voxels: OccupiedVoxels, classes: tuple[SemanticClass, ...]) -> bytes:
    """Serialized PointCloud2 with fields x, y, z (metres), rgb and label, one point per known occupied voxel."""
    points = _points(voxels.known(), classes)
    cdr = CdrWriter()
    cdr.header(header)
    cdr.numbers("I", 1, len(points))
    cdr.numbers("I", len(_FIELDS))
    for name, datatype in _FIELDS.items():
        cdr.string(name)
        cdr.numbers("I", _POINT.fields[name][1])
        cdr.numbers("B", datatype)
        cdr.numbers("I", 1)
    cdr.numbers("?", False)  # is_bigendian
    cdr.numbers("I", _POINT.itemsize, points.nbytes)
    cdr.array(points.view(np.uint8))
    cdr.numbers("?", True)  # is_dense
    return cdr.finish()


def _points(voxels: OccupiedVoxels, classes: tuple[SemanticClass, ...]) -> np.ndarray:
    colors = np.zeros(256, np.uint32)
    for semantic_class in classes:
        red, green, blue = semantic_class.rgb
        colors[semantic_class.label] = red << 16 | green << 8 | blue
    points = np.empty(len(voxels.flat), _POINT)
    points["x"], points["y"], points["z"] = voxels.centers().T
    points["rgb"], points["label"] = colors[voxels.labels], voxels.labels
    return points
