"""The node: sensor messages in, semantic occupancy out."""

import logging
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ..core.contract import ModelContract
from ..core.errors import BackendError, InvalidFrameError, OccFusionError
from ..core.frames import OccupancyGrid, SensorFrame
from .calibration import Calibration, calibration_from_info
from .diagnostics import Diagnostics
from .frame_builder import FrameBuilder
from .frame_statistics import Statistics
from .headers import NS_PER_S, stamp_ns
from .inputs import Input
from .outputs import Outputs
from .parameters import NodeParameters, ParameterError, declare_parameters
from .ros_logging import RosLogHandler
from .running_clock import RunningClock
from .synchroniser import Match, Synchroniser
from .tf_buffer import make_transform_buffer
from .tf_tree import TransformError
from .worker import LatestWorker

NAME = "occfusion"
POLL_S = 0.02  # while a sweep waits for late images
CAUSES = {InvalidFrameError: "invalid sweep", TransformError: "transform", BackendError: "backend"}


class FramePipeline(Protocol):
    """What the node needs of `runtime.pipeline.Pipeline`."""

    contract: ModelContract
    backend_name: str

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        """Occupancy of one frame."""


class _Sweep(NamedTuple):
    """A sweep and the time of its arrival, `time.monotonic` seconds."""

    message: PointCloud2
    arrival_s: float


class OccFusionNode(Node):
    """Pairs sweeps with images, runs the pipeline on the newest and publishes what comes out.

    Callbacks only pair messages; everything that takes time happens on one worker thread with a slot of one.
    """

    def __init__(self, pipeline: FramePipeline | None = None, **node_arguments) -> None:
        """
        Args:
            pipeline: what computes occupancy; None loads the model that the parameters name.
            node_arguments: passed on to `rclpy.node.Node`.
        """
        super().__init__(NAME, **node_arguments)
        self._closing = ExitStack()
        self._forward_logging()
        self._settings = declare_parameters(self)
        self._pipeline = pipeline or _load_pipeline(self._settings)
        self._check_camera_count()
        self.statistics = Statistics()
        self._calibrations: dict[str, Calibration] = {}
        self._uncalibrated: dict[str, deque] = {name: deque(maxlen=8) for name in self._settings.cameras}
        self._transforms = make_transform_buffer(self)
        self._clock_for_waiting = RunningClock(self.get_clock())
        self._frames = FrameBuilder(self._transforms, self._calibrations, self._clock_for_waiting.now_ns,
                                    self._report_fault)
        self._closing.callback(self._frames.close)
        self._outputs = Outputs(self, self._pipeline.contract)
        self._synchroniser = Synchroniser(
            self._settings.cameras, round(self._settings.camera_tolerance_s * NS_PER_S),
            round(self._settings.max_wait_s * NS_PER_S))
        self._worker = LatestWorker(self._work)
        self._closing.callback(self._worker.close)
        self._poll_timer = self.create_timer(POLL_S, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._poll_timer.cancel()
        self._subscribe()
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self.get_logger().info(f"ready: model {self._pipeline.contract.model_id} on {self._pipeline.backend_name}, "
                               f"waiting for {self.resolve_topic_name(self._settings.lidar_topic)}")

    @property
    def build_only(self) -> bool:
        """Whether the node was only started to have its engines built."""
        return self._settings.build_only

    def destroy_node(self) -> None:
        """Finish the frame in work and let go of everything."""
        self._closing.close()
        super().destroy_node()

    def _forward_logging(self) -> None:
        package_logger = logging.getLogger(__package__.partition(".")[0])
        handler = RosLogHandler(self.get_logger())
        package_logger.addHandler(handler)
        self._closing.callback(package_logger.removeHandler, handler)

    def _subscribe(self) -> None:
        parameters = self._settings
        subscribe = partial(Input, self, parameters=parameters)
        lidar = subscribe(PointCloud2, parameters.lidar_topic, self._on_cloud)
        cameras = []
        for name, (image_topic, info_topic) in parameters.camera_topics().items():
            kind = CompressedImage if parameters.is_compressed(image_topic) else Image
            cameras += [subscribe(kind, image_topic, partial(self._on_image, name)),
                        subscribe(CameraInfo, info_topic, partial(self._on_camera_info, name))]
        facts = {"model": self._pipeline.contract.model_id, "backend": self._pipeline.backend_name}
        self._diagnostics = Diagnostics(self, lidar, cameras, self._synchroniser, self.statistics, facts)

    def _on_cloud(self, message: PointCloud2) -> None:
        stamp, arrival = stamp_ns(message.header), time.monotonic()
        if stamp <= 0:
            self._report_fault("sweep without stamp")
        elif self._synchroniser.add_cloud(stamp, _Sweep(message, arrival), self._clock_for_waiting.now_ns()):
            self.get_logger().warning("time jumped back: starting over")
            self._transforms.clear()
        self._poll()
        if self._synchroniser.waiting:
            self._poll_timer.reset()

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        if camera not in self._calibrations:
            self._uncalibrated[camera].append(message)
        elif stamp_ns(message.header) <= 0:
            self._report_fault(f"image without stamp {camera}")
        else:
            self._synchroniser.add_image(camera, stamp_ns(message.header), message)
            self._poll()

    def _on_camera_info(self, camera: str, message: CameraInfo) -> None:
        try:
            self._calibrations[camera] = calibration_from_info(message, self._settings.images_rectified)
        except InvalidFrameError as error:
            self._calibrations.pop(camera, None)
            self._report_fault(f"calibration {camera}", error)
            return
        while self._uncalibrated[camera]:
            self._on_image(camera, self._uncalibrated[camera].popleft())

    def _poll(self) -> None:
        """Hand the newest sweep that is ready to the worker."""
        match = self._synchroniser.poll(self._clock_for_waiting.now_ns())
        if match and self._worker.submit(match):
            self._synchroniser.dropped["superseded"] += 1
        if not self._synchroniser.waiting:
            self._poll_timer.cancel()

    def _work(self, match: Match) -> None:
        """One frame, on the worker thread; whatever goes wrong, the next one gets its chance."""
        try:
            self._process(match)
        except OccFusionError as error:
            cause = next((name for kind, name in CAUSES.items() if isinstance(error, kind)), "other")
            self._report_fault(cause, error)
        except Exception as error:  # noqa: BLE001 - a bug in one frame must not end perception
            if self.context.ok():
                logging.getLogger(__name__).exception("unexpected error")
                self._report_fault("internal", error)

    def _process(self, match: Match) -> None:
        start = time.monotonic()
        images = {name: image for name, (_, image) in match.images.items()}
        frame = self._frames.build(match.cloud.message, images, match.missing, self._settings)
        built = time.monotonic()
        grid = self._pipeline(frame)
        computed = time.monotonic()
        self._outputs.publish(grid, self._settings)
        done = time.monotonic()
        self.statistics.add_published(1e3 * (done - match.cloud.arrival_s))
        self._outputs.publish_times({**grid.stage_ms, "convert": 1e3 * (built - start),
                                     "publish": 1e3 * (done - computed), "total": 1e3 * (done - start)})

    def _report_fault(self, cause: str, error: Exception | str = "") -> None:
        self.statistics.add_fault(cause, str(error))
        self.get_logger().warning(f"{cause}: {error}" if error else cause, throttle_duration_sec=1.0)

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """All changes or none."""
        known = {field.name for field in fields(NodeParameters)}
        try:
            self._settings = self._settings.changed({p.name: p.value for p in changes if p.name in known})
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _check_camera_count(self) -> None:
        limit = self._pipeline.contract.max_cameras
        if len(self._settings.cameras) > limit:
            raise ParameterError(f"cameras: model {self._pipeline.contract.model_id} takes at most {limit}, "
                                 f"got {list(self._settings.cameras)}")


def _load_pipeline(parameters: NodeParameters) -> FramePipeline:
    from ..runtime.backend import BackendSettings
    from ..runtime.pipeline import Pipeline

    settings = BackendSettings(parameters.threads, parameters.precision, Path(parameters.engine_cache).expanduser())
    return Pipeline.load(parameters.model, parameters.backend, parameters.refine, settings)
