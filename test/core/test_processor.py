"""What the processor is, and how many of its cores a process may use, on emulated machines."""

import math
import os
from pathlib import Path

import pytest

from occfusion_ros.core import processor
from occfusion_ros.core.processor import Processor, cpu_quota, this_processor, usable_cores


@pytest.mark.parametrize(
    ("machine", "instructions", "saturates", "bfloat16"),
    [
        ("x86_64", "sse4_1 avx2 fma", True, False),
        ("x86_64", "avx2 avx512f avx512bw avx512vl", True, False),  # Skylake
        ("x86_64", "avx2 avx_vnni", False, False),  # Alder Lake
        ("x86_64", "avx2 avx512f avx512_vnni", False, False),  # Cascade Lake
        ("x86_64", "avx2 avx512f avx512_vnni avx512_bf16", False, True),  # Zen 4
        ("AMD64", "", True, False),  # nobody says what it has
        ("aarch64", "asimd", False, False),  # Cortex-A72
        ("aarch64", "asimd asimddp i8mm bf16", False, True),
    ],
)
def test_instructions_decide_what_is_exact(machine, instructions, saturates, bfloat16):
    made = Processor("any", machine, frozenset(instructions.split()))
    assert (made.saturates, made.has_bfloat16) == (saturates, bfloat16)


def test_a_file_of_the_system_is_read(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Made Up 3000\nflags\t\t: fpu avx2 avx_vnni\n\n"
        "processor\t: 1\nmodel name\t: Made Up 3000\nflags\t\t: fpu avx2\n"
    )
    found = this_processor(file)
    assert found.name == "Made Up 3000"
    assert found.instructions == {"fpu", "avx2"}  # what every core has
    assert found.notable == ("avx2",)
    file.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n\nModel\t\t: A Board Rev 1\n")
    assert this_processor(file).name == "A Board Rev 1" and "asimddp" in this_processor(file).instructions
    assert this_processor(tmp_path / "none").instructions == frozenset()


@pytest.fixture
def system(tmp_path, monkeypatch) -> Path:
    """An emulated machine of eight processors, two to a core, without limits."""
    for number in range(8):
        folder = tmp_path / f"cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    monkeypatch.setattr(processor, "TOPOLOGY", tmp_path)
    monkeypatch.setattr(processor, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(processor, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def write(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(value + "\n")


def test_without_limits_every_core_counts_once(system, monkeypatch):
    assert cpu_quota() == math.inf and usable_cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    assert usable_cores() == 2
    monkeypatch.setattr(processor, "TOPOLOGY", system / "none")  # a system that does not tell
    assert usable_cores() == 3


@pytest.mark.parametrize(
    ("own", "groups", "quota", "cores"),
    [
        ("0::/", {"": {"cpu_max": "200000 100000"}}, 2, 2),  # a container, version 2
        ("0::/", {"": {"cpu_max": "50000 100000"}}, 0.5, 1),
        ("0::/", {"": {"cpu_max": "150000 100000"}}, 1.5, 2),
        ("0::/", {"": {"cpu_max": "max 100000"}}, math.inf, 4),
        ("0::/", {}, math.inf, 4),  # the top of a machine has no such file
        (
            "0::/robot.slice/node.service",
            {"robot.slice": {"cpu_max": "100000 100000"}, "robot.slice/node.service": {"cpu_max": "300000 100000"}},
            1,
            1,
        ),
        ("0::/not/seen/from/here", {"": {"cpu_max": "200000 100000"}}, 2, 2),
        (
            "5:cpu,cpuacct:/docker/0a",
            {"cpu,cpuacct/docker/0a": {"cpu_cfs_quota_us": "300000", "cpu_cfs_period_us": "100000"}},
            3,
            3,
        ),  # version 1
        ("5:cpu,cpuacct:/docker/0a", {"cpu": {"cpu_cfs_quota_us": "100000", "cpu_cfs_period_us": "50000"}}, 2, 2),
        ("5:cpu,cpuacct:/", {"cpu": {"cpu_cfs_quota_us": "-1", "cpu_cfs_period_us": "100000"}}, math.inf, 4),
        ("3:memory:/x\n2:cpuset:/", {"memory/x": {"cpu_max": "1 1"}}, math.inf, 4),  # not about time
        ("0::/", {"": {"cpu_max": "what is this"}}, math.inf, 4),
    ],
)
def test_the_quota_of_control_groups_counts(system, own, groups, quota, cores):
    (system / "own").write_text(own + "\n")
    for name, values in groups.items():
        write(system / "cgroup" / name, **values)
    assert cpu_quota() == quota and usable_cores() == cores
