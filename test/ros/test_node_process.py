"""The node as a process: how it ends."""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from occfusion_ros.ros.bringup.processes import Bringup, bringup
from occfusion_ros.ros.node import parameters_page, process
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.startup.dds import PROFILE_VARIABLES
from occfusion_ros.ros.without_ros.supervisor import Supervisor
from occfusion_ros.runtime.backends import tensorrt_backend

START_S = 60.0
TESTS = Path(__file__).parents[1]
# The command as it is, with a pipeline that needs no model.
WITH_VOXEL_PIPELINE = """
import sys
from occfusion_ros.ros.node import lifecycle_node, main
from helpers.rig import VoxelPipeline
lifecycle_node.load_pipeline = lambda parameters: VoxelPipeline()
sys.exit(main.main(["--ros-args", "-p", "cameras:=[]"]))
"""
WITH_ENDLESS_LOADING = WITH_VOXEL_PIPELINE.replace(
    "lambda parameters: VoxelPipeline()", "lambda parameters: print('loading', file=sys.stderr) or time.sleep(600)"
).replace("import sys", "import sys, time")


@pytest.fixture
def environment(ros_domain) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


def wait_for_line(process: subprocess.Popen, text: str) -> None:
    deadline, seen = time.monotonic() + START_S, ""
    while text not in seen:
        left = deadline - time.monotonic()
        assert left > 0 and process.poll() is None, f"waited for {text!r}, got: {seen}"
        if select.select([process.stderr], [], [], left)[0]:
            seen += os.read(process.stderr.fileno(), 4096).decode()


def shared_memory_of(process: subprocess.Popen) -> set[Path]:
    """Segments of the middleware that the process has mapped."""
    maps = Path(f"/proc/{process.pid}/maps").read_text().split()
    return {Path(word) for word in maps if word.startswith("/dev/shm/fastdds_") and "port" not in word}


IMPORTING = ["-X", "importtime", "-m", "occfusion_ros.ros.node.main"]


@pytest.mark.parametrize(
    "command, line, number",
    [
        (["-c", WITH_VOXEL_PIPELINE], "ready", signal.SIGINT),
        (["-c", WITH_VOXEL_PIPELINE], "ready", signal.SIGTERM),
        (["-c", WITH_ENDLESS_LOADING], "loading", signal.SIGTERM),
        (IMPORTING, " numpy\n", signal.SIGINT),
        (IMPORTING, " numpy\n", signal.SIGTERM),
        (IMPORTING, " rclpy.node\n", signal.SIGTERM),
        (IMPORTING, " occfusion_ros.ros.node.process\n", signal.SIGINT),
        (["-m", "occfusion_ros.ros.node.main"], "the fastest that runs here", signal.SIGINT),
    ],
    ids=lambda value: value.strip().split(".")[-1] if isinstance(value, str) else "",
)
def test_signals_end_it_cleanly(environment, number, command, line):
    """Both signals have one handler, so each moment is tried with one of them, and the first two with both.

    The second signal comes from whoever started it, as soon as the first one arrived.
    """
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        wait_for_line(process, line)
        segments = shared_memory_of(process)
        os.killpg(process.pid, number)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=START_S)
        said = [line for line in errors.decode().splitlines() if not line.startswith(("import time:", "[INFO]"))]
        assert (process.returncode, said[-1:]) == (0, ["occfusion_node: interrupted"]), said
        assert not [line for line in said if "Traceback" in line or "terminate" in line or "rror" in line], said
        assert not [path for path in segments if path.exists()], "a quarter of a gigabyte each"
    finally:
        process.kill()


@pytest.mark.parametrize("begun", [True, False])
def test_a_signal_while_the_thread_starts_waits_for_what_it_does(monkeypatch, begun):
    ended, done = threading.Event(), []

    class Interrupted(threading.Thread):
        def start(self):
            if begun:
                super().start()
            raise KeyboardInterrupt

    def serve(node):
        ended.wait(START_S)
        done.append("served")

    monkeypatch.setattr(process, "Thread", Interrupted)
    monkeypatch.setattr(process, "_serve", serve)
    node = SimpleNamespace(end=ended.set, destroy_node=lambda: done.append("destroyed"))
    with pytest.raises(KeyboardInterrupt):
        process._run(node)
    assert done in (["served"], ["destroyed"]) if begun else done == ["destroyed"], "never left at work"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-p", "lidar_depth:=0"], "lidar_depth"),
        (["-p", "image_transport:=theora"], "got 'theora'"),
        (["-p", "backend:=tensorflow"], "backend: expected one of auto, tensorrt, openvino, onnxruntime, torch, got"),
        (["-p", "precision:=fp64"], "precision: expected one of auto, fp32"),
        (["-p", "precision=fp32"], "cannot start: RCLInvalidROSArgsError: "),
        (["--params-file", "/nowhere/at/all.yaml"], "/nowhere/at/all.yaml"),
    ],
)
def test_what_cannot_start_says_why(ros_domain, monkeypatch, capfd, arguments, message):
    monkeypatch.setenv(PROFILE_VARIABLES[0], "")  # what runs sets a profile for its process
    code, said = process.run(["--ros-args", *arguments]), capfd.readouterr().err
    assert code == 1 and message in said and "Traceback" not in said, said


@pytest.mark.parametrize(
    "arguments, message",
    [(["-p", "model:=/nowhere/at/all"], "/nowhere/at/all"), (["--no-such-argument"], "--no-such-argument")],
)
def test_a_process_that_cannot_start_says_why(environment, arguments, message):
    command = [sys.executable, "-m", "occfusion_ros.ros.node.main", "--ros-args", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_tensorrt_on_a_machine_without_it_fails_in_one_sentence(environment):
    if not tensorrt_backend.unavailable_reason():
        pytest.skip("TensorRT runs here")
    command = [sys.executable, "-m", "occfusion_ros.ros.node.main", "--ros-args", "-p", "backend:=tensorrt"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
    lines = [line for line in done.stderr.splitlines() if "[ERROR]" in line or "[FATAL]" in line]
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    assert "cannot be configured: backend tensorrt: TensorRT " in lines[0]
    assert "Traceback" not in done.stderr


def test_engines_are_built_and_the_node_ends(environment, small_artifact):
    command = [
        sys.executable,
        "-m",
        "occfusion_ros.ros.node.main",
        "--ros-args",
        "-p",
        f"model:={small_artifact}",
        "-p",
        "build_only:=true",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_S)
    assert done.returncode == 0 and "model small from" in done.stderr, done.stderr


def test_a_node_that_is_killed_is_started_again(environment, tmp_path, monkeypatch):
    (tmp_path / "voxel_node.py").write_text(WITH_VOXEL_PIPELINE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]]))
    process, lines = replace(bringup({"respawn": "true"}).processes[0], module="voxel_node"), queue.SimpleQueue()
    with Supervisor(Bringup((process,)), lines.put) as supervisor:
        for _ in range(2):
            while "ready: model voxel-test" not in lines.get(timeout=START_S):
                pass
            pid = supervisor._children["occfusion"].pid
            os.kill(pid, signal.SIGKILL)
            assert supervisor.next_end(timeout=2.0) is None, "it is started again"
            assert supervisor._children["occfusion"].pid != pid


def test_help(environment, capsys):
    done = subprocess.run(
        [sys.executable, "-m", "occfusion_ros.ros.node.main", "--help"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=True,
    )
    assert "--params-file" in done.stdout
    parameters_page.main([])
    assert f"| `model` | `{NodeParameters().model}` |" in capsys.readouterr().out
