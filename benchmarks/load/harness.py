"""Run a node and the sensors that feed it as processes, and watch them from outside."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict, deque
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float64

from occfusion_msgs.msg import OccupancyGrid3D
from occfusion_ros.core.shipped import PACKAGE
from occfusion_ros.ros.bringup.processes import Bringup, Process
from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.startup.rclpy_start import spinning_node
from occfusion_ros.ros.without_ros.supervisor import Supervisor

from .sensors import LIDAR, Sensors, image_topic

START_S = 180.0
LOOK_S = 1.0  # between samples of the process
TICKS = os.sysconf("SC_CLK_TCK")
NODE = "node"
CHECKOUT = Path(__file__).parents[2]
RING = ("cam_front", "cam_front_right", "cam_back_right", "cam_back", "cam_back_left", "cam_front_left")


@dataclass(frozen=True)
class Sample:
    """A process at one moment: resident and anonymous memory in MiB, seconds of CPU time it has used so far."""

    time_s: float
    resident_mib: float
    anonymous_mib: float
    threads: int
    files: int
    cpu_s: float


@dataclass(frozen=True)
class Answer:
    """An output of the node: stamp of its sweep, when it came, number of cameras in it."""

    stamp_ns: int
    arrival_ns: int
    cameras: int


@dataclass
class Run:
    """What was seen while the sensors played.

    Attributes:
        sensors: what was played. seconds: how long.
        stamps: nanoseconds of every message sent, by sensor. late_p99_ms: how late the sensors themselves were.
        answers: what the node published. stage_ms: what it says of its stages.
        samples: the process over time.
        reports: arrivals of its diagnostics in nanoseconds, and levels (0 good, 1 warning, 2 error) by name.
    """

    sensors: Sensors
    seconds: float
    stamps: dict[str, list[int]] = field(default_factory=dict)
    late_p99_ms: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    samples: list[Sample] = field(default_factory=list)
    reports: list[tuple[int, dict[str, int]]] = field(default_factory=list)


class Harness:
    """Keeps a node running, in a process of its own; `run` lets sensors play.

    Args:
        frame: file of the frame that sensors play, see `messages.save_frame`.
        sensors: what the node is told to expect.
        parameters: of the node; its model among them.
    """

    def __init__(self, frame: Path, sensors: Sensors, **parameters: Any) -> None:
        self.frame = frame
        images = image_topic("{camera}", sensors.transport)
        values = {
            "cameras": list(RING[: sensors.cameras]) or [""],
            "image_topics": [images],
            "intensity_max": 1.0,
            **parameters,
        }
        node = Process(NODE, PACKAGE, "occfusion_node", f"{PACKAGE}.ros.node.main", parameters=(values,))
        self._log: deque[str] = deque(maxlen=20)  # the last of what the node printed
        self._supervisor = Supervisor(Bringup((node,)), self._log.append)
        self._closing = ExitStack()
        self._run = Run(sensors, 0.0)  # takes what comes while no sensor plays

    def __enter__(self) -> "Harness":
        with self._closing:
            self._closing.enter_context(self._supervisor)
            self._process = self._supervisor.child(NODE)
            self._node = self._closing.enter_context(spinning_node("harness", []))
            self._subscribe()
            self._wait_for_node()
            self._closing = self._closing.pop_all()  # an error until here has closed everything
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self, sensors: Sensors, seconds: float) -> Run:
        """Play the sensors for so long."""
        run = Run(sensors, seconds)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log.json"
            options = [f"--{f.name}={getattr(sensors, f.name)}" for f in fields(Sensors)]
            command = [sys.executable, "-m", "benchmarks.load.sensors", str(self.frame), str(log)]
            playing = subprocess.Popen([*command, f"--seconds={seconds}", *options], cwd=CHECKOUT)
            self._run = run
            try:
                while playing.poll() is None:
                    run.samples.append(sample(self._process.pid))
                    self._check(self._process.poll() is None)
                    self._follow_times()
                    time.sleep(LOOK_S)
            finally:
                playing.terminate()
            self._check(playing.returncode == 0)
            sent = json.loads(log.read_text())
        run.stamps, run.late_p99_ms = sent["stamps"], sent["late_p99_ms"]
        self._run = Run(sensors, 0.0)
        return run

    def _subscribe(self) -> None:
        self._node.create_subscription(OccupancyGrid3D, "/occfusion/occupancy", self._take_answer, 10, raw=True)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, 10)
        self._times: set[str] = set()

    def _follow_times(self) -> None:
        """Subscribe to the times of stages, which are announced with the first frame."""
        prefix = "/occfusion/debug/processing_time_ms/"
        for topic, _ in self._node.get_topic_names_and_types():
            if topic.startswith(prefix) and topic not in self._times:
                self._times.add(topic)
                qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
                take = partial(self._take_time, topic.removeprefix(prefix))
                self._node.create_subscription(Float64, topic, take, qos)

    def _wait_for_node(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._node.count_subscribers(f"/{LIDAR}"):
            self._check(self._process.poll() is None and time.monotonic() < deadline)
            time.sleep(0.1)

    def _check(self, well: bool) -> None:
        if not well:
            last = "\n".join(self._log)
            raise RuntimeError(f"the harness failed (node's exit code {self._process.poll()}): {last}")

    def _take_answer(self, raw: bytes) -> None:
        arrival = time.time_ns()
        message = deserialize_message(raw, OccupancyGrid3D)
        self._run.answers.append(Answer(stamp_ns(message.header), arrival, len(message.cameras)))

    def _take_time(self, stage: str, message: Float64) -> None:
        self._run.stage_ms[stage].append(message.data)

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        self._run.reports.append((time.time_ns(), {state.name: state.level[0] for state in message.status}))


def sample(pid: int) -> Sample:
    """A process as /proc shows it."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    mib = {key: int(status[key].split()[0]) / 1024 for key in ("VmRSS", "RssAnon")}
    times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    return Sample(
        time.monotonic(),
        mib["VmRSS"],
        mib["RssAnon"],
        int(status["Threads"]),
        len(os.listdir(folder / "fd")),
        sum(map(int, times)) / TICKS,
    )
