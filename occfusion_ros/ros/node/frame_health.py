"""What became of the sweeps: published, dropped and faulty ones by cause, and how long they took."""

import time
from collections import Counter, deque
from collections.abc import Callable

from ..health.diagnostics import ERROR, OK, WARN, TaskStatus
from ..health.stamp_gaps import StampGaps
from ..health.statistics import Statistics
from .subscriptions import Input
from .synchronizer import Synchronizer

WINDOW_S = 5.0  # what is judged, or longer, for so many sweeps that are rarer
SWEEPS = 3
# Faults that cost a sweep, by kind; others cost a camera.
COST_A_SWEEP = ("sweep", "invalid", "transform", "backend", "other", "internal")


class FrameHealth:
    """Judges the sweeps of the last seconds; one that is still computed counts as neither lost nor published."""

    def __init__(
        self,
        lidar: Input,
        synchronizer: Synchronizer,
        statistics: Statistics,
        gaps: StampGaps,
        min_rate_hz: Callable[[], float],
        deskew: Callable[[], dict[str, str]] = dict,
    ) -> None:
        """`min_rate_hz`: the output rate below which to warn, 0 for none; `deskew`: its state by topic."""
        self._lidar, self._synchronizer, self._statistics = lidar, synchronizer, statistics
        self._gaps, self._min_rate_hz, self._deskew = gaps, min_rate_hz, deskew
        self._past: deque[tuple[float, Counter[str]]] = deque([(time.monotonic(), self._counts())])

    def __call__(self) -> TaskStatus:
        """The last seconds."""
        stats, sync = self._statistics, self._synchronizer
        values = {"published": stats.published}
        for title, counts in (
            ("dropped", sync.dropped),
            ("camera missing", sync.missing),
            ("camera late", sync.late),
            ("image unused", sync.unused),
            ("fault", dict(stats.faults)),
        ):
            values |= {_named(title, cause): count for cause, count in sorted(counts.items())}
        values |= self._gaps.distances() | {f"deskew: {topic}": state for topic, state in self._deskew().items()}
        values["last_error"] = stats.last_error
        return TaskStatus(*self._verdict(*self._window()), values)

    def _counts(self) -> Counter[str]:
        stats, sync = self._statistics, self._synchronizer
        return Counter(
            {
                "sweeps": self._lidar.received,
                "published": stats.published,
                **{f"fault {cause}": count for cause, count in dict(stats.faults).items()},
                **{f"dropped {cause}": count for cause, count in sync.dropped.items()},
                **{f"missing {camera}": count for camera, count in sync.missing.items()},
            }
        )

    def _window(self) -> tuple[Counter[str], float]:
        """What happened in the last seconds, and how many these are."""
        now_s, counts = time.monotonic(), self._counts()
        window_s = max(WINDOW_S, SWEEPS * self._lidar.interval_s)
        while len(self._past) > 1 and now_s - self._past[1][0] >= window_s:
            self._past.popleft()
        since_s, before = self._past[0]
        self._past.append((now_s, counts))
        return counts - before, now_s - since_s

    def _verdict(self, new: Counter[str], seconds: float) -> tuple[bytes, str]:
        lost = _by_cause(new, "fault", _costs_a_sweep)
        lost |= {
            f"{cause} stamps": count for cause, count in _by_cause(new, "dropped").items() if cause == "out_of_order"
        }
        if lost and not new["published"]:
            return ERROR, f"{new['sweeps']} sweeps came, none was published: {self._said(lost)}"
        message = f"{new['sweeps']} sweeps came in {seconds:.0f} s, {new['published']} published"
        troubles = [f"{sum(lost.values())} lost: {self._said(lost)}"] if lost else []
        if faults := _by_cause(new, "fault", lambda cause: not _costs_a_sweep(cause)):
            troubles.append(f"faults: {self._said(faults)}")
        if missing := _by_cause(new, "missing"):
            troubles.append("without " + _listed(missing))
        troubles += self._gaps.verdicts()
        rate = new["published"] / max(seconds, 1e-3)
        if new["sweeps"] >= SWEEPS and seconds >= WINDOW_S and rate < self._min_rate_hz():
            troubles.append(f"{rate:.1f} Hz published, below min_output_rate_hz {self._min_rate_hz():g}")
        message += "".join(f", {text}" for text in self._dropped(new))
        return (WARN if troubles else OK), "; ".join([message, *troubles])

    @staticmethod
    def _dropped(new: Counter[str]) -> list[str]:
        """What the design gives up, which is no fault."""
        texts = {
            "dropped superseded": "superseded by newer ones: more come than can be computed",
            "dropped crowded": "dropped because more than two waited for the same images, which are far slower or "
            "late: a lower max_wait_s lets sweeps go without them",
            "dropped time_jump": "dropped because time jumped back",
        }
        return [f"{new[key]} {text}" for key, text in texts.items() if new[key]]

    def _said(self, causes: dict[str, int]) -> str:
        """Causes with their counts, and what was last said of the most frequent one."""
        first = max(causes, key=causes.get)
        error = self._statistics.last_errors.get(first.split()[0], "")
        return _listed(causes) + (f" ({error})" if error.startswith(f"{first}:") else "")


def _named(title: str, cause: str) -> str:
    """A counter's name; clouds that join another LiDAR's sweep are counted beside the cameras."""
    if title.startswith("camera") and cause.startswith("cloud "):
        return f"cloud{title.removeprefix('camera')}: {cause.removeprefix('cloud ')}"
    return f"{title}: {cause}"


def latency_health(statistics: Statistics, budget_ms: float) -> TaskStatus:
    """From a sweep's arrival to its publication, over the last frames."""
    median, high = statistics.latency_ms((50, 99))
    values = {"p50_ms": f"{median:.1f}", "p99_ms": f"{high:.1f}", "budget_ms": f"{budget_ms:g}"}
    if high > budget_ms:
        return TaskStatus(WARN, f"99th percentile {high:.0f} ms, above the budget of {budget_ms:g} ms", values)
    return TaskStatus(OK, "no frame yet" if median != median else "within the budget", values)


def _by_cause(new: Counter[str], kind: str, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, int]:
    """Counts of one kind by cause."""
    causes = {key.removeprefix(f"{kind} "): count for key, count in new.items() if key.startswith(f"{kind} ")}
    return {cause: count for cause, count in causes.items() if count and wanted(cause)}


def _costs_a_sweep(cause: str) -> bool:
    """Not a fault of one camera, whose name follows the kind."""
    return cause.split()[0] in COST_A_SWEEP and not (cause.startswith("transform ") and len(cause.split()) > 1)


def _listed(causes: dict[str, int]) -> str:
    return ", ".join(f"{count} x {cause}" for cause, count in sorted(causes.items(), key=lambda item: -item[1]))
