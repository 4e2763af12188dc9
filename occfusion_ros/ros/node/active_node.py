"""What the active node does: pair messages, run the pipeline on the newest sweep, publish what comes out."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ...core.errors import BackendError, InvalidFrameError, OccFusionError
from ...core.frames import ImageMask
from ...core.relabeling import Relabeling
from ..conversions.camera_info import Calibration, calibration_from_info
from ..conversions.stamps import NS_PER_S, stamp_ns
from ..health.camera_geometry import CameraGeometry
from ..health.diagnostics import TaskStatus
from ..health.fault_log import FaultLog
from ..health.stamp_gaps import StampGaps
from ..health.statistics import Statistics
from ..transforms.buffer import make_transform_buffer
from ..transforms.tree import TransformError
from .component_health import TransformHealth, model_health
from .frame_builder import FrameBuilder
from .frame_health import FrameHealth, latency_health
from .frame_memory import FrameMemory
from .input_health import InputHealth
from .memory_services import MemoryServices
from .parameters import NodeParameters
from .past_sweeps import PastSweeps
from .publishers import Outputs
from .running_clock import RunningClock
from .subscriptions import Input
from .synchronizer import Match, Synchronizer
from .watchdog import FramePipeline, WatchedPipeline
from .worker import LatestWorker

POLL_S = 0.02  # while a sweep waits for late images
CAUSES = {InvalidFrameError: "invalid sweep", TransformError: "transform", BackendError: "backend"}


class _Sweep(NamedTuple):
    """A sweep and the time of its arrival, `time.monotonic` seconds."""

    message: PointCloud2
    arrival_s: float


class ActiveNode:
    """Everything that lives while the node is active.

    Callbacks only pair messages; everything that takes time happens on one worker thread with a slot of one.

    Attributes:
        settings: the parameters.
        tasks: what there is to report about it, by name.
        stopped: whether no more frames are computed, because the backend failed.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeParameters,
        pipeline: WatchedPipeline,
        statistics: Statistics,
        load_other: Callable[[str], FramePipeline],
        on_stop: Callable[[str], None],
        masks: Mapping[str, ImageMask],
        relabeling: Relabeling,
    ) -> None:
        """
        Args:
            node: whose topics and clock are used.
            pipeline: what computes occupancy.
            statistics: where frames and faults are counted.
            load_other: gives a pipeline on another backend than the named one.
            on_stop: called with the reason, from the worker thread, when no more frames can be computed.
            masks: by camera, what is hidden from it.
            relabeling: what is done to the labels of each answer.
        """
        self.settings, self._node, self._pipeline, self._statistics = settings, node, pipeline, statistics
        self._load_other, self._on_stop, self.stopped = load_other, on_stop, False
        self._calibrations: dict[str, Calibration] = {}
        self._uncalibrated: dict[str, deque] = {name: deque(maxlen=8) for name in settings.cameras}
        self._geometry = CameraGeometry(self._calibrations, node.get_logger().warning)
        self._masks, self._relabeling, self._inputs = masks, relabeling, []
        self._clock, self._fault_log = RunningClock(node.get_clock()), FaultLog(node.get_logger())
        self._gaps = StampGaps(lambda: self.settings.camera_tolerance_s, node.get_logger().warning)
        others = map(_key, settings.clouds[1:])
        self._synchronizer = Synchronizer((*settings.cameras, *others), *_pairing_times_ns(settings))
        self._synchronizer.by_rhythm = settings.release == "rhythm"
        with ExitStack() as self._closing:
            self._open()
            self._closing = self._closing.pop_all()
        self._image_topics = {
            name: node.resolve_topic_name(image) for name, (image, _) in settings.camera_topics().items()
        }

    def _open(self) -> None:
        """Start threads and topics; what they hold is let go of by `close`."""
        own = self._own
        self._transforms = own(make_transform_buffer(self._node))
        model_id, classes = self._pipeline.contract.model_id, self._relabeling.classes
        self._outputs = own(Outputs(self._node, model_id, classes, self.settings, self._report_fault))
        self._frames = own(
            FrameBuilder(
                self._transforms,
                self._calibrations,
                self._masks,
                self._clock.now_ns,
                self._report_fault,
                self._node.get_logger().info,
            )
        )
        pose = self._frames.fixed_from_grid
        self._past = PastSweeps(self._pipeline.contract, self.settings, pose, self._report_fault)
        self._memory = own(FrameMemory(self._pipeline.contract, self.settings, pose, self._report_fault))
        own(MemoryServices(self._node, self._memory, lambda: self.settings))
        self._worker = own(LatestWorker(self._work))
        self._poll_timer = self._node.create_timer(POLL_S, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._poll_timer.cancel()
        self._closing.callback(self._node.destroy_timer, self._poll_timer)
        backward = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        jumps = self._node.get_clock().create_jump_callback(backward, post_callback=self._on_jump)
        self._closing.callback(jumps.unregister)
        self.tasks = self._subscribe()

    def change(self, settings: NodeParameters) -> None:
        """Take over parameters that may change at any time; they hold from the next frame on."""
        self.settings = settings
        self._synchronizer.tolerance_ns, self._synchronizer.max_wait_ns = _pairing_times_ns(settings)
        self._synchronizer.by_rhythm = settings.release == "rhythm"

    def close(self) -> None:
        """Finish the frame in work, but not the loading of another backend; let go of everything but the pipeline."""
        self.stopped = True
        self._pipeline.abandon()
        self._closing.close()

    def _own(self, thing: Any) -> Any:
        """Have something closed with this."""
        self._closing.callback(thing.close)
        return thing

    def _subscribe(self) -> dict[str, Callable[[], TaskStatus]]:
        """Listen to the sensors; returns what there is to report."""
        settings, now_ns = self.settings, self._clock.now_ns
        callbacks = [self._on_cloud, *(partial(self._on_other_cloud, topic) for topic in settings.clouds[1:])]
        lidar, *others = [
            self._own(
                Input(
                    self._node, PointCloud2, topic, callback, settings.lidar_reliability, settings.lidar_depth, now_ns
                )
            )
            for topic, callback in zip(settings.clouds, callbacks)
        ]
        cameras = []
        for name, (image_topic, info_topic) in settings.camera_topics().items():
            kind = CompressedImage if settings.is_compressed(image_topic) else Image
            for what, topic, callback in (
                (kind, image_topic, self._on_image),
                (CameraInfo, info_topic, self._on_camera_info),
            ):
                cameras.append(
                    self._own(
                        Input(
                            self._node,
                            what,
                            topic,
                            partial(callback, name),
                            settings.camera_reliability,
                            settings.camera_depth,
                            now_ns,
                            latched=what is CameraInfo,
                        )
                    )
                )
        self._inputs = [lidar, *others, *cameras]
        return {
            "inputs": InputHealth(self._node, lidar, [*others, *cameras]),
            "frames": FrameHealth(
                lidar,
                self._synchronizer,
                self._statistics,
                self._gaps,
                lambda: self.settings.min_output_rate_hz,
                lambda: self._frames.deskew,
            ),
            "latency": lambda: latency_health(self._statistics, self.settings.latency_budget_ms),
            "transforms": TransformHealth(self._statistics, self._transforms),
            "model": partial(model_health, self._pipeline, self._relabeling.classes),
            "remembered": self._memory.health,
            "past sweeps": self._past.health,
            **({"cameras": self._geometry} if settings.cameras else {}),
        }

    def _on_cloud(self, message: PointCloud2) -> None:
        stamp, arrival = stamp_ns(message.header), time.monotonic()
        if stamp <= 0:
            self._report_fault("sweep without stamp")
        elif self._synchronizer.add_cloud(stamp, _Sweep(message, arrival), self._clock.now_ns()):
            self._node.get_logger().warning("time jumped back: starting over")
            for part in (self._frames, self._past, self._memory):
                part.start_over()
        self._poll()
        if self._synchronizer.waiting:
            self._poll_timer.reset()

    def _on_other_cloud(self, topic: str, message: PointCloud2) -> None:
        """A cloud that joins another LiDAR's sweep, as an image does."""
        if stamp_ns(message.header) <= 0:
            self._report_fault(f"cloud without stamp {topic}")
            return
        self._synchronizer.add_image(_key(topic), stamp_ns(message.header), message)
        self._poll()

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        if camera not in self._calibrations:
            waiting = self._uncalibrated[camera]
            if len(waiting) == waiting.maxlen:
                self._report_fault(f"image without calibration {camera}")
            waiting.append(message)
        elif stamp_ns(message.header) <= 0:
            self._report_fault(f"image without stamp {camera}")
        else:
            self._synchronizer.add_image(camera, stamp_ns(message.header), message)
            self._poll()

    def _on_camera_info(self, camera: str, message: CameraInfo) -> None:
        try:
            calibration = calibration_from_info(message, self.settings.images_rectified, self._image_topics[camera])
        except InvalidFrameError as error:
            self._calibrations.pop(camera, None)
            self._report_fault(f"calibration {camera}", error)
            return
        if camera not in self._calibrations:
            self._node.get_logger().info(f"{camera}: images are {calibration.taken}")
        self._calibrations[camera] = calibration
        while self._uncalibrated[camera]:
            self._on_image(camera, self._uncalibrated[camera].popleft())

    def _on_jump(self, jump: Any) -> None:
        """The node's clock was set back, as at each round of a bag that loops."""
        self._node.get_logger().warning("time jumped back: starting over", throttle_duration_sec=10.0)
        for match in self._synchronizer.set_back():
            self._synchronizer.dropped["superseded"] += self._worker.submit(match)
        for part in (self._frames, self._past, self._memory, *self._inputs):
            part.start_over()

    def _poll(self) -> None:
        """Hand the sweeps that are ready to the worker, which drops the oldest when it cannot keep up."""
        for match in self._synchronizer.poll(self._clock.now_ns()):
            self._gaps.observe(match.stamp_ns, match.nearest_ns)
            if self._worker.submit(match):
                self._synchronizer.dropped["superseded"] += 1
                self._node.get_logger().info(
                    "sweeps come faster than they can be computed: the newest one is taken", once=True
                )
        if not self._synchronizer.waiting:
            self._poll_timer.cancel()

    def _work(self, match: Match) -> None:
        """One frame, on the worker thread; whatever goes wrong, the next one gets its chance."""
        if self.stopped:
            return
        try:
            self._process(match)
        except OccFusionError as error:
            cause = next((name for kind, name in CAUSES.items() if isinstance(error, kind)), "other")
            self._report_fault(cause, error)
            if isinstance(error, BackendError):
                self._recover(str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one frame must not end perception
            if self._node.context.ok():
                logging.getLogger(__name__).exception("unexpected error")
                self._report_fault("internal", error)

    def _process(self, match: Match) -> None:
        start, settings = time.monotonic(), self.settings
        found = {name: item for name, (_, item) in match.images.items()}
        clouds = {topic: found.pop(_key(topic)) for topic in settings.clouds[1:] if _key(topic) in found}
        frame = self._frames.build({settings.clouds[0]: match.cloud.message, **clouds}, found, settings)
        self._geometry.observe(frame)
        frame = self._past(frame, settings)
        built = time.monotonic()
        self._pipeline.ask_for(settings.asks_for_confidence, settings.doubt)
        grid = self._relabeling(self._memory(self._pipeline(frame, settings.backend_timeout_s), frame, settings))
        computed = time.monotonic()
        self._outputs.publish(grid, frame.cameras, settings, partial(self._frames.fixed_from_grid, frame, settings))
        done = time.monotonic()
        self._statistics.add_published(1e3 * (done - match.cloud.arrival_s))
        self._outputs.publish_times(
            {
                **grid.stage_ms,
                "convert": 1e3 * (built - start),
                "publish": 1e3 * (done - computed),
                "total": 1e3 * (done - start),
            }
        )

    def _recover(self, reason: str) -> None:
        """Fall back to another backend, once and if it is wanted; else stop."""
        if self.settings.on_backend_failure == "fall_back" and not self._pipeline.fell_back:
            self._node.get_logger().error(f"{reason}; falling back to another backend")
            try:
                self._pipeline.fall_back(reason, self._load_other, self.settings.load_timeout_s)
                self._node.get_logger().warning(f"fell back to {self._pipeline.backend_name}")
                return
            except OccFusionError as error:
                reason = f"{reason}; {error}"
        if self.stopped:  # deactivated meanwhile
            return
        self.stopped = True
        self._on_stop(reason)

    def _report_fault(self, cause: str, error: Exception | str = "") -> None:
        self._statistics.add_fault(cause, str(error))
        self._fault_log(cause, str(error))


def _key(topic: str) -> str:
    """What the synchronizer knows a cloud by that joins another one; no camera is called so."""
    return f"cloud {topic}"


def _pairing_times_ns(settings: NodeParameters) -> tuple[int, int]:
    """Tolerance and longest wait."""
    return round(settings.camera_tolerance_s * NS_PER_S), round(settings.max_wait_s * NS_PER_S)
