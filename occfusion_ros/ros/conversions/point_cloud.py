"""PointCloud2 messages of any layout to point arrays."""

from typing import NamedTuple

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from ...core.errors import InvalidFrameError

MAX_POINTS = 1 << 23  # 8 million; a hundred times a sweep
MAX_FIELDS = 256
TIME_FIELDS = (
    "t",
    "time",
    "timestamp",
    "time_stamp",
    "offset_time",
    "time_offset",
    "timeoffset",
    "timestamps",
    "ts",
    "point_time",
    "point_time_offset",
    "time_offset_ns",
    "relative_time",
)
INTENSITIES = ("intensity", "intensities", "i", "reflectivity", "reflectance", "remission")
MAX_METERS = 1e9  # farther away is no measurement, and its square would still be finite

_KINDS = {
    PointField.INT8: "i1",
    PointField.UINT8: "u1",
    PointField.INT16: "i2",
    PointField.UINT16: "u2",
    PointField.INT32: "i4",
    PointField.UINT32: "u4",
    PointField.FLOAT32: "f4",
    PointField.FLOAT64: "f8",
}


class Cloud(NamedTuple):
    """What a message holds; points with a coordinate that is no bearable number are left out.

    Attributes:
        points: (N, 4) float32: x, y, z in metres in the cloud's frame, intensity in 0..1 (0 where the cloud has none).
        times: (N,) of the field's own datatype, in native byte order; None where the cloud has no time for each point.
        time_field: its name; empty where there is none.
    """

    points: np.ndarray
    times: np.ndarray | None
    time_field: str


def points_from_cloud(cloud: PointCloud2, intensity_max: float = 1.0) -> np.ndarray:
    """The points alone, see `read_cloud`."""
    return read_cloud(cloud, intensity_max).points


def read_cloud(cloud: PointCloud2, intensity_max: float = 1.0, with_times: bool = False) -> Cloud:
    """Read a message.

    Args:
        cloud: any field order, datatype, padding, byte order, organized or not; x, y and z are required.
        intensity_max: the cloud's value of full intensity, for example 255; it becomes 1.
        with_times: read the points' times too; a field of them that cannot be read is none.

    Raises:
        InvalidFrameError: the sizes contradict each other or are unbearable, or a coordinate field is missing.
    """
    fields, layout = _fields(cloud), _layout(cloud)
    points = np.zeros((layout[0] * layout[1], 4), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is dropped below
        for column, field in enumerate(fields if len(points) else ()):
            points[:, column] = _view(cloud, field, layout).ravel()
        points[:, 3] = np.nan_to_num(np.clip(points[:, 3] / intensity_max, 0.0, 1.0), nan=0.0)
    bearable = np.logical_and.reduce([np.abs(axis) <= MAX_METERS for axis in points[:, :3].T])  # False for NaN
    time = _first_named(cloud, TIME_FIELDS) if with_times and len(points) else None
    points = points.compress(bearable, axis=0)
    if time is None or _fault(cloud, time):
        return Cloud(points, None, "")
    times = _view(cloud, time, layout).ravel().compress(bearable)
    return Cloud(points, times.astype(times.dtype.newbyteorder("="), copy=False), time.name)


def _view(cloud: PointCloud2, field: PointField, layout: tuple[int, int, int]) -> np.ndarray:
    """(rows, columns) numbers of a field, where they lie in the message."""
    rows, columns, row_step = layout
    kind = (">" if cloud.is_bigendian else "<") + _KINDS[field.datatype]
    return np.ndarray((rows, columns), kind, cloud.data, field.offset, (row_step, cloud.point_step))


def _fields(cloud: PointCloud2) -> list[PointField]:
    """The fields x, y, z and, where there is one, intensity; each lies within a point."""
    if len(cloud.fields) > MAX_FIELDS:
        raise InvalidFrameError(f"cloud: expected at most {MAX_FIELDS} fields, got {len(cloud.fields)}")
    coordinates = [_first_named(cloud, (name,)) for name in ("x", "y", "z")]
    if None in coordinates:
        raise InvalidFrameError(f"cloud: expected fields x, y and z, got {_names(cloud)}")
    intensity = _first_named(cloud, INTENSITIES)
    wanted = coordinates + [intensity] * (intensity is not None)
    for fault in filter(None, (_fault(cloud, field) for field in wanted)):
        raise InvalidFrameError(f"cloud: {fault}")
    return wanted


def _fault(cloud: PointCloud2, field: PointField) -> str:
    """What keeps a field from being read; empty where nothing does."""
    if field.datatype not in _KINDS:
        return f"field {field.name} has unknown datatype {field.datatype}"
    if field.offset + np.dtype(_KINDS[field.datatype]).itemsize > cloud.point_step:
        return f"field {field.name} at byte {field.offset} lies outside point_step {cloud.point_step}"
    return ""


def _first_named(cloud: PointCloud2, names: tuple[str, ...]) -> PointField | None:
    """The first of some fields that the cloud has; one that is spelt exactly so comes before one whose case differs."""
    return next(filter(None, (_named(cloud, name) for name in names)), None)


def _named(cloud: PointCloud2, name: str) -> PointField | None:
    """The field of a name; where none is spelt so, one whose case differs."""
    alike = [field for field in cloud.fields if field.name.lower() == name]
    return next((field for field in alike if field.name == name), alike[0] if alike else None)


def _names(cloud: PointCloud2) -> str:
    """For messages: the fields with their places."""
    return ", ".join(f"{field.name!r} at byte {field.offset}" for field in cloud.fields) or "none"


def _layout(cloud: PointCloud2) -> tuple[int, int, int]:
    """Rows, columns and bytes from row to row; all points lie within the data.

    Drivers write all kinds of numbers into row_step. It holds where it is possible; where it is not, the bytes tell,
    as long as they are exactly those of the points: anything else could be padding as well as rubbish.
    """
    rows, columns, width = cloud.height, cloud.width, cloud.width * cloud.point_step
    if not rows * columns:
        return 0, 0, 0
    row_step, size = cloud.row_step, len(cloud.data)
    if rows == 1 or size == rows * width:
        row_step = width
    if row_step < width or (rows - 1) * row_step + width > size:
        raise InvalidFrameError(
            f"cloud: expected {rows * width} bytes for {columns} x {rows} points of point_step "
            f"{cloud.point_step}, or a row_step of {width} or more that fits the data, got {size} "
            f"bytes and row_step {cloud.row_step}; fields: {_names(cloud)}"
        )
    if rows * columns > MAX_POINTS:
        raise InvalidFrameError(f"cloud: expected at most {MAX_POINTS} points, got {columns} x {rows}")
    return rows, columns, row_step
