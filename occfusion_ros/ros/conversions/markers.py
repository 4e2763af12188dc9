"""MarkerArray of the voxels that can be seen: one list of cubes per class."""

import numpy as np
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from ...core.labels import SemanticClass
from .cdr import CdrWriter
from .coloring import Colors
from .occupied_voxels import OccupiedVoxels
from .stamps import NS_PER_S


def marker_bytes(
    header: Header,
    voxels: OccupiedVoxels,
    classes: tuple[SemanticClass, ...],
    max_cubes: int,
    lifetime_s: float = 0.0,
    colors: Colors | None = None,
) -> bytes:
    """Serialized MarkerArray with one CUBE_LIST for each class, always in the same namespace with the same id.

    A class without a cube deletes what it showed before. Voxels without an exposed face are left out; of more than
    `max_cubes` the nearest to the origin are kept.

    Args:
        lifetime_s: seconds until a viewer drops the cubes when nothing new comes; 0 keeps them for ever.
        colors: of each cube; None: that of its class.
    """
    visible = voxels.exposed().nearest(max_cubes)
    centers, each = visible.centers(), _rgba(colors(visible)) if colors else np.empty((0, 4), np.float32)
    cdr = CdrWriter()
    cdr.numbers("I", len(classes))
    for semantic_class in classes:
        own = visible.labels == semantic_class.label
        colored = each[own] if colors else each
        _marker(
            cdr, header, semantic_class, centers[own], colored, visible.spec.voxel_size, round(lifetime_s * NS_PER_S)
        )
    return cdr.finish()


def _rgba(colors: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 to (N, 4) float32 in 0..1 that hide what is behind them."""
    return np.c_[colors / np.float32(255), np.ones(len(colors), np.float32)]


def _marker(
    cdr: CdrWriter,
    header: Header,
    semantic_class: SemanticClass,
    cubes: np.ndarray,
    colors: np.ndarray,
    edge: float,
    lifetime_ns: int,
) -> None:
    """One Marker, field by field in the order of its definition; without `colors` that of the class holds."""
    cdr.header(header)
    cdr.string(semantic_class.name)
    cdr.numbers("i", semantic_class.label, Marker.CUBE_LIST, Marker.ADD if len(cubes) else Marker.DELETE)
    cdr.numbers("d", 0, 0, 0, 0, 0, 0, 1)  # pose: the cubes are given in the header's frame
    cdr.numbers("d", edge, edge, edge)
    cdr.numbers("f", *(channel / 255 for channel in semantic_class.rgb), 1.0)
    cdr.numbers("i", lifetime_ns // NS_PER_S)
    cdr.numbers("I", lifetime_ns % NS_PER_S)
    cdr.numbers("?", False)  # frame_locked
    cdr.array(cubes)
    cdr.array(colors)
    cdr.string("")  # texture_resource
    cdr.header(Header())
    cdr.string("")
    cdr.numbers("I", 0)  # texture
    cdr.numbers("I", 0)  # uv_coordinates
    cdr.string("")  # text
    cdr.string("")  # mesh_resource
    cdr.string("")
    cdr.numbers("I", 0)  # mesh_file
    cdr.numbers("?", False)  # mesh_use_embedded_materials
