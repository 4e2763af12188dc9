"""What the node reports about itself: the tasks behind its diagnostics."""

import os
import time
from collections import Counter
from collections.abc import Callable

from .diagnostics import ERROR, OK, WARN, State
from .frame_statistics import Statistics
from .guarded_pipeline import GuardedPipeline, cuda_in_use
from .headers import NS_PER_S
from .inputs import Input
from .synchroniser import Synchroniser
from .tf_buffer import TransformBuffer

SILENT_S = 1.0  # an input without a message for so long is reported
MB = 1e6


class InputHealth:
    """Rate and age of every input; silence of the LiDAR is an error, that of a camera a warning."""

    def __init__(self, lidar: Input, cameras: list[Input], now_ns: Callable[[], int]) -> None:
        self._lidar, self._inputs, self._now_ns = lidar, [lidar, *cameras], now_ns
        self._received: dict[str, int] = {}
        self._before_s = time.monotonic()

    def __call__(self) -> State:
        """Since the last call."""
        now_s, now_ns = time.monotonic(), self._now_ns()
        elapsed, self._before_s = max(now_s - self._before_s, 1e-3), now_s
        values, troubles, silent, absent = {}, [], [], []
        for source in self._inputs:
            age_ns = source.age_ns(now_ns)
            rate = (source.received - self._received.get(source.topic, 0)) / elapsed
            self._received[source.topic] = source.received
            newest = "none yet" if age_ns is None else f"newest {age_ns / NS_PER_S:.2f} s ago"
            values[source.topic] = f"{rate:.1f} Hz, {source.received} received, {newest}"
            if source.mismatch:
                troubles.append(f"{source.topic}: a publisher's quality of service does not match ({source.mismatch})")
            if age_ns is None or age_ns > SILENT_S * NS_PER_S:
                (silent if source.has_publisher else absent).append(source.topic)
        troubles += [f"silent: {', '.join(silent)}"] if silent else []
        troubles += [f"nobody publishes {', '.join(absent)}: start its driver, or correct the topic's name in the "
                     "parameters"] if absent else []
        if not troubles:
            return State(OK, "all inputs are alive", values)
        return State(ERROR if self._lidar.topic in silent + absent else WARN, "; ".join(troubles), values)


class FrameHealth:
    """What became of the sweeps: published, dropped and faulty ones by cause."""

    def __init__(self, lidar: Input, synchroniser: Synchroniser, statistics: Statistics) -> None:
        self._lidar, self._synchroniser, self._statistics = lidar, synchroniser, statistics
        self._seen: Counter[str] = Counter()  # up to the last call

    def __call__(self) -> State:
        """Judged by what happened since the last call."""
        stats, sync = self._statistics, self._synchroniser
        values = {"published": stats.published}
        for title, counts in (("dropped", sync.dropped), ("camera missing", sync.missing),
                              ("camera late", sync.late), ("image unused", sync.unused), ("fault", dict(stats.faults))):
            values |= {f"{title}: {cause}": count for cause, count in sorted(counts.items())}
        values["last_error"] = stats.last_error
        return State(*self._verdict(), values)

    def _verdict(self) -> tuple[bytes, str]:
        stats, sync = self._statistics, self._synchroniser
        now = Counter(sweeps=self._lidar.received, published=stats.published, superseded=sync.dropped["superseded"],
                      crowded=sync.dropped["crowded"],
                      faults=sum(stats.faults.values()) + sum(sync.missing.values()) + sync.dropped["out_of_order"])
        new = Counter({name: count - self._seen[name] for name, count in now.items()})
        self._seen = now
        if new["faults"] and not new["published"]:
            return ERROR, f"{new['sweeps']} sweeps came, none was published: {stats.last_error}"
        message = f"{new['sweeps']} sweeps came, {new['published']} published"
        if new["superseded"]:
            message += f", {new['superseded']} dropped because newer ones were there: more come than can be computed"
        if new["crowded"]:
            message += (f", {new['crowded']} dropped because more than two waited for the same images, which are far "
                        "slower or late: a lower max_wait_s lets sweeps go without them")
        if new["faults"]:
            message += f", {new['faults']} faults"
        return WARN if new["faults"] or new["superseded"] else OK, message


def latency_health(statistics: Statistics, budget_ms: float) -> State:
    """From a sweep's arrival to its publication, over the last frames."""
    median, high = statistics.latency_ms((50, 99))
    values = {"p50_ms": f"{median:.1f}", "p99_ms": f"{high:.1f}", "budget_ms": f"{budget_ms:g}"}
    if high > budget_ms:
        return State(WARN, f"99th percentile {high:.0f} ms, above the budget of {budget_ms:g} ms", values)
    return State(OK, "no frame yet" if median != median else "within the budget", values)


class TransformHealth:
    """Whether all transforms were there when they were needed."""

    def __init__(self, statistics: Statistics, transforms: TransformBuffer) -> None:
        self._statistics, self._transforms, self._seen = statistics, transforms, statistics.count("transform")

    def __call__(self) -> State:
        """Judged by what happened since the last call."""
        count, error = self._statistics.count("transform"), self._statistics.last_errors.get("transform", "")
        new, self._seen = count - self._seen, count
        values = {"refused": count, "ignored": self._transforms.ignored, "last_error": error}
        return State(ERROR, f"{new} lookups refused: {error}", values) if new else State(OK, "as needed", values)


def model_health(pipeline: GuardedPipeline) -> State:
    """What runs, and whether it is what should."""
    values = {"model": pipeline.contract.model_id, "backend": pipeline.backend_name, "fell_back": pipeline.fell_back}
    if pipeline.fell_back:
        return State(WARN, f"fell back to {pipeline.backend_name}: {pipeline.fell_back}", values)
    return State(OK, "loaded", values)


def memory_health() -> State:
    """Of this process, and of the GPU as a whole where it is used."""
    values = {}
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            values["cpu_mb"] = f"{int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / MB:.0f}"
    if cuda := cuda_in_use():
        free, total = cuda.mem_get_info()
        values |= {"gpu_mb": f"{(total - free) / MB:.0f}", "gpu_total_mb": f"{total / MB:.0f}"}
    return State(OK, ", ".join(f"{name} {value}" for name, value in values.items()), values)
