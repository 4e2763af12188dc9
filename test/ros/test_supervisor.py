"""The supervisor with tiny processes: nothing it starts may outlive it."""

import os
import queue
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from occfusion_ros.ros.bringup.processes import Bringup, Process
from occfusion_ros.ros.without_ros.supervisor import Supervisor

SLEEPER = "import time\nprint('ready', flush=True)\ntime.sleep(600)\n"
STUBBORN = (
    "import signal, time\n"
    "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
    "print('ready', flush=True)\ntime.sleep(600)\n"
)
PARENT = (
    "import os, subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "with open(os.environ['PID_FILE'], 'w') as file: file.write(str(child.pid))\n"
    "print('ready', flush=True)\ntime.sleep(600)\n"
)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Makes a process of the table from source code."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(name: str, source: str, required: bool = False) -> Process:
        (tmp_path / f"{name}.py").write_text(source)
        return Process(name, "occfusion_ros", name, module=name, required=required)

    return make


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_end(pid: int, seconds: float = 20.0) -> bool:
    """True once the process has ended (it need not be a child of ours)."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_run_ends_with_a_required_process_and_returns_its_code(script, capfd):
    plan = Bringup((script("idle", SLEEPER), script("main", "print('hello'); raise SystemExit(3)", required=True)))
    with Supervisor(plan) as supervisor:
        assert supervisor.run() == 3
        pids = [child.pid for child in supervisor._children.values()]
    assert not any(map(alive, pids))
    assert "[main] hello" in capfd.readouterr().out


def test_run_goes_on_when_another_process_ends_well_and_stops_when_it_fails(script):
    plan = Bringup(
        (
            script("idle", SLEEPER, required=True),
            script("good", ""),
        )
    )
    with Supervisor(plan) as supervisor:
        process, code = supervisor.next_end(timeout=30)
        assert (process.name, code) == ("good", 0)
        assert supervisor.next_end(timeout=0.01) is None
    with Supervisor(Bringup((script("idle", SLEEPER, required=True), script("bad", "1 / 0")))) as supervisor:
        assert supervisor.run() == 1


def test_a_crash_is_reported_like_a_shell_does(script):
    crash = script("crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", required=True)
    with Supervisor(Bringup((crash,))) as supervisor:
        assert supervisor.run() == 128 + signal.SIGSEGV


class Lines:
    """What the processes say; waits for a line instead of sleeping."""

    def __init__(self) -> None:
        self._lines = queue.SimpleQueue()

    def __call__(self, line: str) -> None:
        self._lines.put(line)

    def wait(self, text: str, times: int = 1) -> None:
        while times:
            times -= text in self._lines.get(timeout=30)


def test_a_process_that_ignores_signals_is_killed(script, monkeypatch):
    monkeypatch.setattr(
        "occfusion_ros.ros.without_ros.supervisor.LADDER",
        ((signal.SIGINT, 0.2), (signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0)),
    )
    lines = Lines()
    with Supervisor(Bringup((script("stubborn", STUBBORN),)), lines) as supervisor:
        lines.wait("[stubborn] ready")
        child = supervisor._children["stubborn"]
    assert not alive(child.pid) and child.returncode == -signal.SIGKILL


def test_what_a_process_started_ends_too(script, tmp_path, monkeypatch):
    pid_file = tmp_path / "pid"
    monkeypatch.setenv("PID_FILE", str(pid_file))
    lines = Lines()
    with Supervisor(Bringup((script("parent", PARENT),)), lines):
        lines.wait("ready")
        grandchild = int(pid_file.read_text())
        assert alive(grandchild)
    assert wait_for_end(grandchild)


SUPERVISE = """
import sys
from occfusion_ros.ros.bringup.processes import Bringup, Process
from occfusion_ros.ros.without_ros.supervisor import Supervisor
with Supervisor(Bringup((Process("parent", "occfusion_ros", "parent", module="parent", required=True),))) as supervisor:
    print("pid", supervisor._children["parent"].pid, flush=True)
    sys.exit(supervisor.run())
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_ending_the_supervisor_ends_everything(script, tmp_path, monkeypatch, number, code):
    script("parent", PARENT if number != signal.SIGKILL else SLEEPER)
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISE], stdout=subprocess.PIPE, text=True)
    pids = []
    for line in supervisor.stdout:
        if line.startswith("pid"):
            pids.append(int(line.split()[1]))
        if "ready" in line:
            break
    if number != signal.SIGKILL:
        pids.append(int((tmp_path / "pid").read_text()))
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=30) == code
    supervisor.stdout.close()
    assert all(map(wait_for_end, pids))


def test_a_program_that_is_missing_stops_what_was_already_started(script):
    plan = Bringup((script("idle", SLEEPER), Process("rviz", "no_such_package", "rviz2")))
    supervisor = Supervisor(plan)
    with pytest.raises(FileNotFoundError, match="rviz needs the ROS package no_such_package"):
        supervisor.__enter__()
    assert not alive(supervisor._children["idle"].pid)


def test_the_time_to_stop_is_that_of_the_slowest_not_the_sum(script, monkeypatch):
    ladder = ((signal.SIGINT, 1.0), (signal.SIGKILL, 10.0))
    monkeypatch.setattr("occfusion_ros.ros.without_ros.supervisor.LADDER", ladder)
    plan = Bringup(tuple(script(f"stubborn_{i}", STUBBORN) for i in range(4)))
    lines = Lines()
    with Supervisor(plan, lines) as supervisor:
        lines.wait("ready", times=4)
        began = time.monotonic()
        supervisor.stop()
    assert time.monotonic() - began < 3.5
