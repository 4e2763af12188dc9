"""Whenever Ctrl-C comes, and however often: a command ends with one line, tidied up, and the right exit code."""

import signal
import subprocess
import sys
import threading

import pytest

from occfusion_ros.ros.startup.interrupts import run_until_interrupted

START = """
import os, signal, sys, time
from occfusion_ros.ros.startup import interrupts

def wait():
    print("now", flush=True)
    while True:  # not one long sleep: a signal that comes just before it begins would be seen only after it
        time.sleep(0.05)

"""
LOADING = (
    START
    + """
def load():
    try:
        wait()
    except BaseException:
        print("a library made something else of it")
sys.exit(interrupts.run_until_interrupted(load, "tool"))
"""
)
RUNNING = (
    START
    + """
def run():
    try:
        wait()
    finally:
        os.killpg(0, signal.SIGINT)  # as whoever started it does after the terminal
        os.killpg(0, signal.SIGTERM)
        print("tidied up", flush=True)
sys.exit(interrupts.run_until_interrupted(lambda: run, "tool"))
"""
)
ENDING = (
    RUNNING.replace("sys.exit(", "code = ").replace(', "tool"))', ', "tool")')
    + """
import atexit
atexit.register(lambda: os.killpg(0, signal.SIGINT))
os.killpg(0, signal.SIGINT)
sys.exit(code)
"""
)
TRANSLATED = RUNNING.replace("finally:", "except KeyboardInterrupt:\n        raise ImportError('no x')\n    finally:")
DROPPED = (
    START
    + """
class Thing:
    def __del__(self):
        wait()

def run():
    Thing()
    while True:
        time.sleep(0.05)
sys.exit(interrupts.run_until_interrupted(lambda: run, "tool"))
"""
)
INSISTED = (
    START
    + """
interrupts.INSISTING_S = 0.0
def run():
    try:
        wait()
    finally:
        wait()
sys.exit(interrupts.run_until_interrupted(lambda: run, "tool"))
"""
)
LATE = (
    START
    + """
code = interrupts.run_until_interrupted(lambda: lambda: 3, "tool")
import atexit
atexit.register(lambda: print("done", flush=True))

class Late:
    def __del__(self):
        os.killpg(0, signal.SIGINT)
late = Late()  # until the interpreter ends
sys.exit(code)
"""
)


def run(code: str, numbers: tuple[int, ...] = (), **options) -> subprocess.CompletedProcess:
    """Run a program; each time that it says "now" the next signal is sent to its group."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    watchdog = threading.Timer(60.0, process.kill)
    watchdog.start()
    try:
        for number in numbers:
            assert process.stdout.readline() == "now\n", process.stderr.read()
            process.send_signal(number)
        return subprocess.CompletedProcess(code, 0, *process.communicate()), process.wait()
    finally:
        watchdog.cancel()
        process.kill()


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "program, numbers, out",
    [
        (LOADING, 1, ""),
        (RUNNING, 1, "tidied up\n"),
        (ENDING, 1, "tidied up\n"),
        (TRANSLATED, 1, "tidied up\n"),
        (DROPPED, 1, ""),
        (INSISTED, 2, ""),
    ],
    ids=["loading", "running", "ending", "translated", "dropped", "insisted"],
)
def test_one_line_and_the_exit_code(program, numbers, out, number, code):
    done, got = run(program, (number,) * numbers)
    assert (done.stderr, done.stdout, got) == ("tool: interrupted\n", out, code)


def test_a_command_that_ends_by_itself_keeps_its_exit_code_while_python_ends():
    done, code = run(LATE)
    assert (done.stdout, done.stderr, code) == ("done\n", "", 3)


def test_jobs_in_the_background_stay_uninterrupted():
    """A shell has them ignore SIGINT, so that Ctrl-C reaches what is in front."""
    code = RUNNING.replace("while True:", "os.kill(os.getpid(), signal.SIGINT)\n    if False:")
    done, code = run(
        code.replace("os.killpg(0, signal.SIGTERM)", ""),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert (done.stdout, done.stderr, code) == ("now\ntidied up\n", "", 0)


def test_in_this_process_the_handlers_come_back_and_errors_pass():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert run_until_interrupted(lambda: lambda: 7, "tool") == 7
    with pytest.raises(ZeroDivisionError):
        run_until_interrupted(lambda: lambda: 1 // 0, "tool")
    with pytest.raises(ImportError):
        run_until_interrupted(lambda: __import__("no_such_package"), "tool")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
