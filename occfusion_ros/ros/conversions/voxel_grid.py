"""Foxglove's VoxelGrid message: dense cells with a color and a label, cropped and merged."""

from std_msgs.msg import Header

from .cdr import CdrWriter
from .cells import FIELDS, Cells

UINT8 = 1  # as foxglove_msgs/PackedElementField numbers its types


def voxel_grid_bytes(header: Header, cells: Cells) -> bytes:
    """Serialized foxglove_msgs/VoxelGrid as it is defined since August 2025: strides in bytes, x fastest.

    Its `timestamp` and `frame_id` lie as a header does, and how many slices there are follows from the data.
    """
    columns, rows, _ = cells.spec.size
    slice_bytes, row_bytes, cell_bytes, _ = cells.values.strides
    cdr = CdrWriter()
    cdr.header(header)
    cdr.numbers("d", *cells.spec.low, 0, 0, 0, 1)  # pose: the low corner
    cdr.numbers("I", rows, columns)
    cdr.numbers("d", *[cells.spec.voxel_size] * 3)
    cdr.numbers("I", slice_bytes, row_bytes, cell_bytes)
    cdr.numbers("I", len(FIELDS))
    for offset, name in enumerate(FIELDS):
        cdr.string(name)
        cdr.numbers("I", offset)
        cdr.numbers("B", UINT8)
    cdr.array(cells.values.reshape(-1))
    return cdr.finish()
