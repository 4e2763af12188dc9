"""What happened to the frames so far."""

import threading
from collections import Counter, deque

import numpy as np

KEPT_LATENCIES = 512


class Statistics:
    """Counters that any thread may add to.

    Attributes:
        published: frames that made it to the outputs.
        faults: what went wrong, by cause; a cause is a kind of fault, and may name a camera after it.
        last_error: text of the newest fault.
        last_errors: the same by kind of fault.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latencies_ms: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self.published = 0
        self.faults: Counter[str] = Counter()
        self.last_error = ""
        self.last_errors: dict[str, str] = {}

    def add_published(self, latency_ms: float) -> None:
        """Count a frame; `latency_ms` is from the sweep's arrival to its publication."""
        with self._lock:
            self.published += 1
            self._latencies_ms.append(latency_ms)

    def add_fault(self, cause: str, error: str = "") -> None:
        """Count something that went wrong."""
        with self._lock:
            self.faults[cause] += 1
            if error:
                self.last_error = self.last_errors[cause.split()[0]] = f"{cause}: {error}"

    def count(self, kind: str) -> int:
        """Faults of a kind, of any camera."""
        with self._lock:
            return sum(count for cause, count in self.faults.items() if cause.split()[0] == kind)

    def latency_ms(self, percentiles: tuple[float, ...]) -> list[float]:
        """Percentiles of the recent latencies; NaN before the first frame."""
        with self._lock:
            recent = list(self._latencies_ms)
        return np.percentile(recent, percentiles).tolist() if recent else [float("nan")] * len(percentiles)
