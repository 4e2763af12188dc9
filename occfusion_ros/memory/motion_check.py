"""Whether a pose can follow another: localization that jumps and time that goes back end what was remembered."""

import numpy as np

MOST_SPEED = 70.0  # metres a second
MOST_ACCELERATION = 20.0  # metres a second, each second: more than tires give
MOST_TURN = np.radians(120)  # each second
SLACK_M, SLACK_TURN = 1.0, np.radians(10)  # whatever the time between two poses
NS_PER_S = 1e9


class MotionCheck:
    """Compares each pose with where the last two lead to."""

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray] | None = None
        self._velocity: np.ndarray | None = None  # (3,) metres a second

    def jump(self, stamp_ns: int, fixed_from_grid: np.ndarray) -> str:
        """Tell why this pose cannot follow the last one; empty where it can. It is the last one from now on.

        Args:
            stamp_ns: nanoseconds. fixed_from_grid: (4, 4) float64, metres.
        """
        last, velocity = self._last, self._velocity
        self._last, self._velocity = (stamp_ns, fixed_from_grid), None
        if last is None:
            return ""
        seconds = (stamp_ns - last[0]) / NS_PER_S
        if seconds < 0:
            return f"time went back by {-seconds:.3g} s"
        moved = fixed_from_grid[:3, 3] - last[1][:3, 3]
        turned = fixed_from_grid[:3, :3] @ last[1][:3, :3].T
        if seconds > 0:
            self._velocity = moved / seconds
        else:
            self._velocity = velocity
        if velocity is None:
            far = np.linalg.norm(moved) > SLACK_M + MOST_SPEED * seconds
        else:
            far = np.linalg.norm(moved - velocity * seconds) > SLACK_M + MOST_ACCELERATION * seconds * max(seconds, 0.1)
        if far:
            return f"the pose jumped by {np.linalg.norm(moved):.1f} m within {seconds:.3g} s"
        angle = np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1))
        if angle > SLACK_TURN + MOST_TURN * seconds:
            return f"the pose turned by {np.degrees(angle):.0f} degrees within {seconds:.3g} s"
        return ""
