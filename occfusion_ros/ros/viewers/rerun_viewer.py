"""Show what the node publishes in Rerun: voxels by class, sweep, images with the voxels on them, times and counts.

Opens Rerun's viewer on this machine, connects to one that runs, serves a page for the browser or writes a file. The
sensor data is that which the node itself subscribes to.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .command import ViewerError, Write, common_parser, needed, run_viewer

if TYPE_CHECKING:
    from .scene import CameraView, Scene

APPLICATION = "occfusion_ros"
GRID = "grid"  # entity in which everything lies that has a place
SWEEP_RGB, UNKNOWN_RGB = (170, 170, 170), (60, 60, 60)
PIXEL_CENTER = 0.5  # Rerun counts from the corner of the first pixel
JPEG_QUALITY = 85  # of images that come raw
SERVED_MEMORY = "1GB"  # of what is kept for browsers that connect late


class RerunLog:
    """Writes scenes to a recording of Rerun.

    Attributes:
        recording: ``rerun.RecordingStream``, to be connected to whatever takes it.
    """

    def __init__(self, name: str = "") -> None:
        """`name`: of the recording.

        Raises:
            ViewerError: Rerun is not installed.
        """
        self._rr = needed("rerun", "rerun-sdk")
        self.recording = self._rr.RecordingStream(APPLICATION, recording_id=name or None)
        self._cameras: set[str] | None = None  # that were ever seen

    def write(self, scene: "Scene") -> None:
        """Log one scene at the sweep's stamp, and the layout of the windows when a camera is new."""
        import numpy as np

        rr = self._rr
        if self._cameras is None or not self._cameras >= scene.cameras.keys():
            self._cameras = {*(self._cameras or ()), *scene.cameras}
            self._begin(scene)
        self.recording.set_time("stamp", timestamp=np.datetime64(scene.grid.stamp_ns, "ns"))
        self._voxels(scene)
        self._log([GRID, "sweep"], rr.Points3D(scene.points[:, :3], colors=SWEEP_RGB, radii=-1.0))  # window points
        for name in self._cameras - scene.cameras.keys():
            self._log([GRID, "cameras", name], rr.Clear(recursive=True))
        for name, view in scene.cameras.items():
            self._camera([GRID, "cameras", name], view, scene)
        for name, value in scene.stage_ms.items():
            self._log(["times_ms", name], rr.Scalars(value))
        for name, value in scene.counts().items():
            self._log(["counts", name], rr.Scalars(value))
        self._log(["counts", "remembered"], rr.Scalars(len(scene.grid.remembered)))
        levels = (rr.TextLogLevel.INFO, rr.TextLogLevel.WARN, rr.TextLogLevel.ERROR, rr.TextLogLevel.WARN)
        for status in scene.statuses:
            text = f"{status.name}: {status.message}"
            self._log(["diagnostics"], rr.TextLog(text, level=levels[min(status.level[0], 3)]))

    def _begin(self, scene: "Scene") -> None:
        """Log what holds for all scenes."""
        self.recording.send_blueprint(self._blueprint(sorted(self._cameras)))
        self._log([GRID], self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for one in scene.classes:
            self._log(["counts", one.name], self._rr.SeriesLines(colors=one.rgb, names=one.name), static=True)

    def _log(self, entity: list[str], what: Any, static: bool = False) -> None:
        self.recording.log(entity, what, static=static)  # a list is escaped

    def _voxels(self, scene: "Scene") -> None:
        """An entity for each class, so that it can be switched off, and the hull of unknown space."""
        from ..conversions.voxel_cloud import BLOCK, unknown_hull

        voxels, edge = scene.voxels, scene.grid.spec.voxel_size
        indices = scene.grid.spec.unflatten_x_fastest(voxels.flat)
        for one in scene.classes:
            chosen = voxels.labels == one.label
            grid = self._rr.VoxelGridMap(
                indices[chosen], [edge] * 3, colors=scene.colors[chosen], translation=scene.grid.spec.low
            )
            self._log([GRID, "voxels", one.name], grid)
        hull = unknown_hull(scene.grid.labels, scene.grid.spec)
        self._log([GRID, "unknown"], self._rr.Points3D(hull, colors=UNKNOWN_RGB, radii=BLOCK * edge / 4))

    def _camera(self, entity: list[str], view: "CameraView", scene: "Scene") -> None:
        """Its place, its image, and the voxels as points on the image."""
        import numpy as np

        rr, calibration = self._rr, view.calibration
        if calibration is not None:
            pose, matrix = np.linalg.inv(view.camera_from_grid), calibration.intrinsics.copy()
            matrix[:2, 2] += PIXEL_CENTER
            height, width = calibration.size
            self._log(entity, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
            self._log(entity, rr.Pinhole(image_from_camera=matrix, resolution=(width, height)))
        self._log([*entity, "image"], self._image(view.image))
        points = rr.Points2D(view.pixels + PIXEL_CENTER, colors=scene.colors[view.voxels], radii=-2.0)
        self._log([*entity, "voxels"], points)

    def _image(self, image: Any) -> Any:
        """An image as it came, where it is compressed."""
        from sensor_msgs.msg import CompressedImage

        from ..conversions.image import rgb_from_image
        from .scene import image_kind

        if isinstance(image, CompressedImage):
            data = bytes(image.data)
            return self._rr.EncodedImage(contents=data, media_type=f"image/{image_kind(data)}")
        return self._rr.Image(rgb_from_image(image)).compress(jpeg_quality=JPEG_QUALITY)

    def _blueprint(self, cameras: list[str]) -> Any:
        """The windows: voxels and sweep in the middle, cameras beside them, times, counts and diagnostics below."""
        import rerun.blueprint as rrb

        origins = {name: self._rr.new_entity_path([GRID, "cameras", name]) for name in cameras}
        views = [rrb.Spatial2DView(origin=origin, name=name) for name, origin in origins.items()]
        hidden = {f"{GRID}/unknown": rrb.EntityBehavior(visible=False)}
        scene = rrb.Spatial3DView(origin=GRID, name="occupancy", overrides=hidden)
        below = rrb.Horizontal(
            rrb.TimeSeriesView(origin="counts", name="voxels by class"),
            rrb.TimeSeriesView(origin="times_ms", name="stages, ms"),
            rrb.TextLogView(origin="diagnostics", name="diagnostics"),
        )
        above = rrb.Horizontal(scene, rrb.Grid(*views), column_shares=[3, 2]) if views else scene
        return rrb.Blueprint(rrb.Vertical(above, below, row_shares=[3, 1]), collapse_panels=True)


@contextmanager
def open_rerun(file: Path | None = None, connect: str = "", serve: int = 0) -> Iterator[Write]:
    """Within it scenes are written to a file, to a viewer that runs, to browsers, or else to a viewer that is opened.

    Args:
        file: to be written, with its folder.
        connect: URL of a viewer.
        serve: port of the page, of which the next one is that of the data.

    Raises:
        ViewerError: Rerun is not installed, or its viewer cannot be opened or the file not written.
    """
    log = RerunLog()
    try:
        _connect(log.recording, file, connect, serve)
    except (OSError, RuntimeError) as error:
        raise ViewerError(f"Rerun cannot be opened: {error}") from error
    try:
        yield log.write
    finally:
        log.recording.flush(timeout_sec=10.0)
        log.recording.disconnect()


def _connect(recording: Any, file: Path | None, connect: str, serve: int) -> None:
    import rerun as rr

    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        recording.save(file)
        print(f"writing {file}; to open it: {sys.executable} -m rerun {file}", flush=True)
    elif connect:
        recording.connect_grpc(connect)
    elif serve:
        url = recording.serve_grpc(grpc_port=serve + 1, server_memory_limit=SERVED_MEMORY)
        rr.serve_web_viewer(web_port=serve, open_browser=False)
        page = f"http://localhost:{serve}/?url={url.replace('+', '%2B')}"
        print(f"open {page} in a browser", flush=True)
    else:
        recording.spawn()


def _parser() -> argparse.ArgumentParser:
    parser = common_parser("rerun", __doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--save", dest="file", type=Path, metavar="FILE", help="write a .rrd file, every answer of it")
    where.add_argument(
        "--connect", default="", metavar="URL", help="of a viewer that runs, as rerun+http://host:9876/proxy"
    )
    where.add_argument(
        "--serve",
        type=int,
        nargs="?",
        default=0,
        const=9090,
        metavar="PORT",
        help="serve a page for browsers of this machine on this port, and the data on the next one (default: 9090); "
        "Rerun listens on all of its addresses",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    return run_viewer(_parser(), lambda chosen: open_rerun(chosen.file, chosen.connect, chosen.serve), argv)


if __name__ == "__main__":
    sys.exit(main())
