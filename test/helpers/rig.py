"""A running node with a pipeline that can be checked by hand, and publishers and subscribers around it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from helpers.ros_messages import camera_info, compressed
from occfusion_msgs.msg import OccupancyGrid3D
from occfusion_ros.core.errors import BackendError
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.node.lifecycle_node import OccFusionNode

S = 1_000_000_000
MS = 1_000_000
NOW = 1_700_000_000 * S + 123
POINTS = np.array([[0.5, 0.1, 0.1, 0.5], [1.1, -2.1, 0.5, 1], [5, 6, 1, 0]])
SCENE = np.full((48, 64, 3), (200, 100, 50), np.uint8)
RIGHT = (0.0, 0.0, -np.sqrt(0.5), np.sqrt(0.5))  # a quarter turn clockwise seen from above
OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # z forward, x right, y down in a frame with x forward, z up

SPEC = GridSpec((-6.4, -6.4, -1.6), 0.2, (64, 64, 16))
DEADLINE_S = 30.0
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
NO_TURN = (0.0, 0.0, 0.0, 1.0)


@dataclass
class VoxelPipeline:
    """Labels the voxels that hold a point 1 + the number of cameras; keeps every frame of a sweep it was given.

    Attributes:
        gate: frames wait here while it is cleared.
        failures: errors to raise, one per frame, before it works again.
    """

    frames: list[SensorFrame] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    backend_name = "voxels"
    contract = SimpleNamespace(model_id="voxel-test", classes=OPENOCCUPANCY_CLASSES, max_cameras=6, grid=SPEC)

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        if not frame.stamp_ns:  # the one that warms up
            return self._grid(frame)
        self.frames.append(frame)
        if not self.gate.wait(DEADLINE_S):
            raise BackendError("the gate was never opened")
        if self.failures:
            raise self.failures.pop(0)
        return self._grid(frame)

    def _grid(self, frame: SensorFrame) -> OccupancyGrid:
        indices, inside = SPEC.indices(frame.points[:, :3])
        labels = np.zeros(SPEC.size, np.uint8)
        labels[tuple(indices[inside].T)] = 1 + len(frame.cameras)
        return OccupancyGrid(
            SPEC,
            labels,
            frame.stamp_ns,
            frame.frame_id,
            tuple(c.name for c in frame.cameras),
            "voxel-test",
            {"voxelize": 1.5},
        )


class Rig:
    """The node under test and a node that plays the rest of the vehicle, served by one executor in this thread."""

    def __init__(
        self,
        pipeline: VoxelPipeline | None = None,
        real: bool = False,
        remaps: Sequence[str] = (),
        namespace: str = "",
        **parameters: Any,
    ) -> None:
        """`real`: the model that the parameters name is used. `remaps`: such as /from:=/to."""
        self.pipeline = pipeline or VoxelPipeline()
        values = {"cameras": [""], "max_wait_s": 0.2, "intensity_max": 1.0, **parameters}
        arguments = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
        self.node = OccFusionNode(
            None if real else self.pipeline,
            namespace=namespace,
            cli_args=arguments,
            parameter_overrides=[Parameter(k, value=v) for k, v in values.items()],
        )
        self.vehicle = Node("vehicle")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._executor.add_node(self.vehicle)
        self._publishers: dict[str, Any] = {}
        self.diagnostics: list[DiagnosticArray] = self.listen(DiagnosticArray, "/diagnostics")
        self.occupancy: list[OccupancyGrid3D] = []
        if self.node.autostart:
            self.start()

    def start(self) -> None:
        """Configure and activate the node, and listen to it."""
        assert self.node.start(), self.node.failure
        self.listen_to_occupancy()

    def listen_to_occupancy(self) -> None:
        """Keep what the node publishes from now on."""
        self.occupancy = self.listen(OccupancyGrid3D, f"{self.node.get_fully_qualified_name()}/occupancy")

    def close(self) -> None:
        self.pipeline.gate.set()
        self._executor.shutdown()
        self.node.destroy_node()
        self.vehicle.destroy_node()

    def listen(self, kind: type, topic: str, qos: Any = 10) -> list:
        """Subscribe to an output of the node; what comes is appended to the list."""
        received: list = []
        self.vehicle.create_subscription(kind, topic, received.append, qos)
        self.wait(lambda: self.vehicle.count_publishers(topic), f"a publisher of {topic}")
        return received

    def send(self, topic: str, message: Any, qos: Any = 10) -> None:
        """Publish to the node, once it listens."""
        if topic not in self._publishers:
            self._publishers[topic] = self.vehicle.create_publisher(type(message), topic, qos)
        publisher = self._publishers[topic]
        self.wait(publisher.get_subscription_count, f"a subscriber of {topic}")
        publisher.publish(message)

    def send_transform(self, parent: str, child: str, shift=(0.0, 0.0, 0.0), turn=NO_TURN, stamp_ns: int = 0) -> None:
        """Publish ``parent_from_child``: static unless it has a stamp."""
        transform = Transform(
            translation=Vector3(x=shift[0], y=shift[1], z=shift[2]),
            rotation=Quaternion(x=turn[0], y=turn[1], z=turn[2], w=turn[3]),
        )
        stamped = TransformStamped(header=header_from(stamp_ns, parent), child_frame_id=child, transform=transform)
        topic, qos = ("/tf", 10) if stamp_ns else ("/tf_static", LATCHED)
        self.send(topic, TFMessage(transforms=[stamped]), qos)

    def wait(self, condition, what: str, seconds: float = DEADLINE_S) -> None:
        """Serve callbacks until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited {seconds:g} s for {what}; faults: {self.faults()}; {self.diagnostics[-1:]}"
            )
            self._executor.spin_once(timeout_sec=0.02)

    def wait_for_occupancy(self, count: int) -> OccupancyGrid3D:
        """The last of `count` occupancy messages."""
        self.wait(lambda: len(self.occupancy) >= count, f"{count} occupancy messages")
        assert len(self.occupancy) == count
        return self.occupancy[-1]

    def faults(self) -> dict[str, int]:
        return dict(self.node.statistics.faults)

    def wait_for_fault(self, cause: str, count: int = 1) -> None:
        self.wait(lambda: self.faults().get(cause, 0) >= count, f"fault {cause!r}")

    def dropped(self) -> dict[str, int]:
        """Sweeps that were not released, by cause."""
        return self.node._perception._synchronizer.dropped

    def status(self, task: str) -> DiagnosticStatus:
        """The newest state of one task."""
        return next(s for s in self.diagnostics[-1].status if s.name == f"occfusion: {task}")

    def wait_for_status(self, task: str, level: bytes, text: str = "") -> DiagnosticStatus:
        """The next state of a task that has this level and text."""
        self.diagnostics.clear()

        def found() -> list[DiagnosticStatus]:
            states = [s for message in self.diagnostics for s in message.status if s.name == f"occfusion: {task}"]
            return [state for state in states if state.level == level and text in state.message]

        self.wait(found, f"{task}: {level} {text!r}")
        return found()[0]


def values(state: DiagnosticStatus) -> dict[str, str]:
    return {entry.key: entry.value for entry in state.values}


def send_camera(rig: Rig, message=None, stamp=NOW, info=None) -> None:
    rig.send("/cam_front/camera_info", camera_info() if info is None else info)
    rig.send("/cam_front/image_rect_compressed", compressed(SCENE, stamp_ns=stamp) if message is None else message)
