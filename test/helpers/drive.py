"""A vehicle that drives past the node under test."""

import time

from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock

from helpers.rig import NOW, OPTICAL, POINTS, SCENE, Rig, S
from helpers.ros_messages import camera_info, cloud, compressed
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns

CAMERAS = ("left", "front", "right")


class Drive:
    """A vehicle with three cameras that sends frame after frame, 0.2 s apart, but not what is lost."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.stamp, self._due = rig, NOW, 0.0
        for camera in CAMERAS:
            rig.send_transform("lidar_top", camera, turn=OPTICAL)

    def send(self, without: tuple[str, ...] = (), seconds: float = 0.2) -> None:
        """Send one frame, `seconds` after the last."""
        self.stamp += round(seconds * S)
        if self.rig.node.get_parameter("use_sim_time").value:
            self.rig.send("/clock", Clock(clock=header_from(self.stamp, "").stamp))
            self.rig.wait(lambda: self.rig.node.get_clock().now().nanoseconds == self.stamp, "the clock")
        if "transform" not in without:
            self.rig.send_transform("map", "lidar_top", stamp_ns=self.stamp)
        for camera in set(CAMERAS) - set(without):
            info = camera_info(header=header_from(self.stamp, camera))
            self.rig.send(f"/{camera}/camera_info", info)
            self.rig.send(f"/{camera}/image_rect_compressed", compressed(SCENE, stamp_ns=self.stamp, frame_id=camera))
        if "lidar" not in without:
            self.rig.send("/lidar_top", cloud(POINTS, stamp_ns=self.stamp))

    def at_ten_hertz(self) -> None:
        """Send a frame if the time for it has come; to be called again and again."""
        if time.monotonic() > self._due:
            self._due = time.monotonic() + 0.1
            self.send(seconds=0.1)

    def go(self, without: tuple[str, ...] = (), seconds: float = 0.2) -> set[str]:
        """Send one frame; the cameras that its answer names."""
        answers = len(self.rig.occupancy)
        self.send(without, seconds)
        message = self.rig.wait_for_occupancy(answers + 1)
        assert stamp_ns(message.header) == self.stamp
        return set(message.cameras)

    def until(self, task: str, level: bytes, text: str = "", without: tuple[str, ...] = ()) -> DiagnosticStatus:
        """Send frames until a task reports this."""
        self.rig.diagnostics.clear()

        def reported() -> bool:
            seen = len(self.rig.diagnostics)
            self.send(without)
            self.rig.wait(lambda: len(self.rig.diagnostics) > seen, "a report")
            return self.rig.status(task).level == level and text in self.rig.status(task).message

        self.rig.wait(reported, f"{task}: {level} {text!r}")
        return self.rig.status(task)
