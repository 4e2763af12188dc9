"""Earlier sweeps for a model that is told of them: kept with their poses, and brought to where the present one was."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...core.contract import ModelContract
from ...core.frames import SensorFrame
from ...core.past_sweeps import PastSweep, brought_to_present, past_points
from ...memory.motion_check import MotionCheck
from ..conversions.stamps import NS_PER_S
from ..health.diagnostics import OK, WARN, TaskStatus
from ..transforms.tree import TransformError
from .parameters import NodeParameters

logger = logging.getLogger(__name__)

OLDEST_S = 4.0  # models see few older sweeps in training


class _Kept(NamedTuple):
    """A sweep as `past_points` leaves it, and (4, 4) from its grid frame to the fixed frame."""

    stamp_ns: int
    points: np.ndarray
    fixed_from_grid: np.ndarray


class PastSweeps:
    """Adds to each frame what the last ones measured, as many as the parameters say.

    Attributes:
        without_pose: frames that were answered on their own, because their pose in the fixed frame was not known.
        resets: times that everything was forgotten, because poses or stamps could not follow each other.
    """

    def __init__(
        self,
        contract: ModelContract,
        parameters: NodeParameters,
        pose: Callable[[SensorFrame, NodeParameters], np.ndarray],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        """
        Args:
            contract: of the model.
            pose: gives (4, 4) from the grid to the fixed frame at a frame's stamp, or raises TransformError.
            on_fault: called with a cause and the error for each frame without a pose.
        """
        self._contract, self._pose, self._on_fault = contract, pose, on_fault
        self._wanted, self._hindrance = parameters.past_sweeps, hindrance(contract, parameters)
        self._lock = threading.Lock()  # frames come from the worker, `start_over` from the executor
        self._kept: deque[_Kept] = deque(maxlen=max(1, self._wanted))  # the newest first
        self._motion, self.without_pose, self.resets = MotionCheck(), 0, 0
        if self._hindrance:
            logger.warning(self._hindrance)

    def __call__(self, frame: SensorFrame, parameters: NodeParameters) -> SensorFrame:
        """The frame with earlier sweeps; its own sweep is kept for later ones."""
        if not self._wanted or self._hindrance:
            return frame
        try:
            fixed_from_grid = self._pose(frame, parameters)
        except TransformError as error:
            self.without_pose += 1
            self._on_fault("past sweeps transform", error)
            return frame
        own = 0.0 if frame.body_removed else self._contract.preprocessing.ego_radius
        points = past_points(frame.points, own)
        with self._lock:
            if reason := self._motion.jump(frame.stamp_ns, fixed_from_grid):
                self._forget(reason)
                self._motion.jump(frame.stamp_ns, fixed_from_grid)
            earlier = [kept for kept in self._kept if 0 < frame.stamp_ns - kept.stamp_ns <= OLDEST_S * NS_PER_S]
            if self._kept and self._kept[0].stamp_ns == frame.stamp_ns:  # the same once more
                self._kept.popleft()
            self._kept.appendleft(_Kept(frame.stamp_ns, points, fixed_from_grid))
        grid_from_fixed = np.linalg.inv(fixed_from_grid)
        sweeps = [
            PastSweep(kept.points, grid_from_fixed @ kept.fixed_from_grid, (frame.stamp_ns - kept.stamp_ns) / NS_PER_S)
            for kept in earlier
        ]
        return replace(frame, past=brought_to_present(sweeps))

    def start_over(self) -> None:
        """Time was set back."""
        with self._lock:
            self._forget("time was set back")

    def health(self) -> TaskStatus:
        """What is kept, for diagnostics."""
        if not self._wanted or self._hindrance:
            return TaskStatus(WARN if self._hindrance else OK, self._hindrance or "off")
        with self._lock:
            stamps = [kept.stamp_ns for kept in self._kept]
        values = {"seconds": f"{(stamps[0] - stamps[-1]) / NS_PER_S if stamps else 0:.1f}", "resets": self.resets}
        return TaskStatus(OK, f"{len(stamps)} sweeps", {**values, "frames_without_pose": self.without_pose})

    def _forget(self, reason: str) -> None:
        self._motion = MotionCheck()
        if self._kept:
            logger.info("earlier sweeps forgotten: %s", reason)
            self._kept.clear()
            self.resets += 1


def hindrance(contract: ModelContract, parameters: NodeParameters) -> str:
    """Why the model cannot be told of earlier sweeps although that is asked for; empty where nothing hinders it."""
    if not parameters.past_sweeps:
        return ""
    if not contract.preprocessing.lags:
        return (
            f"past_sweeps: model {contract.model_id} was not trained with earlier sweeps: each frame is answered from "
            "its own; take one whose contract.yaml says lags: true, or set past_sweeps to 0"
        )
    return "" if parameters.fixed_frame else "past_sweeps needs fixed_frame: each frame is answered from its own sweep"
