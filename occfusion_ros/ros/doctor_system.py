"""What the doctor finds out about a running system."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, PointCloud2

from .doctor_machine import FAIL, OK, WARN, Finding
from .headers import stamp_ns
from .parameters import NodeParameters
from .tf_buffer import make_transform_buffer
from .tf_tree import TransformError

POLL_S = 0.05
TRIES = 3  # of a call: an answer is lost when it comes before both sides have found each other
LEVELS = {b"\x00": OK, b"\x01": WARN}


class RunningSystem:
    """Looks at the node and its surroundings through a node that another thread spins."""

    def __init__(self, node: Node, name: str, timeout_s: float) -> None:
        """
        Args:
            node: to look through.
            name: full name of the node to look at.
            timeout_s: seconds to wait for each thing.
        """
        self._node, self._name, self._timeout_s = node, name, timeout_s
        self._transforms = make_transform_buffer(node)

    def parameters(self) -> NodeParameters | None:
        """Of the node; None where it does not answer.

        Raises:
            ParameterError: they do not fit together.
        """
        names = [parameter.name for parameter in fields(NodeParameters)]
        answer = self._call(GetParameters, "get_parameters", GetParameters.Request(names=names))
        if answer is None or len(answer.values) != len(names):
            return None
        return NodeParameters(**dict(zip(names, map(parameter_value_to_python, answer.values))))

    def check_node(self) -> Finding:
        """Whether the node is there and active."""
        answer = self._call(GetState, "get_state", GetState.Request())
        if answer is None:
            return Finding(FAIL, "node", f"no node {self._name} answers",
                           "start it (ros2 launch occfusion_ros occ.launch.py), give --node, or compare ROS_DOMAIN_ID")
        label = answer.current_state.label
        if label == "active":
            return Finding(OK, "node", f"{self._name} is active")
        next_step = "activate" if label == "inactive" else "configure"
        return Finding(FAIL, "node", f"{self._name} is {label}", f"ros2 lifecycle set {self._name} {next_step}")

    def check_topics(self, parameters: NodeParameters) -> Iterator[Finding]:
        """Whether somebody publishes what the node wants to hear."""
        wanted = [(parameters.lidar_topic, FAIL, "lidar_topic")]
        for image, info in parameters.camera_topics().values():
            wanted += [(image, WARN, "image_topics"), (info, WARN, "camera_info_topics")]
        self._wait(lambda: all(self._node.count_publishers(topic) for topic, *_ in wanted))
        for topic, level, parameter in wanted:
            if count := self._node.count_publishers(topic):
                yield Finding(OK, "topics", f"{topic}: publishers: {count}")
            else:
                yield Finding(level, "topics", f"nobody publishes {topic}",
                              f"start its driver, or correct the parameter {parameter}")

    def check_transforms(self, parameters: NodeParameters) -> Iterator[Finding]:
        """Whether sweeps and cameras can be placed, at the stamps of their messages."""
        infos = {camera: topic for camera, (_, topic) in parameters.camera_topics().items()}
        messages = self._messages({parameters.lidar_topic: PointCloud2, **dict.fromkeys(infos.values(), CameraInfo)})
        sweep = messages.get(parameters.lidar_topic)
        if sweep is None:
            yield Finding(FAIL, "transforms", f"no message on {parameters.lidar_topic}: not checked")
            return
        lidar = sweep.header.frame_id
        grid = parameters.grid_frame or lidar
        pairs = {(grid, lidar, stamp_ns(sweep.header)): "the sweeps"} if grid != lidar else {}
        for camera, topic in infos.items():
            if topic not in messages:
                yield Finding(WARN, "transforms", f"no message on {topic}: {camera} not checked")
                continue
            header, other = messages[topic].header, parameters.fixed_frame or grid
            pairs[header.frame_id, other, stamp_ns(header)] = camera
            if other != grid:
                pairs[other, grid, stamp_ns(sweep.header)] = "the grid"
        for (target, source, stamp), what in pairs.items():
            yield self._transform(target, source, stamp, what)

    def check_diagnostics(self) -> Iterator[Finding]:
        """What the node says about itself."""
        own = f"{self._name.rsplit('/', 1)[1]}: "
        received: list[DiagnosticArray] = []
        subscription = self._node.create_subscription(DiagnosticArray, "/diagnostics", received.append, 10)

        def states() -> list:
            return [status for message in received for status in message.status
                    if status.name.startswith(own) and status.hardware_id == self._name]
        found = self._wait(states)
        self._node.destroy_subscription(subscription)
        if not found:
            yield Finding(FAIL, "diagnostics", f"{self._name} publishes nothing on /diagnostics", "see its log")
        for status in found or ():
            yield Finding(LEVELS.get(status.level, FAIL), status.name.removeprefix(own), status.message)

    def _transform(self, target: str, source: str, stamp: int, what: str) -> Finding:
        errors: list[TransformError] = []

        def found() -> bool:
            try:
                self._transforms.lookup(target, source, stamp)
                return True
            except TransformError as error:
                errors.append(error)
                return False
        if self._wait(found):
            return Finding(OK, "transforms", f"{what}: {target} from {source}")
        return Finding(FAIL, "transforms", f"{what}: {target} from {source}: {errors[-1]}",
                       "publish that transform, or correct the frame names (grid_frame, fixed_frame, message headers)")

    def _messages(self, topics: dict[str, type]) -> dict[str, Any]:
        """A message of each topic that has one."""
        received: dict[str, Any] = {}
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # which any publisher serves
        subscriptions = [self._node.create_subscription(kind, topic, partial(received.__setitem__, topic), qos)
                         for topic, kind in topics.items()]
        self._wait(lambda: len(received) == len(topics))
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)
        return received

    def _call(self, kind: type, service: str, request: Any) -> Any:
        """What a service of the node answers, or None."""
        client = self._node.create_client(kind, f"{self._name}/{service}")
        if not self._wait(client.service_is_ready):
            return None
        for _ in range(TRIES):
            future = client.call_async(request)
            if self._wait(future.done):
                return future.result()
        return None

    def _wait(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives as soon as that is true, or when the time is up."""
        deadline = time.monotonic() + self._timeout_s
        while not (result := condition()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return result
