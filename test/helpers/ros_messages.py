"""Hand-made messages for the tests of the ROS side."""

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from occfusion_ros.ros.conversions.stamps import header_from

KIND = {
    "f4": PointField.FLOAT32,
    "f8": PointField.FLOAT64,
    "i1": PointField.INT8,
    "u1": PointField.UINT8,
    "i2": PointField.INT16,
    "u2": PointField.UINT16,
    "i4": PointField.INT32,
    "u4": PointField.UINT32,
}


def cloud(
    points: np.ndarray,
    *,
    stamp_ns: int = 1,
    frame_id: str = "lidar_top",
    kind: str = "f4",
    names: tuple[str, ...] = ("x", "y", "z", "intensity"),
    start: int = 0,
    point_padding: int = 0,
    rows: int = 1,
    row_padding: int = 0,
    big_endian: bool = False,
) -> PointCloud2:
    """PointCloud2 of (N, len(names)) numbers with bytes of rubbish wherever the layout leaves gaps."""
    order = ">" if big_endian else "<"
    width = np.dtype(kind).itemsize
    step = start + width * len(names) + point_padding
    columns = len(points) // rows
    row_step = columns * step + row_padding
    data = np.full(rows * row_step, 0xAB, np.uint8)
    offsets = [start + width * i for i in range(len(names))]
    record = np.dtype(
        {"names": list(names), "formats": [order + kind] * len(names), "offsets": offsets, "itemsize": step}
    )
    view = np.ndarray((rows, columns), record, data, strides=(row_step, step))
    for i, name in enumerate(names):
        view[name] = points[:, i].reshape(rows, columns)
    fields = [PointField(name=n, offset=o, datatype=KIND[kind], count=1) for n, o in zip(names, offsets)]
    return PointCloud2(
        header=header_from(stamp_ns, frame_id),
        height=rows,
        width=columns,
        fields=fields,
        is_bigendian=big_endian,
        point_step=step,
        row_step=row_step,
        data=data.tobytes(),
        is_dense=False,
    )


def image(
    pixels: np.ndarray, encoding: str, *, padding: int = 0, stamp_ns: int = 1, frame_id: str = "cam_front"
) -> Image:
    """Raw image of (H, W[, C]) pixels, each row followed by `padding` bytes of rubbish."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return Image(
        header=header_from(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=pixels.dtype.byteorder == ">",
        step=padded.shape[1],
        data=padded.tobytes(),
    )


def compressed(
    pixels: np.ndarray, kind: str = "jpeg", *, stamp_ns: int = 1, frame_id: str = "cam_front"
) -> CompressedImage:
    """JPEG or PNG of (H, W, 3) uint8 RGB pixels."""
    import cv2

    ok, data = cv2.imencode("." + kind, pixels[..., ::-1])
    assert ok
    return CompressedImage(header=header_from(stamp_ns, frame_id), format=kind, data=data.tobytes())


def camera_info(width: int = 64, height: int = 48, focal: float = 50.0, **fields) -> CameraInfo:
    """CameraInfo of a rectified pinhole camera; `fields` replace what it holds."""
    k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    p = [focal, 0.0, width / 2, 0.0, 0.0, focal, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    values = dict(
        header=header_from(1, "cam_front"),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=k,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=p,
    )
    return CameraInfo(**{**values, **fields})
