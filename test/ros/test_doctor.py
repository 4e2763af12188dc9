"""The doctor: what it finds on a machine and in a running system."""

import io
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from types import SimpleNamespace

import pytest
import rclpy
from helpers.drive import CAMERAS, Drive
from helpers.rig import DEADLINE_S, MS, OPTICAL, POINTS, SCENE, Rig
from helpers.ros_messages import camera_info, cloud, compressed
from lifecycle_msgs.srv import GetState
from std_msgs.msg import String

from occfusion_ros.core.processor import Processor
from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.startup.dds import PROFILE_VARIABLES
from occfusion_ros.ros.tools import doctor, doctor_machine
from occfusion_ros.ros.tools.doctor_machine import (
    FAIL,
    OK,
    SEGMENT,
    WARN,
    check_backends,
    check_choice,
    check_middleware,
    check_model,
    check_processor,
    check_shared_memory,
    check_sockets,
)


@pytest.mark.parametrize(("free", "level"), [(3 * SEGMENT, OK), (1.5 * SEGMENT, WARN), (0.5 * SEGMENT, FAIL)])
def test_shared_memory(tmp_path, monkeypatch, free, level):
    for name in ("fastdds_1", "fastdds_1_el", "other"):
        (tmp_path / name).touch()
    monkeypatch.setattr(doctor_machine.os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    found = check_shared_memory(tmp_path)
    assert found.level == level and "1 segments" in found.text
    assert ("fastdds shm clean" in found.advice) == (level != OK)


@pytest.mark.parametrize(("size", "level"), [(212992, WARN), (4 << 20, OK)])
def test_sockets(tmp_path, size, level):
    (tmp_path / "rmem_max").write_text(f"{size}\n")
    assert check_sockets(tmp_path / "rmem_max").level == level
    assert check_sockets(tmp_path / "missing").level == OK


def test_model(tmp_path):
    assert check_model("nano").level == OK
    found = check_model(str(tmp_path))
    assert found.level == FAIL and str(tmp_path) in found.text and found.advice


def test_a_backend_that_is_wanted_has_to_run(monkeypatch):
    lacking = SimpleNamespace(unavailable_reason=lambda: "it is not installed")
    monkeypatch.setattr("occfusion_ros.runtime.backends.registry.BACKENDS", {"mine": lambda: lacking})
    assert [found.level for found in check_backends("auto")] == [OK]
    assert [found.level for found in check_backends("mine")] == [FAIL]


@pytest.mark.parametrize(
    ("instructions", "quota", "said"),
    [
        ("avx2", math.inf, ["weights of 8 bits would saturate", "bf16 is not taken"]),
        (
            "avx2 avx512_vnni avx512_bf16",
            2.5,
            ["so is INT8 with weights of 8 bits", "bf16 is calculated", "control groups leave 2.5 of 16 processors"],
        ),
        ("avx2 avx_vnni", 0.5, ["so is INT8 with weights of 8 bits", "--cpus=4"]),
    ],
)
def test_the_processor_and_what_it_calculates_right(monkeypatch, instructions, quota, said):
    made = Processor("Made Up 3000", "x86_64", frozenset(instructions.split()))
    monkeypatch.setattr(doctor_machine, "this_processor", lambda: made)
    monkeypatch.setattr(doctor_machine, "cpu_quota", lambda: quota)
    monkeypatch.setattr(doctor_machine.os, "cpu_count", lambda: 16)
    found = list(check_processor())
    text = " ".join(finding.text + finding.advice for finding in found)
    assert "Made Up 3000" in text and [words for words in said if words not in text] == []
    assert found[0].level == (WARN if quota < 1 else OK)


def test_what_auto_stands_for(tmp_path, monkeypatch):
    monkeypatch.setattr("occfusion_ros.runtime.backends.registry.candidates", lambda _: ("onnxruntime", "torch"))
    found = check_choice("nano")
    assert found.level == OK and "takes onnxruntime" in found.text and "in fp32 (of fp32, int8, fp16)" in found.text
    assert check_choice(str(tmp_path)).level == FAIL


@pytest.mark.parametrize(("profile", "level"), [("", WARN), (__file__, OK), ("/nowhere.xml", FAIL)])
def test_middleware(monkeypatch, profile, level):
    for variable in PROFILE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(PROFILE_VARIABLES[0], profile)
    found = list(check_middleware())
    assert found[0].level == OK and found[1].level == level and bool(found[1].advice) == (level != OK)


@pytest.fixture
def examine(monkeypatch) -> Callable[..., tuple[int, str]]:
    """Exit code and report of the doctor beside a rig, in a thread: a process takes seconds to start."""
    monkeypatch.setenv(PROFILE_VARIABLES[0], "")  # it sets a profile for its process
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # where it has none, and threads may set none

    def run(rig: Rig, timeout_s: int, meanwhile, arguments: tuple[str, ...] = ()) -> tuple[int, str]:
        report = io.StringIO()
        with ThreadPoolExecutor(1) as pool, redirect_stdout(report):
            code = pool.submit(doctor.main, ["--timeout", str(timeout_s), *arguments])
            serve(rig, code.done, meanwhile)
        return code.result(), report.getvalue()

    yield run
    signal.signal(signal.SIGTERM, before)


def examine_as_a_process(rig: Rig, timeout_s: int, meanwhile) -> tuple[int, str]:
    """Exit code and report of the doctor, started as a user does."""
    command = [sys.executable, "-m", "occfusion_ros.ros.tools.doctor", "--timeout", str(timeout_s)]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        serve(rig, lambda: process.poll() is not None, meanwhile)
        return process.returncode, process.stdout.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve(rig: Rig, ended: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    """Serve the node until the doctor has ended; `meanwhile` is called again and again."""

    def served() -> bool:
        meanwhile()
        return ended()

    rig.wait(served, "the doctor", seconds=4 * DEADLINE_S)


def test_a_system_in_good_health(start):
    drive = Drive(start(cameras=list(CAMERAS), fixed_frame="map"))
    code, report = examine_as_a_process(drive.rig, 10, drive.at_ten_hertz)
    assert code == 0 and "nothing fails" in report, report
    for line in (
        "node: /occfusion is active",
        "topics: /lidar_top: publishers: 1",
        "transforms: left: left from map",
        "inputs: all inputs are alive",
    ):
        assert f"[  ok] {line}" in report, report


def test_a_system_with_faults(start, examine):
    rig = start(cameras=["left"], autostart=False, model="/nowhere")
    code, report = examine(rig, 4, lambda: None)
    assert code == 1
    for line in (
        "[FAIL] model: /nowhere",
        "[FAIL] node: /occfusion is unconfigured",
        "configure",
        "[FAIL] topics: nobody publishes /lidar_top",
        "[warn] topics: nobody publishes /left/camera_info",
        "[FAIL] transforms: no message on /lidar_top",
        "[warn] state: unconfigured",
    ):
        assert line in report, report


def test_names_are_those_that_the_node_sees(start, examine):
    """The LiDAR's topic remapped, as on a command line, and the cameras by relative names in a namespace."""
    rig = start(
        cameras=["left"],
        image_topics=["{camera}/image_rect_compressed"],
        camera_info_topics=["{camera}/camera_info"],
        remaps=["/lidar_top:=/velodyne_points"],
        namespace="/robot1",
    )
    rig.send_transform("lidar_top", "left", turn=OPTICAL)

    def drive() -> None:
        stamp = time.time_ns()
        rig.send("/velodyne_points", cloud(POINTS, stamp_ns=stamp))
        rig.send("/robot1/left/camera_info", camera_info(header=header_from(stamp, "left")))
        rig.send("/robot1/left/image_rect_compressed", compressed(SCENE, stamp_ns=stamp, frame_id="left"))
        rig.wait(lambda: time.time_ns() > stamp + 100 * MS, "a tenth of a second")

    code, report = examine(rig, 10, drive, ("--node", "/robot1/occfusion"))
    assert code == 0, report
    for topic in ("/velodyne_points", "/robot1/left/image_rect_compressed", "/robot1/left/camera_info"):
        assert f"[  ok] topics: {topic}: publishers: 1" in report, report


def test_another_type_on_a_topic(start, examine, stranger):
    rig = start()
    stranger.create_publisher(String, "/lidar_top", 1)
    code, report = examine(rig, 4, lambda: None)
    assert (
        code == 1
        and ("[FAIL] topics: /lidar_top: expected sensor_msgs/msg/PointCloud2, but std_msgs/msg/String is published")
        in report
    ), report


def test_a_missing_clock(start, examine):
    code, report = examine(start(use_sim_time=True), 4, lambda: None)
    assert code == 1 and "[FAIL] clock: /occfusion uses simulated time and nobody publishes /clock" in report, report


def test_a_node_that_is_seen_and_not_heard(start, examine):
    """As from a container with another shared memory: its services are announced, and no answer comes."""
    rig = start()
    rig.node.destroy_node()
    rig.node = rclpy.create_node("occfusion")  # nobody spins it
    rig.node.create_service(GetState, "~/get_state", lambda request, response: response)
    code, report = examine(rig, 4, lambda: None)
    assert code == 1 and "[FAIL] node: /occfusion is announced, but nothing of it gets through" in report, report
    assert "--ipc=host" in report


@pytest.mark.parametrize("rear", ["rear", "nowhere"])
def test_every_lidar_is_looked_at(start, examine, rear):
    rig = start(lidar_topics=["/front/points", "/rear/points"], ego_box=[-1.0, 1.0, -1.0, 2.0, -1.0, 1.0])
    rig.send_transform("front", "rear", (0.0, -3.0, 0.0))

    def drive() -> None:
        stamp = time.time_ns()
        for topic, frame in (("/front/points", "front"), ("/rear/points", rear)):
            rig.send(topic, cloud(POINTS, stamp_ns=stamp, frame_id=frame))
        rig.wait(lambda: time.time_ns() > stamp + 100 * MS, "a tenth of a second")

    code, report = examine(rig, 10, drive)
    assert "[  ok] topics: /rear/points: publishers: 1" in report, report
    level = "  ok" if rear == "rear" else "FAIL"
    assert code == (rear != "rear") and f"[{level}] transforms: /rear/points: {rear} from front" in report, report


def test_parameters_that_do_not_come_are_no_good_health(start, examine):
    """The node tells its state and not its parameters: nothing of the system can be checked."""
    rig = start()
    rig.node.destroy_node()
    rig.node = rclpy.create_node("occfusion", start_parameter_services=False)
    answer = GetState.Response()
    answer.current_state.label = "active"
    rig.node.create_service(GetState, "~/get_state", lambda *_: answer)
    rig._executor.add_node(rig.node)
    code, report = examine(rig, 4, lambda: None)
    assert code == 1 and "[FAIL] parameters: /occfusion does not tell its parameters" in report, report
    assert "[  ok] node: /occfusion is active" in report and "nothing fails" not in report, report
