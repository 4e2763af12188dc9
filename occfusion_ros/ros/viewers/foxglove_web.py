"""Show what the node publishes in Foxglove, without Foxglove's ROS packages: serve it live, or write an MCAP file.

The voxels are a dense grid of cells, because Foxglove has no sparse one. The sensor data is that which the node itself
subscribes to.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.atomic import write_text
from .command import ViewerError, Write, common_parser, needed, run_viewer
from .foxglove_layout import layout_of

if TYPE_CHECKING:
    from .scene import CameraView, Scene

NS_PER_S = 1_000_000_000
FLOAT_BYTES = 4
PIXEL_CENTER = 0.5  # Foxglove counts the places of points from the corner of the first pixel
POINT_PIXELS = 4.0
TABLE = {"type": "object", "additionalProperties": {"type": "number"}}  # names and numbers, to plot
CLASSES = {
    "type": "object",
    "properties": {
        "classes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "integer"},
                    "name": {"type": "string"},
                    "rgb": {"type": "array", "items": {"type": "integer"}},
                },
            },
        }
    },
}


class FoxgloveLog:
    """Writes scenes to the channels of a Foxglove context; what nobody listens to is not made.

    Attributes:
        context: ``foxglove.Context``, to which a server or a file is connected.
    """

    def __init__(self, range_m: float = 0.0, merge: int = 1) -> None:
        """See `cells_of`.

        Raises:
            ViewerError: Foxglove's package is not installed.
        """
        self._foxglove = needed("foxglove", "foxglove-sdk")
        self._kinds, self._messages = needed("foxglove.channels", "foxglove-sdk"), self._foxglove.messages
        self._range_m, self._merge = range_m, merge
        self.context = self._foxglove.Context()
        self._channels: dict[str, Any] = {}

    def write(self, scene: "Scene") -> None:
        """Log one scene at the sweep's stamp."""
        m, stamp_ns, frame = self._messages, scene.grid.stamp_ns, scene.grid.frame_id
        stamp = m.Timestamp(*divmod(stamp_ns, NS_PER_S))
        head = {"timestamp": stamp, "frame_id": frame}
        self._log("/voxels", "VoxelGrid", stamp_ns, lambda: self._voxels(scene, head))
        self._log("/sweep", "PointCloud", stamp_ns, lambda: self._sweep(scene, head))
        self._log("/tf", "FrameTransforms", stamp_ns, lambda: self._transforms(scene, stamp, frame))
        for name, view in scene.cameras.items():
            self._camera(name, view, scene, stamp)
        classes = [{"label": one.label, "name": one.name, "rgb": list(one.rgb)} for one in scene.classes]
        self._log("/classes", CLASSES, stamp_ns, lambda: {"classes": classes})
        self._log("/counts", TABLE, stamp_ns, lambda: {**scene.counts(), "remembered": len(scene.grid.remembered)})
        self._log("/times_ms", TABLE, stamp_ns, lambda: dict(scene.stage_ms))
        levels = (m.LogLevel.Info, m.LogLevel.Warning, m.LogLevel.Error, m.LogLevel.Warning)
        for status in scene.statuses:
            log = m.Log(
                timestamp=stamp, level=levels[min(status.level[0], 3)], message=status.message, name=status.name
            )
            self._log("/diagnostics", "Log", stamp_ns, lambda log=log: log)

    def _log(self, topic: str, kind: str | dict, stamp_ns: int, make: Callable[[], Any]) -> None:
        """Log a message of one of Foxglove's kinds, or of a JSON schema."""
        channel = self._channels.get(topic)
        if channel is None:
            channel = (
                self._foxglove.Channel(topic, schema=kind, context=self.context)
                if isinstance(kind, dict)
                else getattr(self._kinds, f"{kind}Channel")(topic, context=self.context)
            )
            self._channels[topic] = channel
        if channel.has_sinks():
            channel.log(make(), log_time=stamp_ns)

    def _fields(self, names: tuple[str, ...], kind: Any, size: int) -> list:
        return [self._messages.PackedElementField(name=n, offset=i * size, type=kind) for i, n in enumerate(names)]

    def _voxels(self, scene: "Scene", head: dict) -> Any:
        """Dense cells, x fastest; strides count bytes."""
        from ..conversions.cells import FIELDS, cells_of

        m, cells = self._messages, cells_of(scene.voxels, scene.colors, self._range_m, self._merge)
        slice_bytes, row_bytes, cell_bytes, _ = cells.values.strides
        edge = cells.spec.voxel_size
        return m.VoxelGrid(
            **head,
            pose=m.Pose(position=_vector(m, cells.spec.low), orientation=m.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)),
            row_count=cells.spec.size[1],
            column_count=cells.spec.size[0],
            cell_size=_vector(m, (edge, edge, edge)),
            slice_stride=slice_bytes,
            row_stride=row_bytes,
            cell_stride=cell_bytes,
            fields=self._fields(FIELDS, m.PackedElementFieldNumericType.Uint8, 1),
            data=cells.values.tobytes(),
        )

    def _sweep(self, scene: "Scene", head: dict) -> Any:
        m, names = self._messages, ("x", "y", "z", "intensity")
        return m.PointCloud(
            **head,
            pose=m.Pose(position=_vector(m, (0, 0, 0)), orientation=m.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)),
            point_stride=len(names) * FLOAT_BYTES,
            fields=self._fields(names, m.PackedElementFieldNumericType.Float32, FLOAT_BYTES),
            data=np.ascontiguousarray(scene.points, "<f4").tobytes(),
        )

    def _transforms(self, scene: "Scene", stamp: Any, frame: str) -> Any:
        """Where the cameras are; each has a frame with its name."""
        from ..transforms.tree import quaternion_of

        m, found = self._messages, []
        for name, view in scene.cameras.items():
            if view.camera_from_grid is not None:
                pose = np.linalg.inv(view.camera_from_grid)
                turn = m.Quaternion(**dict(zip("xyzw", quaternion_of(pose[:3, :3]).tolist())))
                found.append(
                    m.FrameTransform(
                        timestamp=stamp,
                        parent_frame_id=frame,
                        child_frame_id=name,
                        translation=_vector(m, pose[:3, 3]),
                        rotation=turn,
                    )
                )
        return m.FrameTransforms(transforms=found)

    def _camera(self, name: str, view: "CameraView", scene: "Scene", stamp: Any) -> None:
        """An image, the calibration of the ideal camera, and the voxels as points on the image."""
        m, stamp_ns, image = self._messages, scene.grid.stamp_ns, view.image
        head = {"timestamp": stamp, "frame_id": name}
        if hasattr(image, "format"):
            self._log(f"/{name}/image", "CompressedImage", stamp_ns, lambda: self._compressed(image, head))
        else:
            self._log(f"/{name}/image_raw", "RawImage", stamp_ns, lambda: self._raw(image, head))
        if view.calibration is not None:
            matrix, (height, width) = view.calibration.intrinsics, view.calibration.size
            calibration = m.CameraCalibration(
                **head,
                width=width,
                height=height,
                K=matrix.ravel().tolist(),
                R=np.eye(3).ravel().tolist(),
                P=np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist(),
            )
            self._log(f"/{name}/calibration", "CameraCalibration", stamp_ns, lambda: calibration)
        self._log(f"/{name}/voxels", "ImageAnnotations", stamp_ns, lambda: self._annotations(view, scene, stamp))

    def _compressed(self, image: Any, head: dict) -> Any:
        from .scene import image_kind

        data = bytes(image.data)
        return self._messages.CompressedImage(**head, data=data, format=image_kind(data))

    def _raw(self, image: Any, head: dict) -> Any:
        return self._messages.RawImage(
            **head,
            width=image.width,
            height=image.height,
            encoding=image.encoding,
            step=image.step,
            data=bytes(image.data),
        )

    def _annotations(self, view: "CameraView", scene: "Scene", stamp: Any) -> Any:
        """Points of one color together."""
        m = self._messages
        colors, of = np.unique(scene.colors[view.voxels], axis=0, return_inverse=True)
        groups = []
        for i, color in enumerate(colors / 255):
            pixels = (view.pixels[of.ravel() == i] + PIXEL_CENTER).tolist()
            groups.append(
                m.PointsAnnotation(
                    timestamp=stamp,
                    type=m.PointsAnnotationType.Points,
                    points=[m.Point2(x=x, y=y) for x, y in pixels],
                    outline_color=m.Color(**dict(zip("rgb", color.tolist())), a=1.0),
                    thickness=POINT_PIXELS,
                )
            )
        return m.ImageAnnotations(timestamp=stamp, points=groups)


def _vector(messages: Any, xyz: Any) -> Any:
    return messages.Vector3(**dict(zip("xyz", map(float, xyz))))


@contextmanager
def open_foxglove(options: argparse.Namespace) -> Iterator[Write]:
    """Within it scenes are served, or written to `options.file`; `options.layout` is written with the first one,
    and again when another has what none had before.

    Raises:
        ViewerError: Foxglove's package is not installed, the file cannot be written or the port not be had.
    """
    log = FoxgloveLog(options.range, options.merge)
    cameras, stages, written = {}, {}, None  # of all scenes so far
    try:
        end = _connect(log, options)
    except (OSError, RuntimeError, ValueError) as error:
        raise ViewerError(f"Foxglove cannot be opened: {error}") from error

    def write(scene: "Scene") -> None:
        nonlocal written
        log.write(scene)
        cameras.update(scene.cameras)
        stages.update(scene.stage_ms)
        if options.layout and written != (len(cameras), len(stages)):
            written = len(cameras), len(stages)
            write_text(options.layout, layout_of(replace(scene, cameras=cameras, stage_ms=stages)))
            print(f"written {options.layout}; import it in Foxglove", flush=True)

    try:
        yield write
    finally:
        end()


def _connect(log: FoxgloveLog, options: argparse.Namespace) -> Callable[[], None]:
    """Open the file or the server; what ends it."""
    import foxglove

    if options.file:
        options.file.parent.mkdir(parents=True, exist_ok=True)
        writer = foxglove.open_mcap(options.file, context=log.context, allow_overwrite=True)
        print(f"writing {options.file}; open it with Foxglove", flush=True)
        return writer.close
    server = foxglove.start_server(name="occfusion_ros", host=options.host, port=options.port, context=log.context)
    print(f"open {server.app_url()}, or ws://{options.host}:{server.port} in Foxglove", flush=True)
    return server.stop


def _parser() -> argparse.ArgumentParser:
    parser = common_parser("web", __doc__)
    parser.add_argument("--mcap", dest="file", type=Path, metavar="FILE", help="write a file, every answer of it")
    parser.add_argument(
        "--layout", type=Path, metavar="FILE", help="write windows for Foxglove as answers come, as JSON"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--port", type=int, default=8765, help="port to serve on (default: 8765; 0: a free one)")
    parser.add_argument(
        "--merge", type=int, default=2, choices=(1, 2, 4), help="voxels along each edge of a cell (default: 2)"
    )
    parser.add_argument(
        "--range",
        type=float,
        default=0.0,
        metavar="M",
        help="leave out what is farther along x or y (default: 0, nothing)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    return run_viewer(_parser(), open_foxglove, argv)


if __name__ == "__main__":
    sys.exit(main())
