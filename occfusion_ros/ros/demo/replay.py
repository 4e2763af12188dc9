"""Plays a bag through the node, in processes of its own, and keeps what it answers."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import DatasetError, OccFusionError
from ...core.labels import SemanticClass
from ..bringup.processes import Bringup, bringup
from ..conversions.stamps import stamp_ns
from ..startup.rclpy_start import spinning_node
from ..tools.output_collector import ALL_INPUTS, Answer, OutputCollector
from ..viewers.scene import Scene, SceneReader
from ..without_ros.bag_reader import open_bag
from ..without_ros.supervisor import Supervisor

START_S = 180.0  # for the node to load its model
SILENCE_S = 30.0  # without an answer after the bag's end: no more will come
TIMES_S = 2.0  # for stage times to come
POLL_S = 0.1
CLOUD, INFO = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/CameraInfo"


class ReplayError(OccFusionError):
    """A process of the replay failed."""


@dataclass(frozen=True)
class BagContents:
    """What matters of a bag.

    Attributes:
        lidar_topic: the one topic with clouds.
        info_topics: topics with calibrations, by camera.
        sweeps: frame id by stamp in nanoseconds, for each cloud.
    """

    lidar_topic: str
    info_topics: dict[str, str]
    sweeps: dict[int, str]

    @property
    def spacing_s(self) -> float:
        """Least seconds between two sweeps; 1 where there is only one."""
        stamps = sorted(self.sweeps)
        return min(((b - a) / 1e9 for a, b in zip(stamps, stamps[1:])), default=1.0)


@dataclass
class Replay:
    """A replay's outcome.

    Attributes:
        contents: of the bag.
        grid_frame: frame that the answers should be in; empty: the sweep's own.
        answers: by stamp in nanoseconds, in the order in which they came.
        classes: names and colors of the labels.
        arrivals: seconds, when each answer came.
        stage_ms: milliseconds that each stage took, by stage.
    """

    contents: BagContents
    grid_frame: str
    answers: dict[int, Answer] = field(default_factory=dict)
    classes: tuple[SemanticClass, ...] = ()
    arrivals: list[float] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=dict)

    def take(self, answer: Answer) -> None:
        """Keep an answer."""
        self.answers[stamp_ns(answer.message.header)] = answer
        self.arrivals.append(time.monotonic())

    def faults(self) -> list[str]:
        """What is wrong: sweeps without an answer in the right frame, and answers that no sweep asked for."""
        found = []
        for stamp, frame in self.contents.sweeps.items():
            expected = self.grid_frame or frame
            if stamp not in self.answers:
                found.append(f"sweep {stamp} got no answer")
            elif (got := self.answers[stamp].message.header.frame_id) != expected:
                found.append(f"sweep {stamp}: expected an answer in frame {expected!r}, got {got!r}")
        found += [f"answer {stamp} belongs to no sweep" for stamp in self.answers if stamp not in self.contents.sweeps]
        return found


def read_contents(bag: Path) -> BagContents:
    """Topics and sweeps of a bag.

    Raises:
        DatasetError: not a readable bag, or not exactly one topic with clouds.
    """
    from rclpy.serialization import deserialize_message
    from std_msgs.msg import Header

    with open_bag(bag) as reader:
        clouds = [connection for connection in reader.connections if connection.msgtype == CLOUD]
        if len({connection.topic for connection in clouds}) != 1:
            raise DatasetError(f"{bag}: expected one topic with clouds, got {[c.topic for c in clouds] or 'none'}")
        infos = {c.topic.split("/")[-2]: c.topic for c in reader.connections if c.msgtype == INFO}
        # A message begins with its header, so the rest need not be decoded.
        headers = [deserialize_message(bytes(raw), Header) for _, _, raw in reader.messages(clouds)]
    return BagContents(clouds[0].topic, infos, {stamp_ns(header): header.frame_id for header in headers})


def replay(
    bag: Path, arguments: Mapping[str, str], seconds_per_sweep: float, show: Callable[[Scene], None] | None = None
) -> Replay:
    """Play a bag so slowly that the node has `seconds_per_sweep` for each sweep, and wait for its answers.

    Args:
        bag: the bag.
        arguments: of the bring-up.
        seconds_per_sweep: the bag is played at its own pace if that is slower.
        show: given what a viewer shows of each answer.

    Raises:
        ReplayError: the node or the player ended early, or the node did not start.
    """
    contents = read_contents(bag)
    outcome = Replay(contents, arguments.get("grid_frame", ""))
    rate = min(1.0, contents.spacing_s / seconds_per_sweep)
    wait_for = " ".join([contents.lidar_topic, *contents.info_topics.values()])
    plan = bringup({**arguments, "bag": str(bag), "rate": str(rate), "wait_for": wait_for}, stay=False)
    with spinning_node("replay", []) as node:

        def take(answer: Answer) -> None:
            outcome.take(answer)
            if reader:
                show(reader.read(answer))

        collector = OutputCollector(node, "occfusion", take, **({"inputs": ALL_INPUTS} if show else {}))
        reader = SceneReader(node, collector) if show else None
        # The player comes last: it starts when the node and this one are there.
        with Supervisor(Bringup(plan.processes[:-1], plan.environment)) as supervisor:
            _wait_for_node(supervisor, collector, len(contents.info_topics))
            supervisor.start(plan.processes[-1])
            _wait_for_answers(supervisor, outcome, plan.processes[-1].name)
            _wait_for_times(supervisor, collector)
        outcome.classes, outcome.stage_ms = collector.classes, collector.stage_ms
    return outcome


def _wait_for_node(supervisor: Supervisor, collector: OutputCollector, cameras: int) -> None:
    """Until the node is there and listens to its cameras."""
    deadline = time.monotonic() + START_S
    while not collector.connected or len(collector.image_topics) < cameras:
        if ended := supervisor.next_end(timeout=POLL_S):
            raise ReplayError(f"{ended[0].name} ended with exit code {ended[1]}")
        if time.monotonic() > deadline:
            raise ReplayError(
                f"after {START_S:g} s: expected {collector.topic} and {cameras} cameras, got "
                f"{'it' if collector.connected else 'no such topic'} and {collector.image_topics}"
            )


def _wait_for_answers(supervisor: Supervisor, outcome: Replay, player: str) -> None:
    """Until every sweep has its answer, or the bag has ended and none came for a while."""
    ended_at = None
    while ended_at is None or (outcome.faults() and time.monotonic() - max([ended_at, *outcome.arrivals]) < SILENCE_S):
        if ended := supervisor.next_end(timeout=POLL_S):
            if ended[0].name != player or ended[1]:
                raise ReplayError(f"{ended[0].name} ended with exit code {ended[1]}")
            ended_at = time.monotonic()


def _wait_for_times(supervisor: Supervisor, collector: OutputCollector) -> None:
    """Stage times come after the answers."""
    deadline = time.monotonic() + TIMES_S
    while not any(collector.stage_ms.values()) and time.monotonic() < deadline:
        supervisor.next_end(timeout=POLL_S)
