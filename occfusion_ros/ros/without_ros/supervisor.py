"""Starts the processes of a bring-up where there is no `ros2 launch`, and stops them all together."""

import argparse
import ctypes
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...core.command import parser_of
from ...core.errors import OccFusionError
from ..bringup.processes import ARGUMENTS, Bringup, Process, bringup
from ..startup.interrupts import run_until_interrupted

logger = logging.getLogger(__name__)

# How a process is asked to end: signal, seconds until the next one.
LADDER = ((signal.SIGINT, 8.0), (signal.SIGTERM, 4.0), (signal.SIGKILL, 4.0))
_PR_SET_PDEATHSIG = 1
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # resolved here: little may be done between fork and exec


def _print(line: str) -> None:
    print(line, flush=True)


class Supervisor:
    """Runs processes, each in a group of its own, until the `with` block ends; none outlives it.

    Args:
        plan: what to start.
        show: called, from several threads, with each line of output, labeled with the process it came from.
    """

    def __init__(self, plan: Bringup, show: Callable[[str], None] = _print) -> None:
        self.plan = plan
        self._show = show
        self._children: dict[str, subprocess.Popen] = {}
        self._readers: list[threading.Thread] = []
        self._events: queue.SimpleQueue = queue.SimpleQueue()  # its put may be called from a signal handler

    def __enter__(self) -> "Supervisor":
        try:
            for process in self.plan.processes:
                self.start(process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, process: Process) -> None:
        """Start one more process."""
        child = subprocess.Popen(
            command(process),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.plan.environment},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._children[process.name] = child
        reader = threading.Thread(target=self._relay, args=(process.name, child), daemon=True)
        self._readers.append(reader)
        reader.start()
        threading.Thread(target=self._watch, args=(process, child), daemon=True).start()

    def _relay(self, name: str, child: subprocess.Popen) -> None:
        for line in child.stdout:
            self._show(f"[{name}] {line.rstrip()}")

    def _watch(self, process: Process, child: subprocess.Popen) -> None:
        self._events.put((process, child.wait()))

    def child(self, name: str) -> subprocess.Popen:
        """The running process of that name."""
        return self._children[name]

    def next_end(self, timeout: float | None = None) -> tuple[Process, int] | None:
        """Wait for a process to end for good: it and its exit code, or None when `timeout` seconds have passed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                process, code = self._events.get(timeout=None if deadline is None else deadline - time.monotonic())
            except (queue.Empty, ValueError):  # the time is up, or was when it was asked for
                return None
            if process is None or not process.comes_again(code):
                return process, code
            logger.warning("%s was ended by signal %d, starting it again", process.name, -code)
            self.start(process)

    def run(self) -> int:
        """Wait until a required process ends, any process fails, or SIGINT or SIGTERM arrives.

        Returns:
            exit code: that of the process; 128 + the signal's number for a signal.
        """
        previous = {
            number: signal.signal(number, lambda got, _: self._events.put((None, 128 + got)))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            while True:
                process, code = self.next_end()
                if process is None:
                    logger.info("interrupted: stopping everything")
                    previous = {}  # what ends is not interrupted again
                    return code
                logger.info("%s ended with exit code %d", process.name, code)
                if process.ends_everything(code):
                    return code if code >= 0 else 128 - code
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End all processes and what they started, last started first; safe to call twice."""
        for number, patience in LADDER:
            running = [child for child in reversed(self._children.values()) if child.poll() is None]
            for child in running:
                _signal_group(child, number)
            deadline = time.monotonic() + patience
            for child in running:
                _wait(child, deadline - time.monotonic())
        for child in self._children.values():
            _signal_group(child, signal.SIGKILL)  # what a child left behind in its group
        for reader in self._readers:
            reader.join(timeout=2.0)


def command(process: Process) -> list[str]:
    """The command line that starts a process."""
    start = [sys.executable, "-m", process.module] if process.module else [_installed(process)]
    ros = ["--log-level", process.log_level]
    if process.namespace:
        ros += ["-r", f"__ns:=/{process.namespace.strip('/')}"]
    for source, target in process.remappings:
        ros += ["-r", f"{source}:={target}"]
    for entry in process.parameters:
        if isinstance(entry, str):
            ros += ["--params-file", entry]
        else:
            for name, value in entry.items():
                ros += ["-p", f"{name}:={json.dumps(value)}"]  # JSON quoting keeps strings strings
    return [*start, *process.arguments, "--ros-args", *ros]


def _installed(process: Process) -> str:
    """Path of an executable of another package."""
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        path = Path(get_package_prefix(process.package)) / "lib" / process.package / process.executable
    except (PackageNotFoundError, OSError) as error:
        raise FileNotFoundError(f"{process.name} needs the ROS package {process.package}: {error}") from error
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"{process.name}: expected an executable at {path}")
    return str(path)


def _die_with_parent() -> None:
    """Between fork and exec: end the child when the supervisor is killed outright (Linux)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal_group(child: subprocess.Popen, number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):  # the group is gone
        pass


def _wait(child: subprocess.Popen, seconds: float) -> None:
    try:
        child.wait(max(seconds, 0))
    except subprocess.TimeoutExpired:
        pass


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    return run_until_interrupted(lambda: partial(_run, _parser(), argv), "supervisor")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "python -m occfusion_ros.ros.without_ros.supervisor",
        "Start the node and what goes with it, as `ros2 launch occfusion_ros occ.launch.py` does.",
    )
    for argument in ARGUMENTS:
        parser.add_argument(
            f"--{argument.name}",
            default=argument.default,
            choices=argument.choices or None,
            help=f"{argument.description} (default: {argument.default or 'not set'})",
        )
    return parser


def _run(parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    options = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="[supervisor] %(message)s")
    try:
        plan = bringup(options)
        for warning in plan.warnings:
            logger.warning("%s", warning)
        with Supervisor(plan) as supervisor:
            return supervisor.run()
    except (ValueError, OccFusionError, FileNotFoundError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
