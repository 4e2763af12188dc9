"""A thread with a slot of one."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class LatestWorker:
    """Runs a function on one item at a time, on its own thread; of the items that wait only the newest is kept."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        """`work` must not raise: it is called for one item after the other until `close`."""
        self._work = work
        self._waiting: deque[Any] = deque()  # one, or two while the thread is about to take the first
        self._changed = threading.Condition()
        self._busy = self._closed = False
        self._thread = threading.Thread(target=self._run, name="occupancy", daemon=True)
        self._thread.start()

    def submit(self, item: Any) -> bool:
        """Hand over an item; returns whether it took the place of one that was still waiting."""
        with self._changed:
            replaced = len(self._waiting) + self._busy > 1
            if replaced:
                self._waiting.popleft()
            self._waiting.append(item)
            self._changed.notify()
            return replaced

    def close(self) -> None:
        """Finish the item in work, drop the one that waits, end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            self._work(item)

    def _next(self) -> Any:
        """Wait for an item; None: closed."""
        with self._changed:
            self._busy = False
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._busy = True
            return None if self._closed else self._waiting.popleft()
