"""What the node reports about transforms, model and memory."""

import os

from ...core.labels import SemanticClass
from ..health.diagnostics import ERROR, OK, WARN, TaskStatus
from ..health.statistics import Statistics
from ..transforms.buffer import TransformBuffer
from .watchdog import WatchedPipeline, cuda_in_use

MB = 1e6


class TransformHealth:
    """Whether all transforms were there when they were needed."""

    def __init__(self, statistics: Statistics, transforms: TransformBuffer) -> None:
        self._statistics, self._transforms, self._seen = statistics, transforms, statistics.count("transform")

    def __call__(self) -> TaskStatus:
        """Judged by what happened since the last call."""
        count, error = self._statistics.count("transform"), self._statistics.last_errors.get("transform", "")
        new, self._seen = count - self._seen, count
        values = {"refused": count, "ignored": self._transforms.ignored, "last_error": error}
        return TaskStatus(ERROR if new else OK, f"{new} lookups refused: {error}" if new else "as needed", values)


def model_health(pipeline: WatchedPipeline, classes: tuple[SemanticClass, ...]) -> TaskStatus:
    """What runs, with which classes it answers, and whether it is what should."""
    values = {"model": pipeline.contract.model_id, "backend": pipeline.backend_name, "fell_back": pipeline.fell_back}
    values["classes"] = ", ".join(each.name for each in classes)
    if pipeline.fell_back:
        return TaskStatus(WARN, f"fell back to {pipeline.backend_name}: {pipeline.fell_back}", values)
    return TaskStatus(OK, "loaded", values)


def memory_health() -> TaskStatus:
    """Of this process, and of the GPU as a whole where it is used."""
    values = {}
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            values["cpu_mb"] = f"{int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / MB:.0f}"
    if cuda := cuda_in_use():
        free, total = cuda.mem_get_info()
        values |= {"gpu_mb": f"{(total - free) / MB:.0f}", "gpu_total_mb": f"{total / MB:.0f}"}
    return TaskStatus(OK, ", ".join(f"{name} {value}" for name, value in values.items()), values)
