"""Ctrl-C to every command that a launch starts: at any moment, twice, to the whole group: one line, no traceback."""

import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

TRANSFORM = ("without_ros.static_transform_publisher", "--frame-id", "a", "--child-frame-id", "b")
COMMANDS = [
    ("without_ros.play_bag", "{bag}", "--loop", "--wait-for-node", "/nobody"),
    TRANSFORM,
    ("tools.snapshot", "--count", "0"),
    ("tools.snapshot",),
    ("without_ros.supervisor", "--model", "/nowhere", "--autostart", "false"),
]
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> str:
    from helpers.tiny_nuscenes import SCENE, TinyRoot

    from occfusion_ros.datasets.nuscenes import NuScenesReader
    from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene

    folder = tmp_path_factory.mktemp("bags")
    convert_scene(NuScenesReader(TinyRoot(folder / "root").root), SCENE, folder)
    return str(folder / SCENE)


def interrupted(command: tuple[str, ...], moment_s: float) -> tuple[int, str]:
    """Exit code and standard error of a command that gets Ctrl-C twice, so long after it has taken over signals."""
    code = (
        f"import sys; sys.argv[:] = {list(command)!r}; from occfusion_ros.ros.{command[0]} import main; "
        "print('begun', flush=True); sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "begun\n", process.stderr.read()
        select.select([], [], [], moment_s)  # what is interrupted is the point, not when
        os.killpg(process.pid, signal.SIGINT)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.fixture(scope="module")
def ends(bag, ros_domain) -> dict[float, list[tuple[int, str]]]:
    """By moment: how each command ended; they wait beside each other."""
    commands = [tuple(word.format(bag=bag) for word in command) for command in COMMANDS]
    with ThreadPoolExecutor(len(commands)) as pool:
        return {at_s: list(pool.map(partial(interrupted, moment_s=at_s), commands)) for at_s in (0.1, 4.0)}


@pytest.mark.parametrize("moment_s", [0.1, 4.0], ids=["importing", "running"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_it_ends_with_one_line(ends, command, moment_s):
    code, errors = ends[moment_s][COMMANDS.index(command)]
    lines = [line for line in errors.splitlines() if "interrupted" in line]
    assert len(lines) == 1 and "Traceback" not in errors, errors
    assert code in (0, 130), errors
