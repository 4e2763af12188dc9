"""Publishers of everything the node has to say about a frame; what nobody subscribes to is not computed."""

from collections.abc import Callable, Mapping

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64
from visualization_msgs.msg import MarkerArray

from ..core.contract import ModelContract
from ..core.frames import OccupancyGrid
from .headers import header_from
from .markers import marker_bytes
from .occupancy_message import class_table, occupancy_bytes
from .parameters import NodeParameters
from .voxel_cloud import cloud_bytes
from .voxels import OccupiedVoxels

DEPTH = 5
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Outputs:
    """Topics ``~/occupancy``, ``~/markers``, ``~/points``, ``~/classes`` and ``~/debug/processing_time_ms/<stage>``."""

    def __init__(self, node: Node, contract: ModelContract) -> None:
        self._node, self._classes = node, contract.classes
        self._occupancy = node.create_publisher(OccupancyGrid3D, "~/occupancy", DEPTH)
        self._markers = node.create_publisher(MarkerArray, "~/markers", DEPTH)
        self._points = node.create_publisher(PointCloud2, "~/points", DEPTH)
        self._times: dict[str, Publisher] = {}
        self._table = node.create_publisher(SemanticClasses, "~/classes", LATCHED)
        self._table.publish(class_table(contract.model_id, contract.classes, node.get_clock().now().nanoseconds))

    def close(self) -> None:
        """Take the topics away."""
        for publisher in (self._occupancy, self._markers, self._points, self._table, *self._times.values()):
            self._node.destroy_publisher(publisher)

    def publish(self, grid: OccupancyGrid, parameters: NodeParameters) -> None:
        """Publish one grid in all forms that are wanted."""
        header = header_from(grid.stamp_ns, grid.frame_id)
        forms: dict[Publisher, Callable[[OccupiedVoxels], bytes]] = {
            self._occupancy: lambda voxels: occupancy_bytes(grid, voxels, parameters.dense),
            self._markers: lambda voxels: marker_bytes(header, voxels, self._classes, parameters.max_markers,
                                                       parameters.marker_lifetime_s),
            self._points: lambda voxels: cloud_bytes(header, voxels, self._classes),
        }
        wanted = [publisher for publisher in forms if publisher.get_subscription_count()]
        voxels = OccupiedVoxels.of(grid.labels, grid.spec) if wanted else None
        for publisher in wanted:
            publisher.publish(forms[publisher](voxels))

    def publish_times(self, stage_ms: Mapping[str, float]) -> None:
        """Publish the milliseconds that each stage of a frame took."""
        for stage, milliseconds in stage_ms.items():
            if stage not in self._times:
                topic = f"~/debug/processing_time_ms/{stage}"
                self._times[stage] = self._node.create_publisher(Float64, topic, LATCHED)  # the first is not lost
            self._times[stage].publish(Float64(data=milliseconds))
