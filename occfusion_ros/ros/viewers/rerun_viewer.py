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
        self._cameras: list[str] | None = None

    def write(self, scene: "Scene") -> None:
        """Log one scene at the sweep's stamp, and the layout of the windows where the cameras have changed."""
        import numpy as np

        rr, cameras = self._rr, sorted(scene.cameras)
        if cameras != self._cameras:
            self._cameras = cameras
            self.recording.send_blueprint(self._blueprint(cameras))
            self._log(GRID, rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            for one in scene.classes:
                self._log(f"counts/{one.name}", rr.SeriesLines(colors=one.rgb, names=one.name), static=True)
        self.recording.set_time("stamp", timestamp=np.datetime64(scene.grid.stamp_ns, "ns"))
        self._voxels(scene)
        self._log(f"{GRID}/sweep", rr.Points3D(scene.points[:, :3], colors=SWEEP_RGB, radii=-1.0))  # window points
        for name, view in scene.cameras.items():
            self._camera(f"{GRID}/cameras/{name}", view, scene)
        for name, value in scene.stage_ms.items():
            self._log(f"times_ms/{name}", rr.Scalars(value))
        for name, value in scene.counts().items():
            self._log(f"counts/{name}", rr.Scalars(value))
        self._log("counts/remembered", rr.Scalars(len(scene.grid.remembered)))
        levels = (rr.TextLogLevel.INFO, rr.TextLogLevel.WARN, rr.TextLogLevel.ERROR, rr.TextLogLevel.WARN)
        for status in scene.statuses:
            level = levels[min(status.level[0], 3)]
            self._log(f"diagnostics/{status.name}", rr.TextLog(f"{status.name}: {status.message}", level=level))

    def _log(self, entity: str, what: Any, static: bool = False) -> None:
        self.recording.log(entity, what, static=static)

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
            self._log(f"{GRID}/voxels/{one.name}", grid)
        hull = unknown_hull(scene.grid.labels, scene.grid.spec)
        self._log(f"{GRID}/unknown", self._rr.Points3D(hull, colors=UNKNOWN_RGB, radii=BLOCK * edge / 4))

    def _camera(self, entity: str, view: "CameraView", scene: "Scene") -> None:
        """Its place, its image, and the voxels as points on the image."""
        import numpy as np

        rr, calibration = self._rr, view.calibration
        if calibration is not None:
            pose, matrix = np.linalg.inv(view.camera_from_grid), calibration.intrinsics.copy()
            matrix[:2, 2] += PIXEL_CENTER
            height, width = calibration.size
            self._log(entity, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
            self._log(entity, rr.Pinhole(image_from_camera=matrix, resolution=(width, height)))
        self._log(f"{entity}/image", self._image(view.image))
        points = rr.Points2D(view.pixels + PIXEL_CENTER, colors=scene.colors[view.voxels], radii=-2.0)
        self._log(f"{entity}/voxels", points)

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

        views = [rrb.Spatial2DView(origin=f"{GRID}/cameras/{name}", name=name) for name in cameras]
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
def open_rerun(options: argparse.Namespace) -> Iterator[Write]:
    """Within it scenes are written to where the options say.

    Raises:
        ViewerError: Rerun is not installed, or its viewer cannot be opened or the file not written.
    """
    log = RerunLog()
    try:
        _connect(log.recording, options)
    except (OSError, RuntimeError) as error:
        raise ViewerError(f"Rerun cannot be opened: {error}") from error
    try:
        yield log.write
    finally:
        log.recording.flush(timeout_sec=10.0)
        log.recording.disconnect()


def _connect(recording: Any, options: argparse.Namespace) -> None:
    import rerun as rr

    if options.file:
        options.file.parent.mkdir(parents=True, exist_ok=True)
        recording.save(options.file)
        print(f"writing {options.file}; open it with: rerun {options.file}", flush=True)
    elif options.connect:
        recording.connect_grpc(options.connect)
    elif options.serve:
        url = recording.serve_grpc(grpc_port=options.serve + 1, server_memory_limit=SERVED_MEMORY)
        rr.serve_web_viewer(web_port=options.serve, open_browser=False)
        page = f"http://localhost:{options.serve}/?url={url.replace('+', '%2B')}"
        print(f"open {page} in a browser", flush=True)
    else:
        recording.spawn()


def _parser() -> argparse.ArgumentParser:
    parser = common_parser("rerun", __doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--save", dest="file", type=Path, metavar="FILE", help="write a .rrd file, every answer of it")
    where.add_argument("--connect", metavar="URL", help="of a viewer that runs, as rerun+http://host:9876/proxy")
    where.add_argument(
        "--serve",
        type=int,
        nargs="?",
        const=9090,
        metavar="PORT",
        help="serve a page for browsers on this port, and the data on the next one (default: 9090)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    return run_viewer(_parser(), open_rerun, argv)


if __name__ == "__main__":
    sys.exit(main())
