"""The processor that this process runs on: its name, its instructions, and how many of its cores there are to use."""

import math
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
TOPOLOGY = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")  # how many cores a container or a service may use
OWN_CGROUPS = Path("/proc/self/cgroup")

X86 = ("x86_64", "amd64", "i686", "i386")
VNNI = ("avx512_vnni", "avx_vnni")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
NOTABLE = (
    "avx2",
    "avx512f",
    *VNNI,
    "amx_int8",
    "avx512_bf16",
    "amx_bf16",
    "avx512_fp16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)


@dataclass(frozen=True)
class Processor:
    """What engines must know of a processor.

    Attributes:
        name: for people. machine: architecture, as `platform.machine` says it.
        instructions: extensions by Linux' names; empty where the system does not tell.
    """

    name: str
    machine: str
    instructions: frozenset[str] = frozenset()

    @property
    def saturates(self) -> bool:
        """Whether sums of two products of 8 bits are cut off at 16 bits: x86 without VNNI; so it is if nobody knows."""
        return self.machine.lower() in X86 and self.instructions.isdisjoint(VNNI)

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies in bfloat16 itself; emulated it is slower than float32."""
        return not self.instructions.isdisjoint(BFLOAT16)

    @property
    def notable(self) -> tuple[str, ...]:
        """The instructions that make a difference here."""
        return tuple(name for name in NOTABLE if name in self.instructions)


def this_processor(cpuinfo: Path = CPUINFO) -> Processor:
    """The processor of this machine, by `/proc/cpuinfo`."""
    try:
        text = cpuinfo.read_text()
    except OSError:
        text = ""
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(\S.*)$", text, re.MULTILINE)
    found = [set(line.split()) for line in re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)]
    instructions = frozenset(set.intersection(*found)) if found else frozenset()  # cores may differ
    return Processor(
        name[1].strip() if name else platform.processor() or platform.machine(), platform.machine(), instructions
    )


def usable_cores() -> int:
    """Physical cores that this process may use, 1 or more: by its affinity and by the quota of its control groups.

    What the machine has (`os.cpu_count`) says nothing in a container, and a second thread of a core gains an engine
    nothing.
    """
    try:
        processors = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        processors = set(range(os.cpu_count() or 1))
    cores = {_first_of_core(processor) for processor in processors}
    return max(1, math.ceil(min(len(cores), cpu_quota())))


def _first_of_core(processor: int) -> str:
    """The processors that share a core with this one, as Linux writes them."""
    try:
        return (TOPOLOGY / f"cpu{processor}/topology/thread_siblings_list").read_text().strip()
    except OSError:
        return str(processor)


def cpu_quota() -> float:
    """Processors' worth of time that the control groups of this process leave it; infinite without a limit."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return math.inf
    return min((limit for line in lines for limit in _limits(*line.split(":", 2))), default=math.inf)


def _limits(_: str, controllers: str, path: str) -> Iterator[float]:
    """Limits of a control group and of those above it; version 2 has no controllers in its line."""
    mounts = [CGROUPS / controllers, CGROUPS / "cpu"] if "cpu" in controllers.split(",") else [CGROUPS]
    if controllers and len(mounts) == 1:
        return
    mount = next((folder for folder in mounts if folder.is_dir()), CGROUPS)
    folder = mount / path.lstrip("/")  # which is not there where a container sees its own group as the top
    for group in (folder, *folder.parents):
        yield from _limit(group)
        if group == mount:
            return


def _limit(group: Path) -> Iterator[float]:
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if float(quota) > 0:  # -1 is no limit
            yield float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # none, or "max"
        return
