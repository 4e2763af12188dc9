"""Faults in the log: each cause by itself, so that a noisy one does not hide the others."""

import time
from collections import Counter

from rclpy.impl.rcutils_logger import RcutilsLogger

PERIOD_S = 5.0  # between two lines on one cause
MOST_CAUSES = 256  # that are told apart; causes name cameras, and those come from parameters


class FaultLog:
    """Logs a cause at once, then at most every few seconds with the number of times that were left out."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger, self._due, self._left_out = logger, {}, Counter()

    def __call__(self, cause: str, error: str = "") -> None:
        """Warn of a fault; from any thread."""
        now_s = time.monotonic()
        if now_s < self._due.get(cause, 0.0):
            self._left_out[cause] += 1
            return
        if len(self._due) >= MOST_CAUSES:
            self._due.clear()
        self._due[cause] = now_s + PERIOD_S
        more = self._left_out.pop(cause, 0)
        self._logger.warning((f"{cause}: {error}" if error else cause) + (f" (and {more} more)" if more else ""))
