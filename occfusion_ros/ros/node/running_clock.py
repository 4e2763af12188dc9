"""A clock for waiting that cannot stand still."""

import time

from rclpy.clock import Clock

GRACE_NS = 500_000_000


class RunningClock:
    """A node's clock; where it stands still (a simulated one when the bag ends) the steady clock carries it on.

    Waiting is thereby as patient as the speed of a bag asks for, yet always ends.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_ns = -1
        self._changed_ns = 0  # steady time when the clock was last seen to move

    def now_ns(self) -> int:
        """Nanoseconds on the node's clock, plus those since it stood still (after half a second of grace)."""
        now_ns, steady_ns = self._clock.now().nanoseconds, time.monotonic_ns()
        if now_ns != self._seen_ns:
            self._seen_ns, self._changed_ns = now_ns, steady_ns
        return now_ns + max(steady_ns - self._changed_ns - GRACE_NS, 0)
