"""PointCloud2 messages of any layout to point arrays."""

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from ..core.errors import InvalidFrameError

MAX_POINTS = 1 << 23  # 8 million; a hundred times a sweep
MAX_FIELDS = 256
INTENSITIES = ("intensity", "intensities", "i", "reflectivity", "reflectance", "remission")
MAX_METRES = 1e9  # farther away is no measurement, and its square would still be finite

_KINDS = {
    PointField.INT8: "i1", PointField.UINT8: "u1", PointField.INT16: "i2", PointField.UINT16: "u2",
    PointField.INT32: "i4", PointField.UINT32: "u4", PointField.FLOAT32: "f4", PointField.FLOAT64: "f8",
}


def points_from_cloud(cloud: PointCloud2, intensity_max: float = 1.0) -> np.ndarray:
    """Points of a cloud; those with a coordinate that is no bearable number are left out.

    Args:
        cloud: any field order, datatype, padding, byte order, organised or not; x, y and z are required.
        intensity_max: the cloud's value of full intensity, for example 255; it becomes 1.

    Returns:
        (N, 4) float32: x, y, z in metres in the cloud's frame, intensity in 0..1 (0 where the cloud has none).

    Raises:
        InvalidFrameError: the sizes contradict each other or are unbearable, or a coordinate field is missing.
    """
    fields = _fields(cloud)
    rows, columns, row_step = _layout(cloud)
    order = ">" if cloud.is_bigendian else "<"
    points = np.zeros((rows * columns, 4), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is dropped below
        for column, field in enumerate(fields if len(points) else ()):
            view = np.ndarray((rows, columns), order + _KINDS[field.datatype], cloud.data, field.offset,
                              (row_step, cloud.point_step))
            points[:, column] = view.ravel()
        points[:, 3] = np.nan_to_num(np.clip(points[:, 3] / intensity_max, 0.0, 1.0), nan=0.0)
    return points[(np.abs(points[:, :3]) <= MAX_METRES).all(axis=1)]  # False for NaN


def _fields(cloud: PointCloud2) -> list[PointField]:
    """The fields x, y, z and, where there is one, intensity; each lies within a point."""
    if len(cloud.fields) > MAX_FIELDS:
        raise InvalidFrameError(f"cloud: expected at most {MAX_FIELDS} fields, got {len(cloud.fields)}")
    coordinates = [_named(cloud, name) for name in ("x", "y", "z")]
    if None in coordinates:
        raise InvalidFrameError(f"cloud: expected fields x, y and z, got {_names(cloud)}")
    intensity = next(filter(None, (_named(cloud, name) for name in INTENSITIES)), None)
    wanted = coordinates + [intensity] * (intensity is not None)
    for field in wanted:
        if field.datatype not in _KINDS:
            raise InvalidFrameError(f"cloud: field {field.name} has unknown datatype {field.datatype}")
        if field.offset + np.dtype(_KINDS[field.datatype]).itemsize > cloud.point_step:
            raise InvalidFrameError(f"cloud: field {field.name} at byte {field.offset} lies outside point_step "
                                    f"{cloud.point_step}")
    return wanted


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
        raise InvalidFrameError(f"cloud: expected {rows * width} bytes for {columns} x {rows} points of point_step "
                                f"{cloud.point_step}, or a row_step of {width} or more that fits the data, got {size} "
                                f"bytes and row_step {cloud.row_step}; fields: {_names(cloud)}")
    if rows * columns > MAX_POINTS:
        raise InvalidFrameError(f"cloud: expected at most {MAX_POINTS} points, got {columns} x {rows}")
    return rows, columns, row_step
