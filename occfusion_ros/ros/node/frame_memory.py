"""What earlier frames add to an answer, and what no ray has reached: how the node uses `occfusion_ros.memory`."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.contract import ModelContract
from ...core.errors import OccFusionError
from ...core.frames import OccupancyGrid, SensorFrame
from ...runtime.backends.protocol import usable_gpu
from ..conversions.stamps import NS_PER_S
from ..health.diagnostics import OK, WARN, TaskStatus
from ..transforms.tree import TransformError
from .parameters import NodeParameters

if TYPE_CHECKING:  # what is compiled is imported where it is wanted
    from ...memory.memory import Memory

logger = logging.getLogger(__name__)

LONG_S = 1.0  # compiling that takes longer is told
NO_FRAME = "there is no memory without fixed_frame: each frame is answered on its own"
MB = 1e6


def prepare_memory(parameters: NodeParameters) -> None:
    """Compile what the parameters ask for, if anything, so that no frame waits for it.

    Raises:
        OccFusionError: what is compiled can be kept nowhere, or there is no GPU for a memory that asks for one.
    """
    if not asks_for_memory(parameters):
        return
    if device_of(parameters) and not usable_gpu():
        raise OccFusionError("memory_device: expected a GPU that PyTorch can use for cuda, found none; set it to cpu")
    start = time.monotonic()
    try:
        from ...memory.warm_up import warm_up
    except RuntimeError as error:  # of numba, where it finds no folder to keep its results in
        raise OccFusionError(f"memory: {error}; set NUMBA_CACHE_DIR to a folder that can be written") from error
    warm_up(device_of(parameters))
    if (seconds := time.monotonic() - start) > LONG_S:
        logger.info("compiling the memory took %.0f s", seconds)


def asks_for_memory(parameters: NodeParameters) -> bool:
    """Whether answers differ from what the network says of single frames."""
    return parameters.memory != "none" or parameters.unknown == "occluded"


def device_of(parameters: NodeParameters) -> str:
    """Where PyTorch does a memory's work; empty: compiled code does."""
    return parameters.memory_device if parameters.memory != "none" and parameters.memory_device != "cpu" else ""


class FrameMemory:
    """Answers frames from the memory that the parameters name, or from their own rays where it has nothing to say.

    Attributes:
        without_pose: frames that were answered on their own, because their pose in the fixed frame was not known.
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
            contract: of the model: the grid of the frames, and names of the classes.
            pose: gives (4, 4) from the grid to the fixed frame at a frame's stamp, or raises TransformError.
            on_fault: called with a cause and the error for each frame without a pose.
        """
        self._mode, self._pose, self._on_fault, self.without_pose = parameters.memory, pose, on_fault, 0
        grid, self._classes = contract.grid, tuple(semantic_class.name for semantic_class in contract.classes)
        self._lock = threading.Lock()  # frames come from the worker, all else from the executor
        self._memory = self._occlusion = None
        if parameters.memory != "none" and parameters.fixed_frame:
            from ...memory.memory import MEMORIES, Memory

            settings = replace(MEMORIES[parameters.memory], range_m=parameters.memory_range_m)
            self._memory = Memory(grid, settings, device=device_of(parameters))
        elif parameters.memory != "none":
            logger.warning(NO_FRAME)
        if parameters.unknown == "occluded":
            from ...memory.occlusion import Occlusion

            self._occlusion = Occlusion(grid)

    def __call__(self, predicted: OccupancyGrid, frame: SensorFrame, parameters: NodeParameters) -> OccupancyGrid:
        """Answer a frame of which the network says `predicted`; the time it takes is the stage ``memory``."""
        if not self._memory and not self._occlusion:
            return predicted
        start = time.monotonic()
        pose = self._pose_of(frame, parameters) if self._memory else None
        with self._lock:
            if pose is not None:
                self._memory.settings = replace(self._memory.settings, movable_s=parameters.movable_memory_s)
                answer = self._memory.answer(predicted, frame, pose, parameters.unknown)
            else:
                answer = self._occlusion.answer(predicted, frame) if self._occlusion else predicted
        return replace(answer, stage_ms={**answer.stage_ms, "memory": 1e3 * (time.monotonic() - start)})

    def start_over(self) -> None:
        """Time was set back."""
        if self._memory:
            self.reset("time was set back")

    def reset(self, reason: str) -> None:
        """Forget everything.

        Raises:
            OccFusionError: there is no memory.
        """
        with self._lock:
            self._remembering().reset(reason)

    def save(self, path: Path, parameters: NodeParameters) -> None:
        """Write what is remembered to a map file.

        Raises:
            OccFusionError: there is no memory, nothing in it, or the file cannot be written.
        """
        from ...memory.map_file import save_map

        with self._lock:
            save_map(path, self._remembering(), parameters.fixed_frame, self._classes)

    def load(self, path: Path, parameters: NodeParameters) -> None:
        """Take over a map file in place of what is remembered.

        Raises:
            OccFusionError: there is no memory, or the file is none that fits it.
        """
        from ...memory.map_file import load_map

        with self._lock:
            load_map(path, self._remembering(), parameters.fixed_frame, self._classes)

    def _remembering(self) -> "Memory":
        if not self._memory:
            raise OccFusionError("memory: it is off" if self._mode == "none" else NO_FRAME)
        return self._memory

    def close(self) -> None:
        """End the threads and free what is remembered."""
        for part in filter(None, (self._memory, self._occlusion)):
            part.close()
        self._memory = self._occlusion = None

    def health(self) -> TaskStatus:
        """What is remembered, for diagnostics."""
        if not self._memory:
            return TaskStatus(OK if self._mode == "none" else WARN, "off" if self._mode == "none" else NO_FRAME)
        state = self._memory.state
        values = {"mode": self._mode, "frames": state.frames, "mb": f"{self._memory.nbytes / MB:.0f}"}
        if state.last_ns is not None:  # what the worker writes last
            values["seconds"] = f"{(state.last_ns - state.first_ns) / NS_PER_S:.1f}"
        values |= {"resets": state.resets, "last_reset": state.reset_reason, "frames_without_pose": self.without_pose}
        return TaskStatus(OK, f"{state.frames} frames" if state.frames else "empty", values)

    def _pose_of(self, frame: SensorFrame, parameters: NodeParameters) -> np.ndarray | None:
        """The frame's pose; None, reported, where it is not known."""
        try:
            return self._pose(frame, parameters)
        except TransformError as error:
            self.without_pose += 1
            self._on_fault("memory transform", error)
            return None
