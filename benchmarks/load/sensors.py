"""Plays a vehicle's sensors at given rates: `python -m benchmarks.load.sensors FRAME LOG`.

Publishes LiDAR sweeps, raw or JPEG images, calibrations and TF, each stamped with the moment it is sent, and writes the
stamps to LOG. It waits until somebody listens to the LiDAR and to every camera.
"""

import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.command import parser_of
from occfusion_ros.core.frames import CameraImage

from .messages import BASE, MAP, camera_info, jpeg_image, load_frame, messages_of, raw_image, transform

LIDAR, POSE = "lidar_top", "pose"
POSE_HZ = 50.0
START_S = 60.0


@dataclass(frozen=True)
class Sensors:
    """What is played.

    Attributes:
        cameras: number of cameras.
        transport: "raw" or "compressed" (JPEG).
        lidar_hz, camera_hz: messages a second of the LiDAR and of each camera.
    """

    cameras: int = 6
    transport: str = "compressed"
    lidar_hz: float = 20.0
    camera_hz: float = 12.0


@dataclass(order=True)
class _Task:
    """Something to publish again and again; compared by when it is due."""

    due_s: float
    name: str
    period_s: float = field(compare=False)
    publish: Callable[[int], None] = field(compare=False)


def image_topic(camera: str, transport: str) -> str:
    """Where a camera's images are published."""
    return f"/{camera}/image_rect" + "_compressed" * (transport == "compressed")


def play(tasks: list[_Task], seconds: float) -> tuple[dict[str, list[int]], list[float]]:
    """Publish everything when it is due.

    Returns:
        stamps in nanoseconds by task, and by how many milliseconds each message was late.
    """
    heapq.heapify(tasks)
    stamps: dict[str, list[int]] = {task.name: [] for task in tasks}
    late_ms, start = [], time.monotonic()
    while tasks[0].due_s < seconds:
        task = tasks[0]
        ahead = task.due_s - (time.monotonic() - start)
        if ahead > 0:
            time.sleep(ahead)
        late_ms.append(1e3 * max(-ahead, 0.0))
        stamps[task.name].append(time.time_ns())
        task.publish(stamps[task.name][-1])
        task.due_s += task.period_s
        heapq.heapreplace(tasks, task)
    return stamps, late_ms


class Vehicle:
    """The publishers of a vehicle."""

    def __init__(self, node: Any, frame_file: Path, sensors: Sensors) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile

        self.node, self.sensors = node, sensors
        self.tasks: list[_Task] = []
        self._listened: list[Any] = []  # publishers of the LiDAR and of images
        frame, latched = load_frame(frame_file), QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        cameras = frame.cameras[: sensors.cameras]
        self._add(LIDAR, f"/{LIDAR}", messages_of(frame).cloud, sensors.lidar_hz, 0.0)
        for index, camera in enumerate(cameras):
            self._add_camera(camera, index / max(len(cameras), 1) / sensors.camera_hz)
        self._add_pose()
        static = [transform(BASE, LIDAR, np.eye(4))]
        static += [transform(LIDAR, c.name.lower(), np.linalg.inv(c.camera_from_grid)) for c in cameras]
        self._static = self._publisher("/tf_static", self._tf(static), latched)
        self._static.publish(self._tf(static))

    def wait(self) -> None:
        """Until somebody listens to every sensor."""
        deadline = time.monotonic() + START_S
        while not all(publisher.get_subscription_count() for publisher in self._listened):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens to the sensors after {START_S:g} s")
            time.sleep(0.05)

    def _add_camera(self, camera: CameraImage, phase_s: float) -> None:
        name, raw = camera.name.lower(), self.sensors.transport == "raw"
        image = raw_image(camera.image) if raw else jpeg_image(camera.image)
        info = camera_info(camera)
        infos = self._publisher(f"/{name}/camera_info", info)
        info.header.frame_id = name
        self._add(
            name,
            image_topic(name, self.sensors.transport),
            image,
            self.sensors.camera_hz,
            phase_s,
            lambda stamp: infos.publish(_stamped(info, stamp)),
        )

    def _add(
        self,
        name: str,
        topic: str,
        message: Any,
        rate_hz: float,
        phase_s: float,
        before: Callable[[int], None] = lambda stamp: None,
    ) -> None:
        publisher = self._publisher(topic, message)
        self._listened.append(publisher)
        message.header.frame_id = name

        def publish(stamp: int) -> None:
            before(stamp)
            publisher.publish(_stamped(message, stamp))

        self.tasks.append(_Task(phase_s, name, 1 / rate_hz, publish))

    def _add_pose(self) -> None:
        publisher = self._publisher("/tf", self._tf([]))

        def publish(stamp: int) -> None:
            pose = np.eye(4)
            pose[0, 3] = 10.0 * (stamp / 1e9 % 1000.0)  # metres, at 10 m/s
            publisher.publish(self._tf([transform(MAP, BASE, pose, stamp)]))

        self.tasks.append(_Task(0.0, POSE, 1 / POSE_HZ, publish))

    def _publisher(self, topic: str, message: Any, qos: Any = 5) -> Any:
        return self.node.create_publisher(type(message), topic, qos)

    @staticmethod
    def _tf(transforms: list[Any]) -> Any:
        from tf2_msgs.msg import TFMessage

        return TFMessage(transforms=transforms)


def _stamped(message: Any, stamp_ns: int) -> Any:
    """The message itself with another stamp."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return message


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    import rclpy

    from occfusion_ros.ros.startup.dds import use_shared_memory_profile

    parser = parser_of("python -m benchmarks.load.sensors", __doc__)
    parser.add_argument("frame", type=Path, help="frame that benchmarks.load.messages.save_frame wrote")
    parser.add_argument("log", type=Path, help="JSON file to write: stamps by sensor, lateness in milliseconds")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (%(default)s)")
    for name, kind in Sensors.__annotations__.items():
        parser.add_argument(f"--{name}", type=kind, default=getattr(Sensors, name), help="(%(default)s)")
    options = parser.parse_args(argv)
    use_shared_memory_profile()
    rclpy.init(args=[])
    try:
        sensors = Sensors(*(getattr(options, name) for name in Sensors.__annotations__))
        vehicle = Vehicle(rclpy.create_node("vehicle"), options.frame, sensors)
        vehicle.wait()
        stamps, late_ms = play(vehicle.tasks, options.seconds)
        high = float(np.percentile(late_ms, 99))
        options.log.write_text(json.dumps({"stamps": stamps, "late_p99_ms": high}))
        time.sleep(0.5)  # what is on its way arrives
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
