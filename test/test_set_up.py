"""The set-up is quiet: a line a step, all else in a log, of which a failure shows the end; with stand-in steps."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DRIVER = """
import sys
sys.path.insert(0, "tools")
import bootstrap
bootstrap.check_requirements = lambda: None
bootstrap.TICK_S = 0.05
NOISE = "import sys; print('Collecting torch'); print('ERROR: nuscenes-devkit requires numpy<2', file=sys.stderr)"
FAILS = "import sys; [print('line', i) for i in range(40)]; sys.exit('No space left on device')"
def python(code):
    return lambda: bootstrap.run(sys.executable, "-c", code)
def noted():
    return "a note for the user"
bootstrap.STEPS[:] = [("first", python(NOISE), []), ("second", {second}, ["input"])]
sys.exit(bootstrap.main())
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout of nothing but the set-up, with a virtual environment to keep stamps in."""
    for folder in ("tools", ".venv"):
        (tmp_path / folder).mkdir()
    shutil.copy(REPOSITORY / "tools/bootstrap.py", tmp_path / "tools")
    (tmp_path / "input").write_text("1")
    return tmp_path


def set_up(checkout: Path, second: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", DRIVER.replace("{second}", second)],
        cwd=checkout,
        text=True,
        timeout=60,
        **({"capture_output": True} | options),
    )


def test_a_step_is_a_line_with_its_time_and_what_commands_say_is_in_the_log(checkout):
    done = set_up(checkout, "noted")
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(
        r"Set-up 1/2: first \.\.\. done, \d+ s\nSet-up 2/2: second \.\.\. done, \d+ s\n"
        r"a note for the user\nSet-up finished in \d+ s\n",
        done.stdout,
    )
    log = (checkout / "out/set-up.log").read_text()
    assert "Collecting torch" in log and "ERROR: nuscenes-devkit" in log and f"$ {sys.executable} -c" in log
    assert set_up(checkout, "noted").stdout == "", "there is nothing left to do"
    (checkout / "input").write_text("2")
    assert set_up(checkout, "noted").stdout.startswith("Set-up 2/2: second ... done"), "only what depends on it"


@pytest.mark.parametrize(
    "second, reason",
    [
        ("python(FAILS)", "No space left on device"),
        ("lambda: bootstrap.run('no-such-command')", "No such file or directory: 'no-such-command'"),
    ],
)
def test_a_failure_shows_the_end_of_what_was_said_and_names_the_log(checkout, second, reason):
    done = set_up(checkout, second)
    assert done.returncode == 1
    assert re.search(r"Set-up 2/2: second \.\.\. failed, \d+ s\n$", done.stdout)
    assert reason in done.stderr and f"All of its output is in {checkout / 'out/set-up.log'}" in done.stderr
    assert "Run it again when that is mended" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 20 and "line 1\n" not in done.stderr
    again = set_up(checkout, "noted")
    assert again.returncode == 0 and "first" not in again.stdout, "it carries on where it stopped"


def test_where_the_log_cannot_be_written_it_is_said(checkout):
    (checkout / "out").write_text("in the way")
    done = set_up(checkout, "noted")
    assert done.returncode == 1 and "The set-up stopped: " in done.stderr and "Traceback" not in done.stderr


def test_on_a_terminal_the_seconds_count_up(checkout):
    ours, theirs = pty.openpty()
    done = set_up(
        checkout, "python('import time; time.sleep(0.5)')", capture_output=False, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\rSet-up 2/2: second \.\.\. \d+ s", shown)) >= 2
    assert re.search(r"\rSet-up 2/2: second \.\.\. done, \d+ s\r\n", shown)


@pytest.mark.parametrize(
    "said, goes_on",
    [
        ("ERROR: No matching distribution found for torch", True),
        ("ERROR: ResolutionImpossible: for help visit", True),
        ("ERROR: No space left on device", False),
    ],
)
def test_the_general_torch_follows_where_there_is_no_cpu_build(monkeypatch, tmp_path, said, goes_on):
    monkeypatch.syspath_prepend(REPOSITORY / "tools")
    import bootstrap

    monkeypatch.setattr(bootstrap, "has_gpu", lambda: False)
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log")
    monkeypatch.setattr(bootstrap, "PYTHON", tmp_path / "python")
    (tmp_path / "python").write_text(f"#!/bin/sh\necho '{said}'; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    if goes_on:
        assert "PIP_EXTRA_INDEX_URL" in bootstrap.install_torch()
    else:
        with pytest.raises(bootstrap.CommandError, match=said):
            bootstrap.install_torch()
