"""MarkerArray of the voxels that can be seen: lists of boxes for each class."""

import numpy as np
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ...core.labels import SemanticClass
from .cdr import CdrWriter
from .coloring import Colors
from .occupied_voxels import OccupiedVoxels
from .stamps import NS_PER_S

LONGEST = 8  # voxels of a box; a list has one scale, so each length has a list of its own

# RViz gives each face of a box a fixed brightness in the marker's axes: -y 1, -z 0.9, x 0.6, +z 0.5, +y 0.4. Turned by
# this quaternion, tops have the full color of their class, and what faces a viewer behind the vehicle 0.9 of it.
TURNED = (-(0.5**0.5), 0.0, 0.0, 0.5**0.5)


def marker_bytes(
    header: Header,
    voxels: OccupiedVoxels,
    classes: tuple[SemanticClass, ...],
    max_boxes: int,
    lifetime_s: float = 0.0,
    colors: Colors | None = None,
) -> bytes:
    """Serialized MarkerArray: in the namespace of each class, a CUBE_LIST of the boxes of `id` voxels along x.

    A list without a box deletes what it showed before. Voxels without an exposed face are left out; of more than
    `max_boxes` the nearest to the origin are kept.

    Args:
        lifetime_s: seconds until a viewer drops the boxes when nothing new comes; 0 keeps them for ever.
        colors: of each voxel, which then has a box of its own; None: that of its class.
    """
    boxes, lists, points = _boxes(voxels, 1 if colors else LONGEST, max_boxes)
    each = _rgba(colors(boxes)) if colors else np.empty((0, 4), np.float32)
    bounds = np.searchsorted(lists, np.arange(256 * LONGEST + 1)).tolist()
    edge, lifetime = voxels.spec.voxel_size, divmod(round(lifetime_s * NS_PER_S), NS_PER_S)
    cdr, rest = CdrWriter(), _end()
    cdr.numbers("I", len(classes) * LONGEST)
    for semantic_class in classes:
        begin, color = _begin(header, semantic_class.name), [channel / 255 for channel in semantic_class.rgb]
        for length in range(1, LONGEST + 1):
            number = _list(semantic_class.label, length)
            first, end = bounds[number], bounds[number + 1]
            cdr.fields(begin)
            cdr.numbers("i", length, Marker.CUBE_LIST, Marker.ADD if end > first else Marker.DELETE)
            cdr.numbers("d", 0, 0, 0, *TURNED, length * edge, edge, edge)  # pose, scale
            cdr.numbers("f", *color, 1.0)
            cdr.numbers("I", *lifetime)
            cdr.numbers("?", False)  # frame_locked
            cdr.array(points[first:end])
            cdr.array(each[first:end])
            cdr.fields(rest)
    return cdr.finish()


def _begin(header: Header, namespace: str) -> bytes:
    """The first fields of a Marker, in the order of its definition."""
    cdr = CdrWriter()
    cdr.header(header)
    cdr.string(namespace)
    return cdr.body()


def _end() -> bytes:
    """The last fields of a Marker without a texture, a text and a mesh."""
    cdr = CdrWriter()
    cdr.string("")  # texture_resource
    cdr.header(Header())
    cdr.string("")
    cdr.numbers("I", 0, 0)  # texture, uv_coordinates
    cdr.string("")  # text
    cdr.string("")  # mesh_resource
    cdr.string("")
    cdr.numbers("I", 0)  # mesh_file
    cdr.numbers("?", False)  # mesh_use_embedded_materials
    return cdr.body()


def _boxes(voxels: OccupiedVoxels, longest: int, most: int) -> tuple[OccupiedVoxels, np.ndarray, np.ndarray]:
    """First voxels of boxes, the lists that they are in, ascending, and (N, 3) centers in the turned frame, metres."""
    boxes, lengths = voxels.exposed.runs(longest)
    x, y, z = boxes.centers().T
    x = x + (lengths - 1) * (voxels.spec.voxel_size / 2)
    lists = _list(boxes.labels.astype(np.uint16), lengths.astype(np.uint16))
    order = np.arange(len(x))
    if len(order) > most:
        order = np.sort(np.argpartition(x * x + y * y + z * z, most - 1)[:most])
    order = order[np.argsort(lists[order], kind="stable")]
    return boxes.chosen(order), lists[order], np.stack([x[order], -z[order], y[order]], axis=1)


def _list(label: int | np.ndarray, length: int | np.ndarray) -> int | np.ndarray:
    """Number of the list of the boxes of a class and length."""
    return label * LONGEST + length - 1


def _rgba(colors: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 to (N, 4) float32 in 0..1 that hide what is behind them."""
    return np.c_[colors / np.float32(255), np.ones(len(colors), np.float32)]
