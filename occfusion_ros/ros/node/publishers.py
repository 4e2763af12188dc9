"""Publishers of everything the node has to say about a frame.

What nobody subscribes to is not computed. The newest frame is latched: whoever comes late gets it.
"""

import threading
from collections.abc import Callable, Mapping

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from occfusion_msgs.msg import SemanticClasses

from ...core.frames import CameraImage, OccupancyGrid
from ...core.labels import SemanticClass
from ..conversions.legend import legend_message
from ..conversions.occupancy_grid import class_table
from ..conversions.planning import label_info
from ..conversions.stamps import header_from
from ..transforms.tree import TransformError
from .forms import Answer, Builder, Form, forms, installed, passable_of
from .parameters import NodeParameters

KEPT = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOOK_S = 0.2  # between looks for subscribers of an output that nobody listened to
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """The topics of all `forms`, ``~/classes``, ``~/legend`` and ``~/debug/processing_time_ms/<stage>``."""

    def __init__(
        self,
        node: Node,
        model_id: str,
        classes: tuple[SemanticClass, ...],
        parameters: NodeParameters,
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        """
        Args:
            node: on which topics are created.
            model_id, classes: what says what labels mean.
            parameters: of the node.
            on_fault: called with a cause and the error for each answer of which a form needs a pose that is not known.
        """
        self._node, self._classes, self._on_fault = node, classes, on_fault
        self._passable = passable_of(parameters, classes)
        self._forms: dict[Publisher, Form] = {
            node.create_publisher(form.kind, form.topic, KEPT): form for form in forms(parameters, self._passable)
        }
        self._builder = Builder()
        self._lock = threading.Lock()  # frames come from the worker, latecomers are looked for on the executor
        self._newest: Answer | None = None
        self._unpublished: set[Publisher] = set()  # outputs that the newest grid was not published on
        self._timer = node.create_timer(LOOK_S, self._serve_latecomers, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._times: dict[str, Publisher] = {}
        now_ns = node.get_clock().now().nanoseconds
        self._tables = [node.create_publisher(SemanticClasses, "~/classes", LATCHED)]
        self._tables[-1].publish(class_table(model_id, classes, now_ns))
        self._tables.append(node.create_publisher(Image, "~/legend", LATCHED))
        self._tables[-1].publish(legend_message(header_from(now_ns, ""), classes))
        if kinds := installed("vision_msgs.msg"):
            self._tables.append(node.create_publisher(kinds.LabelInfo, "~/labels", LATCHED))
            self._tables[-1].publish(label_info(kinds, header_from(now_ns, ""), classes))

    def close(self) -> None:
        """Take the topics away."""
        self._node.destroy_timer(self._timer)
        self._builder.close()
        for publisher in (*self._forms, *self._tables, *self._times.values()):
            self._node.destroy_publisher(publisher)

    def publish(
        self,
        grid: OccupancyGrid,
        cameras: tuple[CameraImage, ...],
        parameters: NodeParameters,
        pose: Callable[[], np.ndarray],
    ) -> None:
        """Publish one grid in all forms that are wanted; whoever comes later gets the others.

        Args:
            cameras: of the frame; their images are kept, not copied, until the next one.
            pose: gives (4, 4) from the grid to the fixed frame at its stamp, or raises TransformError.
        """
        with self._lock:
            self._newest = Answer(grid, parameters, self._classes, self._passable, cameras, pose)
            self._unpublished = set(self._forms)
            self._publish_wanted()

    def _serve_latecomers(self) -> None:
        """Publish the newest grid on outputs that found a subscriber meanwhile; the others are latched already."""
        if self._unpublished and self._lock.acquire(blocking=False):
            try:
                self._publish_wanted()
            finally:
                self._lock.release()

    def _publish_wanted(self) -> None:
        wanted = [each for each in self._forms if each in self._unpublished and each.get_subscription_count()]
        self._unpublished.difference_update(wanted)
        built = self._builder.build(self._newest, [self._forms[publisher] for publisher in wanted])
        for publisher, message_of in zip(wanted, built):
            try:
                if (message := message_of()) is not None:
                    publisher.publish(message)
            except TransformError as error:
                self._on_fault("costmap transform", error)

    def publish_times(self, stage_ms: Mapping[str, float]) -> None:
        """Publish the milliseconds that each stage of a frame took."""
        for stage, milliseconds in stage_ms.items():
            if stage not in self._times:
                topic = f"~/debug/processing_time_ms/{stage}"
                self._times[stage] = self._node.create_publisher(Float64, topic, LATCHED)  # the first is not lost
            self._times[stage].publish(Float64(data=milliseconds))
