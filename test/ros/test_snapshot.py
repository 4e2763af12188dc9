"""The snapshot command against a node that publishes known voxels and listens to known images."""

import errno
import io
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import rclpy
from PIL import Image as Picture
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from occfusion_msgs.msg import OccupancyGrid3D, SemanticClasses
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.occupancy_grid import class_table, message_from_grid
from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.tools.snapshot import main

STAMP = 1_532_402_927_647_951_000
CYAN, YELLOW = (0, 255, 255), (255, 255, 0)


def jpeg(rgb: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (320, 180), rgb).save(buffer, "JPEG", quality=100)
    return buffer.getvalue()


class Source:
    """Publishes what the occupancy node publishes, again and again, until closed."""

    def __init__(
        self, name: str = "occfusion", cameras: tuple[str, ...] = ("cam_a",), outputs: str = "~", images: str = ""
    ) -> None:
        """`outputs`: where the occupancy is published, as by a remap; `images`: where the one camera's images are."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        labels = np.zeros((40, 40, 20), np.uint8)
        labels[10:30, 10:30, 5:9] = 4
        labels[35:] = 255  # unknown space is not drawn
        spec, remembered = GridSpec((-4.0, -4.0, -2.0), 0.2, (40, 40, 20)), np.flatnonzero(labels == 4)[:9]
        grid = OccupancyGrid(spec, labels, STAMP, "lidar_top", cameras, "m", remembered=remembered)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.classes = self.node.create_publisher(SemanticClasses, f"{outputs}/classes", latched)
        self.classes.publish(class_table("m", OPENOCCUPANCY_CLASSES, STAMP))
        self.occupancy = self.node.create_publisher(OccupancyGrid3D, f"{outputs}/occupancy", 10)
        self.message = message_from_grid(grid)
        best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        topics = [images] if images else [f"/{camera}/image_rect_compressed" for camera in cameras]
        self.images = [self.node.create_publisher(CompressedImage, topic, best_effort) for topic in topics]
        for topic in topics:  # the real node listens; the snapshot finds the topics by that
            self.node.create_subscription(CompressedImage, topic, lambda _: None, best_effort)
        self.node.create_timer(0.1, self.publish)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self) -> None:
        try:
            self.executor.spin()
        except rclpy.executors.ExternalShutdownException:
            pass

    def publish(self) -> None:
        for publisher in self.images:
            if publisher.get_subscription_count() < 2:  # its own and the snapshot's
                return
        for publisher in self.images:
            publisher.publish(CompressedImage(header=header_from(STAMP + 40_000_000, "cam"), data=jpeg(CYAN)))
            publisher.publish(CompressedImage(header=header_from(STAMP + 90_000_000, "cam"), data=jpeg(YELLOW)))
        self.occupancy.publish(self.message)

    def close(self) -> None:
        rclpy.shutdown(context=self.context)
        self.thread.join()
        self.node.destroy_node()


@pytest.fixture
def source():
    source = Source()
    yield source
    source.close()


@pytest.fixture(autouse=True)
def signal_handlers():
    """The command takes SIGTERM over."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def share_of(picture: np.ndarray, rgb: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - rgb).max(axis=2) < 12).mean())


def test_a_picture_shows_the_voxels_and_the_image_nearest_in_time(source, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "new"), "--count", "2", "--timeout", "60"]) == 0
    path = tmp_path / "new" / "occupancy_1532402927_647951000.png"
    picture = np.asarray(Picture.open(path))
    assert share_of(picture, CYAN) > 0.02, "the image 40 ms away is drawn"
    assert share_of(picture, YELLOW) == 0, "the image 90 ms away is not"
    hue = picture / np.linalg.norm(picture.clip(1), axis=2, keepdims=True)
    car = np.array(OPENOCCUPANCY_CLASSES[3].rgb) / np.linalg.norm(OPENOCCUPANCY_CLASSES[3].rgb)
    assert (hue @ car > 0.995).mean() > 0.002, "voxels and legend show the class's color at some brightness"
    assert capsys.readouterr().out.count(str(path)) == 2


def test_what_the_node_publishes_and_hears_under_other_names_is_found(tmp_path):
    source = Source(outputs="/grids", images="/front/picture")
    try:
        assert main(["--out", str(tmp_path), "--count", "3", "--timeout", "60"]) == 0
    finally:
        source.close()
    picture = np.asarray(Picture.open(next(tmp_path.glob("*.png"))))
    assert share_of(picture, CYAN) > 0.02


def test_the_node_may_be_in_a_namespace_and_have_no_cameras(tmp_path):
    source = Source("other", cameras=())
    try:
        ros = ["--ros-args", "-r", "__ns:=/"]
        assert main(["--out", str(tmp_path), "--node", "/other", "--timeout", "60", *ros]) == 0
    finally:
        source.close()
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("name, reason", [("nobody", "there is no such node"), ("mute", "does not publish")])
def test_it_gives_up_and_says_why(name, reason, tmp_path, capsys):
    source = Source("mute", cameras=("cam_deaf",))
    source.publish = lambda: None
    source.images = []
    source.node.destroy_timer(next(iter(source.node.timers)))
    try:
        assert main(["--out", str(tmp_path), "--node", name, "--timeout", "3"]) == 1
    finally:
        source.close()
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_left_out_and_the_next_is_taken(source, tmp_path, capsys, monkeypatch):
    full, save = {"once"}, Picture.Image.save

    def save_once_there_is_room(picture, path, kind, **options):
        save(picture, path, kind, **options)
        if kind == "PNG" and full:
            full.clear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Picture.Image, "save", save_once_there_is_room)
    assert main(["--out", str(tmp_path), "--count", "2", "--timeout", "20"]) == 1
    picture = next(tmp_path.iterdir())
    out, errors = capsys.readouterr()
    written = [line for line in errors.splitlines() if not line.startswith("drawing is too slow")]  # so it may be
    assert written == [f"left out: cannot write {picture}: No space left on device"]
    assert out.splitlines()[1:] == [str(picture)] and list(tmp_path.iterdir()) == [picture]
    assert Picture.open(picture).size


def test_a_folder_that_cannot_be_is_one_sentence_and_the_exit_code_tells(source, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["--out", str(tmp_path / "file"), "--timeout", "20"]) == 1
    assert capsys.readouterr().err.count("cannot write ") == 1


@pytest.mark.parametrize("number, count, code", [(signal.SIGINT, 1, 130), (signal.SIGTERM, 0, 0)])
def test_it_ends_when_told_to(number, count, code, tmp_path):
    command = [
        sys.executable,
        "-m",
        "occfusion_ros.ros.tools.snapshot",
        "--out",
        str(tmp_path),
        "--timeout",
        "0",
        "--count",
        str(count),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert "waiting" in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    process.stdout.close()
