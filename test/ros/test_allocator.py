"""Memory is kept between frames and given back when it is asked for."""

import ctypes
import subprocess
import sys

import pytest

from occfusion_ros.ros.startup import allocator
from occfusion_ros.ros.startup.dds import PROFILE_VARIABLES, use_shared_memory_profile

CODE = """
from occfusion_ros.ros.startup.allocator import give_memory_back, keep_memory_together
keep_memory_together()

import os
import threading
import numpy as np
from benchmarks.load.harness import sample

def use():
    for array in [np.ones(8 << 20, np.uint8) for _ in range(16)]:
        del array

def used():
    return sample(os.getpid()).anonymous_mib

before = used()
for _ in range(3):
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
kept = used() - before
give_memory_back()
print(kept, used() - before)
"""


@pytest.mark.skipif(not hasattr(allocator._libc, "mallopt"), reason="the C library is not glibc")
def test_freed_memory_is_kept_for_the_next_thread_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    kept, left = map(float, done.stdout.split())
    assert 100 < kept < 150, "128 MiB, from one heap"
    assert left < 20


def test_what_gets_dds_ready_leaves_the_limits_as_they_are_documented(monkeypatch):
    """The node calls both, a tool only the second: one set of limits for all."""

    class Library:
        def __init__(self):
            self.options = {}

        def mallopt(self, option: int, value: int) -> int:
            self.options[option] = value
            return 1

    def limits(*calls) -> dict[int, int]:
        library = Library()
        monkeypatch.setattr(allocator, "_libc", library)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_: library)
        for call in calls:
            call()
        return library.options

    monkeypatch.setenv(PROFILE_VARIABLES[0], "mine.xml")
    documented = limits(allocator.keep_memory_together)
    assert documented == {-8: 1, -1: 256 << 20, -3: 32 << 20}
    assert limits(use_shared_memory_profile) == documented
    assert limits(allocator.keep_memory_together, use_shared_memory_profile) == documented


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(allocator, "_libc", object())
    allocator.keep_memory_together()
    allocator.give_memory_back()
