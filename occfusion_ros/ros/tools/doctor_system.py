"""What the doctor finds out about a running system."""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from ..conversions.stamps import stamp_ns
from ..node.parameters import NodeParameters
from ..node.topic_types import other_types, type_name
from ..startup.names import full_name
from ..transforms.buffer import make_transform_buffer
from ..transforms.tree import TransformError
from .doctor_machine import FAIL, OK, WARN, Finding

POLL_S = 0.05
TRIES = 3  # of a call: an answer is lost when it comes before both sides have found each other
LEVELS = {b"\x00": OK, b"\x01": WARN}


class _Source(NamedTuple):
    """A topic that the node listens to: its type, how bad its lack is, and the parameter that names it."""

    topic: str
    kind: type
    level: str
    parameter: str


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
        self._states: list[DiagnosticStatus] | None = None

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
            return self._unanswered()
        label = answer.current_state.label
        if label == "active":
            return Finding(OK, "node", f"{self._name} is active")
        next_step = "activate" if label == "inactive" else "configure"
        return Finding(FAIL, "node", f"{self._name} is {label}", f"ros2 lifecycle set {self._name} {next_step}")

    def check_clock(self) -> Iterator[Finding]:
        """Whether simulated time runs where it is wanted."""
        answer = self._call(GetParameters, "get_parameters", GetParameters.Request(names=["use_sim_time"]))
        if answer is not None and answer.values and answer.values[0].bool_value:
            if not self._wait(lambda: self._node.count_publishers("/clock")):
                yield Finding(
                    FAIL,
                    "clock",
                    f"{self._name} uses simulated time and nobody publishes /clock",
                    "play the bag with its clock (ros2 bag play --clock), or set use_sim_time to false",
                )
                return
        yield Finding(OK, "clock", "as it should be")

    def check_topics(self, parameters: NodeParameters) -> Iterator[Finding]:
        """Whether somebody publishes what the node wants to hear, in the type that it wants."""
        wanted = self._inputs(parameters)
        self._wait(lambda: all(self._node.count_publishers(source.topic) for source in wanted))
        for topic, kind, level, parameter in wanted:
            types = [info.topic_type for info in self._node.get_publishers_info_by_topic(topic)]
            if wrong := other_types(type_name(kind), set(types)):
                text, _, advice = wrong.partition(": ")
                yield Finding(level, "topics", f"{topic}: {text}", advice)
            elif types:
                yield Finding(OK, "topics", f"{topic}: publishers: {len(types)}")
            else:
                yield Finding(
                    level,
                    "topics",
                    f"nobody publishes {topic}",
                    f"start its driver, or correct the parameter {parameter}",
                )

    def check_transforms(self, parameters: NodeParameters) -> Iterator[Finding]:
        """Whether sweeps and cameras can be placed, at the stamps of their messages."""
        sources = self._inputs(parameters)
        anchor, *joining = [source.topic for source in sources if source.kind is PointCloud2]
        infos = dict(zip(parameters.cameras, (source.topic for source in sources if source.kind is CameraInfo)))
        messages = self._messages(
            {source.topic: source.kind for source in sources if source.kind in (PointCloud2, CameraInfo)}
        )
        sweep = messages.get(anchor)
        if sweep is None:
            yield Finding(FAIL, "transforms", f"no message on {anchor}: not checked")
            return
        lidar = sweep.header.frame_id
        grid = parameters.grid_frame or lidar
        pairs = {(grid, lidar, stamp_ns(sweep.header)): "the sweeps"} if grid != lidar else {}
        for sensor, topic in {**{topic: topic for topic in joining}, **infos}.items():
            if topic not in messages:
                yield Finding(WARN, "transforms", f"no message on {topic}: {sensor} not checked")
                continue
            header, other = messages[topic].header, parameters.fixed_frame or grid
            pairs[header.frame_id, other, stamp_ns(header)] = sensor
            if other != grid:
                pairs[other, grid, stamp_ns(sweep.header)] = "the grid"
        for (target, source, stamp), what in pairs.items():
            yield self._transform(target, source, stamp, what)

    def check_diagnostics(self) -> Iterator[Finding]:
        """What the node says about itself."""
        if not self._said():
            yield Finding(FAIL, "diagnostics", f"{self._name} publishes nothing on /diagnostics", "see its log")
        for status in self._said():
            yield Finding(LEVELS.get(status.level, FAIL), self._task(status), status.message)

    def _said(self) -> list[DiagnosticStatus]:
        """The node's states on /diagnostics; empty where it says nothing."""
        if self._states is None:
            received: list[DiagnosticArray] = []
            subscription = self._node.create_subscription(DiagnosticArray, "/diagnostics", received.append, 10)
            self._states = self._wait(
                lambda: [
                    status
                    for message in received
                    for status in message.status
                    if status.hardware_id == self._name and self._task(status)
                ]
            )
            self._node.destroy_subscription(subscription)
        return self._states

    def _task(self, status: DiagnosticStatus) -> str:
        """What a state of the node is about; empty where it is not the node's."""
        own = f"{self._name.rsplit('/', 1)[1]}: "
        return status.name.removeprefix(own) if status.name.startswith(own) else ""

    def _inputs(self, parameters: NodeParameters) -> list[_Source]:
        """The topics that the node listens to, the LiDAR's first, by the names that it sees after remaps."""
        parameter = "lidar_topics" if parameters.lidar_topics else "lidar_topic"
        anchor, *joining = parameters.clouds
        sources = [
            _Source(anchor, PointCloud2, FAIL, parameter),
            *(_Source(topic, PointCloud2, WARN, parameter) for topic in joining),
        ]
        for image, info in parameters.camera_topics().values():
            kind = CompressedImage if parameters.is_compressed(image) else Image
            sources += [
                _Source(image, kind, WARN, "image_topics"),
                _Source(info, CameraInfo, WARN, "camera_info_topics"),
            ]
        # An active node lists its inputs in this order, remapped; otherwise there is its namespace to go by.
        listed = next(
            ([entry.key for entry in status.values] for status in self._said() if self._task(status) == "inputs"), []
        )
        names = listed if len(listed) == len(sources) else [full_name(s.topic, self._name) for s in sources]
        return [source._replace(topic=name) for source, name in zip(sources, names)]

    def _unanswered(self) -> Finding:
        """Why the node does not answer: it is not there, or it is seen and nothing gets through."""
        announced = dict(self._node.get_service_names_and_types())
        if f"{self._name}/get_state" in announced:
            return Finding(
                FAIL,
                "node",
                f"{self._name} is announced, but nothing of it gets through",
                "in containers, or as different users, on one machine the middleware takes to shared memory "
                "that they do not share: give all containers --ipc=host and one user, or a profile without "
                "shared memory; if neither is the case, the node hangs: see its log",
            )
        return Finding(
            FAIL,
            "node",
            f"no node {self._name} answers",
            "start it (ros2 launch occfusion_ros occ.launch.py), give --node, or compare ROS_DOMAIN_ID",
        )

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
        return Finding(
            FAIL,
            "transforms",
            f"{what}: {target} from {source}: {errors[-1]}",
            "publish that transform, or correct the frame names (grid_frame, fixed_frame, message headers)",
        )

    def _messages(self, topics: dict[str, type]) -> dict[str, Any]:
        """A message of each topic that has one."""
        received: dict[str, Any] = {}
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # which any publisher serves
        subscriptions = [
            self._node.create_subscription(kind, topic, partial(received.__setitem__, topic), qos)
            for topic, kind in topics.items()
        ]
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
