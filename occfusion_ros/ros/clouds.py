"""PointCloud2 messages of any layout to point arrays."""

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from ..core.errors import InvalidFrameError

MAX_POINTS = 1 << 23  # 8 million; a hundred times a sweep
MAX_FIELDS = 256
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
    fields = {field.name: field for field in cloud.fields}
    if not {"x", "y", "z"} <= fields.keys():
        raise InvalidFrameError(f"cloud: expected fields x, y and z, got {sorted(fields)}")
    wanted = [fields[name] for name in ("x", "y", "z", "intensity") if name in fields]
    for field in wanted:
        if field.datatype not in _KINDS:
            raise InvalidFrameError(f"cloud: field {field.name} has unknown datatype {field.datatype}")
        if field.offset + np.dtype(_KINDS[field.datatype]).itemsize > cloud.point_step:
            raise InvalidFrameError(f"cloud: field {field.name} at byte {field.offset} lies outside point_step "
                                    f"{cloud.point_step}")
    return wanted


def _layout(cloud: PointCloud2) -> tuple[int, int, int]:
    """Rows, columns and bytes from row to row; all points lie within the data."""
    rows, columns, width = cloud.height, cloud.width, cloud.width * cloud.point_step
    if not rows * columns:
        return 0, 0, 0
    row_step = cloud.row_step if rows > 1 else width  # many drivers leave it 0 for a single row
    if row_step < width:
        raise InvalidFrameError(f"cloud: expected row_step of at least {width} bytes, got {row_step}")
    needed = (rows - 1) * row_step + width
    if needed > len(cloud.data):
        raise InvalidFrameError(f"cloud: expected {needed} bytes for {columns} x {rows} points, got {len(cloud.data)}")
    if rows * columns > MAX_POINTS:
        raise InvalidFrameError(f"cloud: expected at most {MAX_POINTS} points, got {columns} x {rows}")
    return rows, columns, row_step
