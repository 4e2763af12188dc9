"""OccupancyGrid3D messages from grids and back."""

from collections.abc import Sequence

import numpy as np
from rclpy.serialization import deserialize_message
from std_msgs.msg import ColorRGBA

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses

from ...core.errors import InvalidFrameError, OccFusionError
from ...core.frames import OccupancyGrid
from ...core.grid import GridSpec
from ...core.labels import EMPTY, IGNORE, SemanticClass
from .cdr import CdrWriter
from .known_space import remembered_bits, remembered_from_bits, runs_of, unknown_from_runs
from .occupied_voxels import OccupiedVoxels, at_voxels, x_slowest
from .stamps import header_from, stamp_ns

MAX_VOXELS = 1 << 28  # a message that claims more is refused before anything is allocated


def occupancy_bytes(grid: OccupancyGrid, voxels: OccupiedVoxels, dense: bool = False, confidence: bool = True) -> bytes:
    """Serialized OccupancyGrid3D of a grid; `voxels` are ``OccupiedVoxels.of(grid.labels, grid.spec)``.

    `dense`: list every voxel. `confidence`: say how sure the grid is, where it knows.
    """
    spec = grid.spec
    cdr = CdrWriter()
    cdr.header(header_from(grid.stamp_ns, grid.frame_id))
    cdr.string(grid.model_id)
    cdr.strings(grid.cameras)
    cdr.numbers("d", *spec.low, 0.0, 0.0, 0.0, 1.0)
    cdr.numbers("d", *[spec.voxel_size] * 3)
    cdr.numbers("I", *spec.size)
    cdr.numbers("B", OccupancyGrid3D.DENSE if dense else OccupancyGrid3D.SPARSE, EMPTY)
    cdr.array(voxels.flat[:0].astype(np.uint32) if dense else voxels.flat.astype(np.uint32))
    cdr.array(voxels.dense if dense else voxels.labels)
    for values in (grid.occupancy, grid.class_confidence):
        cdr.array(np.empty(0, np.uint8) if values is None or not confidence else at_voxels(values, voxels))
    unknown = not dense and grid.labels.max() == IGNORE
    cdr.array(runs_of(voxels.dense == IGNORE if unknown else np.zeros(0, bool)))
    cdr.array(remembered_bits(grid.remembered, voxels))
    return cdr.finish()


def message_from_grid(grid: OccupancyGrid, dense: bool = False) -> OccupancyGrid3D:
    """The message of a grid, sparse unless asked otherwise."""
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)
    return deserialize_message(occupancy_bytes(grid, voxels, dense), OccupancyGrid3D)


def grid_from_message(message: OccupancyGrid3D) -> OccupancyGrid:
    """The grid in a message, everything in it checked.

    Raises:
        InvalidFrameError: sizes, indices, pose or encoding that contradict each other or cannot be represented.
    """
    spec = _grid_spec(message)
    data = np.asarray(message.data, np.uint8)
    indices, dense = _listed(message, data, spec.num_voxels)
    remembered = np.asarray(message.remembered, np.uint8)
    return OccupancyGrid(
        spec,
        x_slowest(dense, spec.size),
        stamp_ns(message.header),
        message.header.frame_id,
        tuple(message.cameras),
        message.model_id,
        remembered=remembered_from_bits(remembered, indices, spec),
        occupancy=_confidence("confidence", message.confidence, indices, spec),
        class_confidence=_confidence("class_confidence", message.class_confidence, indices, spec),
    )


def class_table(model_id: str, classes: tuple[SemanticClass, ...], stamp_ns: int) -> SemanticClasses:
    """The table that gives the labels of a model's grids their names and colors."""
    return SemanticClasses(
        header=header_from(stamp_ns, ""),
        model_id=model_id,
        ids=[c.label for c in classes],
        names=[c.name for c in classes],
        colors=[ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=1.0) for r, g, b in (c.rgb for c in classes)],
    )


def _grid_spec(message: OccupancyGrid3D) -> GridSpec:
    size = (message.size_x, message.size_y, message.size_z)
    if size[0] * size[1] * size[2] > MAX_VOXELS:
        raise InvalidFrameError(f"occupancy: expected at most {MAX_VOXELS} voxels, got size {size}")
    turn, edge = message.origin.orientation, message.voxel_size
    if (turn.x, turn.y, turn.z) != (0.0, 0.0, 0.0):
        raise InvalidFrameError(f"occupancy: expected an origin that is not turned, got {turn}")
    if not edge.x == edge.y == edge.z:
        raise InvalidFrameError(f"occupancy: expected cubic voxels, got {edge}")
    corner = message.origin.position
    try:
        return GridSpec((corner.x, corner.y, corner.z), edge.x, size)
    except OccFusionError as error:
        raise InvalidFrameError(f"occupancy: {error}") from error


def _confidence(name: str, values: Sequence[int], flat: np.ndarray, spec: GridSpec) -> np.ndarray | None:
    """(X, Y, Z) uint8 from one value for each of the voxels `flat`, (N,), x fastest; None where there is no value."""
    if not len(values):
        return None
    if len(values) != len(flat):
        raise InvalidFrameError(f"occupancy: expected 0 or {len(flat)} values of {name}, got {len(values)}")
    dense = np.zeros(spec.num_voxels, np.uint8)
    dense[flat] = values
    return x_slowest(dense, spec.size)


def _listed(message: OccupancyGrid3D, data: np.ndarray, num_voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """The voxels in which something is, (N,) flat indices, and (num_voxels,) uint8 labels; both x fastest."""
    indices, runs = np.asarray(message.indices, np.uint32), np.asarray(message.unknown_runs, np.uint16)
    if message.encoding == OccupancyGrid3D.DENSE:
        if len(data) != num_voxels or len(indices) or len(runs):
            raise InvalidFrameError(
                f"occupancy: expected {num_voxels} labels, no indices and no runs, "
                f"got {len(data)}, {len(indices)} and {len(runs)}"
            )
        named = len(message.remembered) or len(message.confidence) or len(message.class_confidence)
        return (OccupiedVoxels.flat_of(data) if named else indices), data
    if message.encoding != OccupancyGrid3D.SPARSE:
        raise InvalidFrameError(f"occupancy: expected encoding DENSE or SPARSE, got {message.encoding}")
    if len(indices) != len(data):
        raise InvalidFrameError(f"occupancy: expected as many indices as labels, got {len(indices)} and {len(data)}")
    if len(indices) and (indices[-1] >= num_voxels or (indices[1:] <= indices[:-1]).any()):
        raise InvalidFrameError(f"occupancy: expected strictly ascending indices below {num_voxels}")
    labels = np.full(num_voxels, message.free_label, np.uint8)
    unknown = unknown_from_runs(runs, num_voxels) if len(runs) else np.zeros(0, bool)
    if (data == IGNORE).any() or len(unknown) and unknown[indices].any():
        raise InvalidFrameError("occupancy: expected listed voxels to be known, got some that are unknown")
    if len(unknown):
        labels[unknown] = IGNORE
    labels[indices] = data
    return indices, labels
