"""Forks, in a process of their own: one that has loaded every engine's library does not survive being forked."""

import subprocess
import sys
from pathlib import Path


def test_forked_processes_resample():
    cases = Path(__file__).with_name("forking.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)]
    done = subprocess.run(command, cwd=cases.parents[2], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
