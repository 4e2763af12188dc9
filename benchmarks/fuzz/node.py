"""Malformed messages, and bytes that are no messages, to the running node: it must answer the good and live on."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np

from occfusion_ros.core.frames import CameraImage, OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.presample.presampler import PresampleConfig, Presampler

from ..load.messages import camera_info, messages_of, raw_image, transform
from .malformed_messages import NOW_NS, SIZE, MalformedMessages

MS, S = 1_000_000, 1_000_000_000
TOPICS = {"front": "/front/image_rect_compressed", "back": "/back/image_rect"}
PARAMETERS = {
    "cameras": "[front,back]",
    "image_topics": f"[{','.join(TOPICS.values())}]",
    "max_wait_s": "0.02",
    "intensity_max": "1.0",
}
TRUE_FRAMES = {"front": "cam", "back": "cam", "cloud": "lidar_good"}
START_S, ANSWER_S, QUIET_S = 120.0, 60.0, 2.5
ROUND_S = 0.03  # between two rounds of messages
WHOLE_SWEEP = ("invalid sweep", "sweep without stamp", "transform", "backend", "internal", "other")


class PresampledPipeline:
    """Runs all of a frame's way to the networks; answers with the voxels that hold a point."""

    backend_name = "none"

    def __init__(self) -> None:
        grid = GridSpec((-6.4, -6.4, -1.6), 0.2, (64, 64, 16))
        self.contract = SimpleNamespace(model_id="fuzz", classes=OPENOCCUPANCY_CLASSES, max_cameras=6, grid=grid)
        self.presample = Presampler(PresampleConfig(grid, fusion_queries=200, image_size=(64, 96)))

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        inputs = self.presample(frame)
        labels = np.zeros(self.contract.grid.size, np.uint8)
        labels.ravel()[inputs.returns.numpy()] = 1
        return OccupancyGrid(
            self.contract.grid,
            labels,
            frame.stamp_ns,
            frame.frame_id,
            tuple(camera.name for camera in frame.cameras),
            "fuzz",
            {"presample": 0.0},
        )


def run_node() -> int:
    """The node as it is, with `PresampledPipeline`."""
    from occfusion_ros.ros.node import lifecycle_node, main

    lifecycle_node.load_pipeline = lambda parameters: PresampledPipeline()
    arguments = [word for name, value in PARAMETERS.items() for word in ("-p", f"{name}:={value}")]
    return main.main(["--ros-args", *arguments])


class Attack:
    """Publishes to the node, and notes what it answers and reports."""

    def __init__(self, node: Any, seed: int) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
        from tf2_msgs.msg import TFMessage

        from occfusion_msgs.msg import OccupancyGrid3D

        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.malformed, self.chance = MalformedMessages(seed), random.Random(seed)
        self.answers: list[tuple[int, str, int]] = []  # stamp, frame, number of cameras
        self.good: set[tuple[int, str]] = set()  # stamps and frames of sweeps that may be answered
        self.reported: dict[str, str] = {}
        self.sent: Counter[str] = Counter()
        self.sent_malformed = 0
        self.node = node
        self.publishers = {
            "cloud": node.create_publisher(PointCloud2, "/lidar_top", 100),
            "front": node.create_publisher(CompressedImage, TOPICS["front"], 100),
            "back": node.create_publisher(Image, TOPICS["back"], 100),
            "front info": node.create_publisher(CameraInfo, "/front/camera_info", 100),
            "back info": node.create_publisher(CameraInfo, "/back/camera_info", 100),
            "tf": node.create_publisher(TFMessage, "/tf", 100),
            "static tf": node.create_publisher(TFMessage, "/tf_static", latched),
        }
        node.create_subscription(OccupancyGrid3D, "/occfusion/occupancy", self._answer, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._report, 10)

    def _answer(self, message: Any) -> None:
        from occfusion_ros.ros.conversions.stamps import stamp_ns

        self.answers.append((stamp_ns(message.header), message.header.frame_id, len(message.cameras)))

    def _report(self, message: Any) -> None:
        self.reported = {entry.key: entry.value for status in message.status for entry in status.values}

    def send(self, name: str, message: Any) -> None:
        """Publish a message or raw bytes."""
        self.sent[name] += 1
        if name == "cloud" and (key := answerable(message)):
            self.good.add(key)
        self.publishers[name].publish(message)

    def round(self, number: int) -> None:
        """One message of each kind: all malformed or only one of them, some of them bytes that are no message."""
        from rclpy.serialization import serialize_message

        stamp, malformed = NOW_NS + 100 * number * MS, self.malformed
        messages = {
            "front info": malformed.camera_info(),
            "back info": malformed.camera_info(),
            "front": malformed.compressed(stamp),
            "back": malformed.image(stamp),
            "tf": malformed.transforms(stamp),
            "cloud": malformed.cloud(stamp),
        }
        self.sent_malformed += len(messages)
        if self.chance.random() < 0.6:
            self.sent_malformed -= len(messages) - 1
            only = self.chance.choice(list(messages))
            if only in TRUE_FRAMES:
                messages[only].header.frame_id = TRUE_FRAMES[only]
            messages = {**messages, **good_messages(stamp), only: messages[only]}
        for name, message in messages.items():
            raw = self.chance.random() < 0.1
            self.send(name, self._broken(serialize_message(message)) if raw else message)

    def send_good(self, stamp: int) -> None:
        """One message of each kind, all in order."""
        for name, message in good_messages(stamp).items():
            self.send(name, message)

    def _broken(self, data: bytes) -> bytes:
        data = bytearray(data[: self.chance.randrange(len(data) + 1)] if self.chance.random() < 0.3 else data)
        for _ in range(self.chance.choice([1, 2, 8])):
            if data:
                data[self.chance.randrange(len(data))] = self.chance.choice([0, 1, 127, 128, 255])
        return bytes(data)


def answerable(message: Any) -> tuple[int, str] | None:
    """Stamp and frame of a sweep that the node may answer; None: it must not."""
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import PointCloud2

    from occfusion_ros.ros.conversions.point_cloud import points_from_cloud
    from occfusion_ros.ros.conversions.stamps import frame_of, stamp_ns

    try:
        cloud = deserialize_message(message, PointCloud2) if isinstance(message, bytes) else message
        usable = stamp_ns(cloud.header) > 0 and len(points_from_cloud(cloud, 1.0))
        return (stamp_ns(cloud.header), frame_of(cloud.header)) if usable else None
    except Exception:  # noqa: BLE001 - refused on purpose, or bytes that the middleware does not take for a message
        return None


def good_messages(stamp: int) -> dict[str, Any]:
    """A message of each kind, in order, transforms first."""
    from tf2_msgs.msg import TFMessage

    from occfusion_ros.ros.conversions.stamps import header_from

    intrinsics = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    camera = CameraImage("cam", np.zeros((*SIZE, 3), np.uint8), intrinsics, np.eye(4))
    sent = messages_of(SensorFrame(stamp, np.array([[1, 1, 0.5, 0]], np.float32), (camera,)))
    optical = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    messages = {
        "front info": camera_info(camera),
        "back info": camera_info(camera),
        "front": sent.images[0],
        "back": raw_image(camera.image),
        "cloud": sent.cloud,
    }
    for name, message in messages.items():
        message.header = header_from(stamp, TRUE_FRAMES.get(name, "cam"))
    transforms = [transform("sensors", "cam", optical), transform("sensors", "lidar_good", np.eye(4))]
    return {"static tf": TFMessage(transforms=transforms), **messages}


def fuzz_node(count: int, seed: int = 0) -> dict[str, Any]:
    """About `count` malformed messages, with good ones among them, to a node in a process of its own.

    Returns:
        What it did with them, and what it must not do.
    """
    from occfusion_ros.ros.startup.rclpy_start import spinning_node

    if "ROS_DOMAIN_ID" not in os.environ:
        os.environ.update(ROS_DOMAIN_ID=str(random.randrange(1, 102)), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen([sys.executable, "-m", __name__], stdout=log, stderr=log)
        stack.callback(process.kill)
        attack = Attack(stack.enter_context(spinning_node("attacker", [])), seed)
        failures = list(_attack(attack, process, -(-count // 3)))
        peak_mb, result = _peak_mb(process), _accounts(attack)
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            code = "none: it hangs"
        log.seek(0)
        text = log.read().decode(errors="replace")
    failures += result.pop("failures") + ([f"exit status {code}"] if code else [])
    failures += [f"log: {line[:200]}" for line in text.splitlines() if "Traceback" in line or "internal" in line]
    return {
        "sent": sum(attack.sent.values()),
        "malformed": attack.sent_malformed,
        "sent_by_kind": dict(attack.sent),
        "peak_mb": peak_mb,
        **result,
        "failures": failures,
    }


def _attack(attack: Attack, process: subprocess.Popen, rounds: int) -> Any:
    """All messages, good ones before and after the others; yields what must not happen."""
    if not _wait(lambda: attack.publishers["cloud"].get_subscription_count() and attack.reported, START_S):
        yield f"the node did not start within {START_S:g} s"
        return
    for phase, stamp in (("before", NOW_NS - S), ("after", NOW_NS - 1000 * S)):
        if phase == "after":
            for number in range(rounds):
                attack.round(number)
                time.sleep(ROUND_S)
            time.sleep(QUIET_S)
            attack.send_good(stamp - S)  # time goes back: what was heard of moving frames is forgotten
        if not _wait_for_answer(attack, process, stamp):
            yield f"{phase} the malformed messages: no answer with both cameras to a good sweep; exit {process.poll()}"
    time.sleep(QUIET_S)  # for the last report
    yield from (f"answered what it must not: {answer}" for answer in attack.answers if answer[:2] not in attack.good)


def _wait_for_answer(attack: Attack, process: subprocess.Popen, stamp: int) -> bool:
    """Good messages until one is answered with both cameras."""
    stamps = iter(range(stamp, stamp + 900 * S, 200 * MS))

    def answered() -> bool:
        attack.send_good(next(stamps))
        time.sleep(0.2)
        return any(answer[0] >= stamp and answer[1:] == ("lidar_good", 2) for answer in attack.answers[-5:])

    return _wait(lambda: process.poll() is None and answered(), ANSWER_S)


def _wait(condition: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds)


def _accounts(attack: Attack) -> dict[str, Any]:
    """What became of the sweeps, by the node's own report; all that it received must be accounted for."""
    numbers = {key: int(value) for key, value in attack.reported.items() if value.isdigit()}
    received = int(re.search(r"(\d+) received", attack.reported.get("/lidar_top", "0 received"))[1])
    faults = {key.removeprefix("fault: "): value for key, value in numbers.items() if key.startswith("fault: ")}
    dropped = {key.removeprefix("dropped: "): value for key, value in numbers.items() if key.startswith("dropped: ")}
    told = numbers.get("published", 0) + sum(dropped.values()) + sum(faults.get(cause, 0) for cause in WHOLE_SWEEP)
    failures = [f"{received} sweeps received, {told} accounted for"] if received != told else []
    failures += [f"{faults['internal']} internal errors"] if faults.get("internal") else []
    return {
        "sweeps_received": received,
        "published": numbers.get("published", 0),
        "dropped": dropped,
        "faults": faults,
        "failures": failures,
    }


def _peak_mb(process: subprocess.Popen) -> float:
    """Most memory that a running process has used, megabytes."""
    try:
        with open(f"/proc/{process.pid}/status") as file:
            return round(int(re.search(r"VmHWM:\s+(\d+)", file.read())[1]) / 1e3)
    except (OSError, TypeError):
        return float("nan")


if __name__ == "__main__":
    sys.exit(run_node())
