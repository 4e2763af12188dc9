"""Publishers of everything the node has to say about a frame.

What nobody subscribes to is not computed. The newest frame is latched: whoever comes late gets it.
"""

import threading
from collections.abc import Callable, Mapping

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses

from ...core.contract import ModelContract
from ...core.frames import OccupancyGrid
from ..conversions.coloring import coloring
from ..conversions.markers import marker_bytes
from ..conversions.occupancy_grid import class_table, occupancy_bytes
from ..conversions.occupied_voxels import OccupiedVoxels
from ..conversions.stamps import header_from
from ..conversions.voxel_cloud import cloud_bytes, unknown_bytes
from .parameters import NodeParameters

KEPT = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
LOOK_S = 0.2  # between looks for subscribers of an output that nobody listened to
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """Topics ``~/occupancy``, ``~/markers``, ``~/points``, ``~/unknown``, ``~/classes`` and
    ``~/debug/processing_time_ms/<stage>``."""

    def __init__(self, node: Node, contract: ModelContract) -> None:
        self._node, self._classes = node, contract.classes
        self._occupancy = node.create_publisher(OccupancyGrid3D, "~/occupancy", KEPT)
        self._markers = node.create_publisher(MarkerArray, "~/markers", KEPT)
        self._points = node.create_publisher(PointCloud2, "~/points", KEPT)
        self._unknown = node.create_publisher(PointCloud2, "~/unknown", KEPT)
        self._forms = {self._occupancy, self._markers, self._points, self._unknown}
        self._lock = threading.Lock()  # frames come from the worker, latecomers are looked for on the executor
        self._newest: tuple[OccupancyGrid, NodeParameters] | None = None
        self._unpublished: set[Publisher] = set()  # outputs that the newest grid was not published on
        self._timer = node.create_timer(LOOK_S, self._serve_latecomers, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._times: dict[str, Publisher] = {}
        self._table = node.create_publisher(SemanticClasses, "~/classes", LATCHED)
        self._table.publish(class_table(contract.model_id, contract.classes, node.get_clock().now().nanoseconds))

    def close(self) -> None:
        """Take the topics away."""
        self._node.destroy_timer(self._timer)
        for publisher in (*self._forms, self._table, *self._times.values()):
            self._node.destroy_publisher(publisher)

    def publish(self, grid: OccupancyGrid, parameters: NodeParameters) -> None:
        """Publish one grid in all forms that are wanted; whoever comes later gets the others."""
        with self._lock:
            self._newest = grid, parameters
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
        wanted = {publisher for publisher in self._unpublished if publisher.get_subscription_count()}
        if not wanted:
            return
        self._unpublished -= wanted
        grid, parameters = self._newest
        header, voxels = header_from(grid.stamp_ns, grid.frame_id), OccupiedVoxels.of(grid.labels, grid.spec)
        colors = coloring(parameters.color_by, grid, self._classes)
        forms: dict[Publisher, Callable[[], bytes]] = {
            self._occupancy: lambda: occupancy_bytes(grid, voxels, parameters.dense, parameters.confidence),
            self._markers: lambda: marker_bytes(
                header, voxels, self._classes, parameters.max_markers, parameters.marker_lifetime_s, colors
            ),
            self._points: lambda: cloud_bytes(header, voxels, self._classes, colors),
            self._unknown: lambda: unknown_bytes(header, grid.labels, grid.spec),
        }
        for publisher in forms.keys() & wanted:
            publisher.publish(forms[publisher]())

    def publish_times(self, stage_ms: Mapping[str, float]) -> None:
        """Publish the milliseconds that each stage of a frame took."""
        for stage, milliseconds in stage_ms.items():
            if stage not in self._times:
                topic = f"~/debug/processing_time_ms/{stage}"
                self._times[stage] = self._node.create_publisher(Float64, topic, LATCHED)  # the first is not lost
            self._times[stage].publish(Float64(data=milliseconds))
