"""What the doctor finds out about this machine, without a running system."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...core.errors import OccFusionError
from ...core.processor import cpu_quota, this_processor, usable_cores
from ..startup.dds import PROFILE_VARIABLES, profile_environment

OK, WARN, FAIL = "ok", "warn", "FAIL"
SHARED_MEMORY = Path("/dev/shm")
SEGMENT = 268435456  # bytes that a process reserves under config/fastdds_shm.xml
SOCKET_BUFFER = Path("/proc/sys/net/core/rmem_max")
WANTED_BUFFER = 2 << 20  # bytes; a camera image in fragments
MB = 1e6


class Finding(NamedTuple):
    """One line of the doctor's report; `advice` is what to do about it."""

    level: str
    subject: str
    text: str
    advice: str = ""


def check_middleware() -> Iterator[Finding]:
    """Which middleware runs, and whether big messages get through it."""
    from rclpy.utilities import get_rmw_implementation_identifier

    name = get_rmw_implementation_identifier()
    if "fastrtps" not in name:
        yield Finding(
            WARN,
            "middleware",
            f"{name}; this package was tried with rmw_fastrtps_cpp only",
            "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp",
        )
        return
    yield Finding(OK, "middleware", name)
    files = [(variable, os.environ[variable]) for variable in PROFILE_VARIABLES if os.environ.get(variable)]
    if not files:
        ((variable, path),) = profile_environment().items()
        yield Finding(
            WARN,
            "middleware",
            "this shell sets no profile for big messages; the nodes of this package use "
            "one, drivers, players and RViz started from here lose camera frames",
            f"export {variable}={path}",
        )
    for variable, path in files:
        if Path(path).is_file():
            yield Finding(OK, "middleware", f"profile {path}")
        else:
            yield Finding(FAIL, "middleware", f"{variable} names {path}, which does not exist", f"unset {variable}")


def check_shared_memory(folder: Path = SHARED_MEMORY) -> Finding:
    """Whether there is room for a process's segment."""
    if not folder.is_dir():
        return Finding(WARN, "shared memory", f"no {folder} on this system: big messages go over sockets, slowly")
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    segments = sum(file.name.startswith("fastdds_") and not file.name.endswith("_el") for file in folder.iterdir())
    text = f"{free / MB:.0f} MB free in {folder}, {segments} segments of Fast DDS"
    if free >= 2 * SEGMENT:
        return Finding(OK, "shared memory", text)
    return Finding(
        FAIL if free < SEGMENT else WARN,
        "shared memory",
        f"{text}; each process reserves {SEGMENT / MB:.0f} MB",
        "remove what killed processes left: fastdds shm clean; in a container: --shm-size=512m",
    )


def check_sockets(file: Path = SOCKET_BUFFER) -> Finding:
    """Whether a socket takes a message that does not go through shared memory."""
    if not file.is_file():
        return Finding(OK, "sockets", f"no {file} on this system: not checked")
    size = int(file.read_text())
    text = f"receive buffers of at most {size / MB:.1f} MB"
    if size >= WANTED_BUFFER:
        return Finding(OK, "sockets", text)
    return Finding(
        WARN,
        "sockets",
        f"{text}; images from other machines need {WANTED_BUFFER / MB:.1f} MB",
        f"sudo sysctl -w net.core.rmem_max={WANTED_BUFFER}",
    )


def check_processor() -> Iterator[Finding]:
    """The processor, how much of it there is to use, and which precisions it calculates right."""
    processor, cores = this_processor(), usable_cores()
    name = ", ".join([processor.name, *processor.notable])
    if (quota := cpu_quota()) < (os.cpu_count() or 1):
        yield Finding(
            WARN if quota < 1 else OK,
            "processor",
            f"{name}; control groups leave {quota:g} of {os.cpu_count()} processors, engines get {cores} threads",
            "give the container more time: --cpus=4" if quota < 1 else "",
        )
    else:
        yield Finding(OK, "processor", f"{name}; engines get {cores} threads (0 in the parameter 'threads')")
    eight = (
        "INT8 with weights of 8 bits would saturate: OpenVINO refuses it, ONNX Runtime calculates it otherwise, slower"
    )
    yield Finding(
        OK,
        "precisions",
        "fp32 and INT8 as export.quantize writes it are right; "
        f"{eight if processor.saturates else 'so is INT8 with weights of 8 bits'}; bf16 "
        f"{'is calculated by the processor' if processor.has_bfloat16 else 'is not taken: it has none'}",
    )


def check_choice(model: str) -> Finding:
    """What backend and precision `auto` stands for."""
    from ...runtime.artifact import load_artifact
    from ...runtime.backends.registry import BACKENDS, candidates

    try:
        best, *others = candidates("auto")
        offered = BACKENDS[best]().precisions(load_artifact(model).contract.fuser)
    except OccFusionError as error:
        return Finding(FAIL, "auto", str(error), "correct the parameter 'model', or install a backend")
    text = f"backend auto takes {best}, the fastest that runs here, in {offered[0]} (of {', '.join(offered)})"
    return Finding(OK, "auto", f"{text}; if it fails: {', '.join(others)}" if others else text)


def check_model(model: str) -> Finding:
    """Whether the artifact is complete."""
    from ...runtime.artifact import load_artifact

    try:
        artifact = load_artifact(model)
    except OccFusionError as error:
        return Finding(FAIL, "model", str(error), "correct the parameter 'model'")
    return Finding(OK, "model", f"{artifact.contract.model_id} in {artifact.folder}")


def check_backends(wanted: str) -> Iterator[Finding]:
    """Which backends run here, and whether the wanted one does."""
    from ...runtime.backends.registry import BACKENDS, unavailable_reason

    for name in BACKENDS:
        reason = unavailable_reason(name)
        if not reason:
            yield Finding(OK, "backend", f"{name} runs here")
        elif name == wanted:
            yield Finding(
                FAIL,
                "backend",
                f"{name} is wanted and does not run here: {reason}",
                "install it, or set the parameter 'backend' to auto",
            )
        else:
            yield Finding(OK, "backend", f"{name} does not run here, and need not: {reason}")
