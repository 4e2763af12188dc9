"""Compiling ahead: no frame waits for it."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
FIRST_FRAMES = """
import importlib, pkgutil
import numpy as np
import occfusion_ros.memory as package
from helpers.voxel_world import GRID, VoxelWorld, pose
from numba.core.registry import CPUDispatcher
from occfusion_ros.memory.memory import MEMORIES, Memory
from occfusion_ros.memory.occlusion import Occlusion
from occfusion_ros.memory.warm_up import warm_up

modules = [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]
compiled = {v.__qualname__: v for m in modules for v in vars(m).values() if isinstance(v, CPUDispatcher)}
warm_up()
before = {name: len(function.signatures) for name, function in compiled.items()}
assert sum(before.values()) > 5, before
for settings in MEMORIES.values():
    memory = Memory(GRID, settings)
    for i in [*range(10), 9]:
        memory.answer(*VoxelWorld.room().frame(1_700_000_000_000_000_000 + i * 10**10, pose(0.2 * i)), "occluded")
Occlusion(GRID).answer(*VoxelWorld.room().frame(1, pose(0))[:2])
print({name for name, function in compiled.items() if len(function.signatures) != before[name]} or "nothing")
"""


def test_nothing_is_compiled_after_it():
    done = subprocess.run([sys.executable, "-c", FIRST_FRAMES], capture_output=True, text=True, cwd=TESTS)
    assert done.stdout.strip() == "nothing", done.stdout + done.stderr
