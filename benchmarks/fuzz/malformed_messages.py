"""Make malformed sensor messages from a seed: valid ones, and what lies, breaks or overwhelms."""

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from occfusion_ros.core.frames import CameraImage, OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.ros.conversions.occupancy_grid import message_from_grid

from ..load.messages import camera_info

FRAMES = ("base_link", "lidar_top", "cam_front", "map")
NOW_NS = 1_700_000_000 * 10**9
SIZE = (48, 64)  # height, width of images that are as they should be
_INTEGERS = (0, 1, 3, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e9, -1e30, 3.4e38, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    "/",
    "rgb8",
    "mono16",
    "bayer_rggb8",
    "8UC7",
    "jpeg",
    "png",
    "bayer_rggb8; jpeg",
    "\0",
    "\n",
    "ä" * 9,
    "x" * 5000,
    "nowhere",
    "%s%n",
    "../../etc/passwd",
)


class MalformedMessages:
    """Messages, each with none, one or several defects; equal seeds give equal messages."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def cloud(self, stamp_ns: int = NOW_NS) -> Any:
        """A PointCloud2."""
        from sensor_msgs.msg import PointCloud2, PointField

        rng, columns, rows = self.rng, int(rng_size(self.rng, 40)), int(self.rng.integers(1, 4))
        kind, code = (("f4", PointField.FLOAT32), ("f8", PointField.FLOAT64), ("i2", PointField.INT16))[rng.integers(3)]
        width, padding = np.dtype(kind).itemsize, int(rng.integers(0, 5))
        names = ("x", "y", "z", "intensity")[: 4 if rng.random() < 0.8 else 3]
        step = width * len(names) + padding
        points = (rng.normal(size=(rows * columns, len(names))) * 20).astype(kind)
        if kind != "i2" and rng.random() < 0.3 and points.size:
            with np.errstate(over="ignore"):
                points.ravel()[rng.integers(points.size, size=3)] = [self.number() for _ in range(3)]
        data = np.zeros((rows * columns, step), np.uint8)
        data[:, : step - padding] = np.ascontiguousarray(points).view(np.uint8)
        fields = [PointField(name=name, offset=width * i, datatype=code, count=1) for i, name in enumerate(names)]
        message = PointCloud2(
            header=self.header(stamp_ns, "lidar_top"),
            height=rows,
            width=columns,
            fields=fields,
            point_step=step,
            row_step=step * columns,
            data=data.tobytes(),
        )
        self.spoil(message, {"fields": lambda: self._fields(message.fields)})
        return message

    def image(self, stamp_ns: int = NOW_NS) -> Any:
        """An Image."""
        from sensor_msgs.msg import Image

        encoding = str(self.rng.choice(["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "bayer_rggb8"]))
        pixel = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono16": 2}.get(encoding, 1)
        height, width = self.size()
        step = width * pixel + int(self.rng.integers(0, 4))
        message = Image(
            header=self.header(stamp_ns, "cam_front"),
            height=height,
            width=width,
            encoding=encoding,
            step=step,
            data=self.rng.bytes(height * step),
        )
        self.spoil(message)
        return message

    def compressed(self, stamp_ns: int = NOW_NS) -> Any:
        """A CompressedImage."""
        from sensor_msgs.msg import CompressedImage

        files = encoded_files()
        name = str(self.rng.choice(list(files)))
        data = bytearray(files[name])
        for _ in range(int(self.rng.choice([0, 0, 1, 4]))):
            start, new = int(self.rng.integers(len(data))), self.rng.bytes(int(self.rng.integers(1, 5)))
            data[start : start + len(new)] = new
        message = CompressedImage(header=self.header(stamp_ns, "cam_front"), format=name.split()[0], data=bytes(data))
        self.spoil(message)
        return message

    def camera_info(self) -> Any:
        """A CameraInfo."""
        focal, (height, width) = self.rng.uniform(20, 90), SIZE
        intrinsics = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
        message = camera_info(CameraImage("cam_front", np.zeros((*SIZE, 3), np.uint8), intrinsics, np.eye(4)))
        message.header = self.header(NOW_NS, "cam_front")
        self.spoil(
            message,
            {
                "d": lambda: [self.number()] * int(self.rng.choice([1, 14, 10_000])),
                "k": lambda: self._spoilt(message.k),
                "r": lambda: self._spoilt(message.r),
                "p": lambda: self._spoilt(message.p),
                "roi": lambda: self._region(message.roi),
            },
        )
        return message

    def occupancy(self) -> Any:
        """An OccupancyGrid3D."""
        labels = self.rng.choice(np.array([0, 0, 4, 11, 255], np.uint8), (16, 12, 5))
        occupied = np.flatnonzero((labels > 0) & (labels < 255))
        remembered = occupied[self.rng.random(len(occupied)) < 0.3]
        grid = OccupancyGrid(
            GridSpec(size=labels.shape),
            labels,
            NOW_NS,
            "lidar_top",
            ("cam",),
            remembered=remembered,
            occupancy=labels,
            class_confidence=labels,
        )
        message = message_from_grid(grid, dense=bool(self.rng.integers(2)))
        message.header = self.header(NOW_NS, "lidar_top")
        self.spoil(
            message,
            {
                "cameras": lambda: [self.text()] * int(self.rng.choice([1, 1000])),
                "indices": lambda: self._other_numbers(message.indices, 2**32),
                "confidence": lambda: self._other_numbers(message.confidence, 2**8),
                "class_confidence": lambda: self._other_numbers(message.class_confidence, 2**8),
                "unknown_runs": lambda: self._other_numbers(message.unknown_runs, 2**16),
                "origin": lambda: self._pose(message.origin),
                "voxel_size": lambda: self._edges(message.voxel_size),
            },
        )
        return message

    def transforms(self, stamp_ns: int = NOW_NS) -> Any:
        """A TFMessage."""
        from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
        from tf2_msgs.msg import TFMessage

        message = TFMessage()
        for _ in range(int(self.rng.choice([0, 1, 4, 20]))):
            parent, child = (str(name) for name in self.rng.choice(FRAMES, 2))
            shift, turn = self.rng.normal(size=3), self.rng.normal(size=4)
            shift, turn = list(shift), list(turn / np.linalg.norm(turn))
            if self.rng.random() < 0.1:
                shift[self.rng.integers(3)] = self.number()
            if self.rng.random() < 0.1:
                turn[self.rng.integers(4)] = self.number()
            child = self.text() if self.rng.random() < 0.2 else child
            message.transforms.append(
                TransformStamped(
                    header=self.header(stamp_ns, parent),
                    child_frame_id=child,
                    transform=Transform(
                        translation=Vector3(x=shift[0], y=shift[1], z=shift[2]),
                        rotation=Quaternion(x=turn[0], y=turn[1], z=turn[2], w=turn[3]),
                    ),
                )
            )
        return message

    def header(self, stamp_ns: int, frame: str) -> Any:
        """A Header that is now and then not what it should be."""
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        if self.rng.random() < 0.1:
            seconds = int(self.rng.choice([0, -1, -(2**31), 2**31 - 1, seconds - 100]))
        if self.rng.random() < 0.05:
            nanoseconds = int(self.rng.choice([0, 10**9, 2**32 - 1]))
        frame = self.text() if self.rng.random() < 0.1 else frame
        return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame)

    def spoil(self, message: Any, special: dict[str, Callable[[], Any]] | None = None) -> None:
        """Replace up to three fields of a message by what does not belong there."""
        kinds = {name: kind for name, kind in message.get_fields_and_field_types().items() if name != "header"}
        count = min(int(self.rng.choice([0, 1, 1, 2, 3])), len(kinds))
        for name in self.rng.choice(list(kinds), count, replace=False):
            value = getattr(message, name)
            if special and name in special:
                setattr(message, name, special[name]())
            elif isinstance(value, bool):
                setattr(message, name, not value)
            elif isinstance(value, int):
                setattr(message, name, self.integer() % (256 if kinds[name] == "uint8" else 2**32))
            elif isinstance(value, str):
                setattr(message, name, self.text())
            else:
                data = bytes(value)
                setattr(message, name, data[: int(self.rng.integers(len(data) + 1))] + self.rng.bytes(3))

    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        return SIZE if self.rng.random() < 0.5 else (rng_size(self.rng, 30) + 1, rng_size(self.rng, 30) + 1)

    def integer(self) -> int:
        """One that is likely to be out of place."""
        return int(self.rng.choice(_INTEGERS)) if self.rng.random() < 0.7 else int(self.rng.integers(2**32))

    def number(self) -> float:
        """One that is likely to be out of place."""
        return float(self.rng.choice(_NUMBERS))

    def text(self) -> str:
        """One that is likely to be out of place."""
        return _TEXTS[self.rng.integers(len(_TEXTS))] + str(self.rng.integers(10**6)) * int(self.rng.integers(2))

    def _fields(self, fields: list) -> list:
        from sensor_msgs.msg import PointField

        field = fields[self.rng.integers(len(fields))]
        change = self.rng.integers(4)
        if change == 0:
            field.offset = self.integer() % 2**32
        elif change == 1:
            field.datatype = int(self.rng.integers(256))
        elif change == 2:
            field.name = self.text()
        return fields if change < 3 else [PointField(name=name) for name in ("x", "y", "z")] * 200

    def _spoilt(self, values: Any) -> Any:
        values[self.rng.integers(len(values))] = self.number()
        return values

    def _other_numbers(self, values: Any, limit: int) -> list[int]:
        """Some of them, and perhaps others."""
        kept = list(values)[: int(self.rng.integers(len(values) + 1))]
        return [*kept, *(self.integer() % limit for _ in range(int(self.rng.choice([0, 1, 3]))))]

    def _pose(self, pose: Any) -> Any:
        pose.position.x, pose.orientation.z = self.number(), self.number() * int(self.rng.integers(2))
        return pose

    def _edges(self, edges: Any) -> Any:
        edges.x = self.number()
        edges.y = edges.z = edges.x if self.rng.random() < 0.5 else 0.2
        return edges

    def _region(self, region: Any) -> Any:
        region.x_offset, region.width = self.integer() % 2**32, self.integer() % 2**32
        return region


def rng_size(rng: np.random.Generator, most: int) -> int:
    """A small number, now and then 0."""
    return int(rng.integers(most)) if rng.random() < 0.95 else 0


@cache
def encoded_files() -> dict[str, bytes]:
    """Encoded images by name: whole ones, bombs, and kinds that are not expected."""
    from PIL import Image

    def encode(size: tuple[int, int], kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, kind, **options)
        return file.getvalue()

    def black(width: int, height: int) -> bytes:
        file = io.BytesIO()
        Image.new("L", (width, height)).save(file, "PNG")
        return file.getvalue()

    jpeg, progressive = encode(SIZE, "JPEG"), encode(SIZE, "JPEG", progressive=True)
    frame = jpeg.index(b"\xff\xc0")
    scan = progressive.rindex(b"\xff\xda")
    return {
        "jpeg": jpeg,
        "png": encode(SIZE, "PNG"),
        "jpeg progressive": progressive,
        "jpeg of another size": encode((30, 20), "JPEG"),
        "png of another size": encode((30, 20), "PNG"),
        "jpeg that claims 65535 x 65535": jpeg[: frame + 5] + b"\xff" * 4 + jpeg[frame + 9 :],
        "jpeg of a thousand scans": progressive[:scan] + progressive[scan:-2] * 1000 + b"\xff\xd9",
        "png of 81 megapixels": black(9000, 9000),
        "png of 16 megapixels": black(4000, 4000),
        "png of two headers": black(9, 9)[:33] + black(*SIZE[::-1])[8:],  # a signature of 8 bytes, a header of 25
        "bmp": encode(SIZE, "BMP"),
        "gif": encode(SIZE, "GIF"),
        "tiff": encode(SIZE, "TIFF"),
        "webp": encode(SIZE, "WEBP"),
        "text": b"not an image at all",
        "zeros": bytes(1000),
    }
