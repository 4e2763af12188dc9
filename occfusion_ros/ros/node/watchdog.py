"""A pipeline that cannot hang its caller, and that is replaced once when it fails."""

import gc
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ...core.contract import ModelContract
from ...core.errors import BackendError, OccFusionError
from ...core.frames import CameraImage, OccupancyGrid, SensorFrame
from ..startup.allocator import give_memory_back
from .parameters import NodeParameters


class FramePipeline(Protocol):
    """What the node needs of `runtime.pipeline.Pipeline`."""

    contract: ModelContract
    backend_name: str
    confidence: bool
    free_below: float | None

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        """Occupancy of one frame."""


class WatchedPipeline:
    """Loads and runs a pipeline on a thread of its own, which is given up when no answer comes.

    Attributes:
        fell_back: why another backend took over; empty while the first one runs.
    """

    def __init__(
        self, load: Callable[[], FramePipeline], timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> None:
        """
        Args:
            load: gives the pipeline.
            timeout_s: seconds that it may take.
            meanwhile: called again and again until then, for a fraction of a second; what it raises ends the waiting.

        Raises:
            OccFusionError: as `load` does. BackendError: loading hangs.
        """
        self.fell_back = ""
        self._abandoned = False
        self._use(load, timeout_s, meanwhile)

    @property
    def contract(self) -> ModelContract:
        """Of the model."""
        return self._pipeline.contract

    @property
    def backend_name(self) -> str:
        """What runs the engines."""
        return self._pipeline.backend_name

    def ask_for(self, confidence: bool, free_below: float | None) -> None:
        """Say what grids are to tell from the next frame on, see `runtime.pipeline.Pipeline`."""
        self._pipeline.confidence, self._pipeline.free_below = confidence, free_below

    def __call__(
        self, frame: SensorFrame, timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> OccupancyGrid:
        """Occupancy of one frame; `meanwhile` as where it is loaded.

        Raises:
            InvalidFrameError: the frame does not fit the model. BackendError: an engine failed, or gave no answer.
        """
        self._questions.put(frame)
        return self._answer(timeout_s, f"backend {self.backend_name} hangs: no answer", meanwhile)

    def fall_back(self, reason: str, load: Callable[[str], FramePipeline], timeout_s: float) -> None:
        """Let another backend take over.

        Args:
            reason: what was wrong with the present one.
            load: gives a pipeline on another backend than the named one.
            timeout_s: seconds that it may take.

        Raises:
            OccFusionError: there is none. BackendError: loading hangs.
        """
        failed = self.backend_name
        self.close()
        self._use(partial(load, failed), timeout_s)
        self.fell_back = reason

    def abandon(self) -> None:
        """From another thread: whoever waits for another backend to load gets BackendError at once, now and later."""
        self._abandoned = True
        if self._loading:
            self._answers.put(_abandoned())

    def close(self) -> None:
        """End the thread, unless it hangs, and free what the pipeline holds."""
        self._questions.put(None)
        self._thread.join(timeout=0 if self._hangs else None)
        self._pipeline = _Released(self.contract, self.backend_name)
        free_memory()

    def _use(
        self, load: Callable[[], FramePipeline], timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> None:
        self._hangs, self._questions, self._answers = False, queue.SimpleQueue(), queue.SimpleQueue()
        self._loading = True
        self._thread = threading.Thread(
            target=_serve, args=(load, self._questions, self._answers), name="backend", daemon=True
        )
        self._thread.start()
        try:
            if self._abandoned:
                raise _abandoned()
            self._pipeline = self._answer(timeout_s, "loading the model hangs: not done", meanwhile)
        except BaseException:
            self._hangs = self._thread.is_alive()
            self._questions.put(None)  # the thread ends, should loading ever do
            raise
        finally:
            self._loading = False

    def _answer(self, timeout_s: float, what_if_not: str, meanwhile: Callable[[], None] | None) -> Any:
        """What the thread gives next, or raises."""
        answer = _next(self._answers, timeout_s, meanwhile)
        if answer is None:
            self._hangs = True
            raise BackendError(f"{what_if_not} within {timeout_s:g} s")
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _next(answers: queue.SimpleQueue, timeout_s: float, meanwhile: Callable[[], None] | None) -> Any:
    """The next answer; None when the time is up."""
    deadline_s = time.monotonic() + timeout_s
    while meanwhile and answers.empty() and time.monotonic() < deadline_s:
        meanwhile()
    try:
        return answers.get(timeout=max(deadline_s - time.monotonic(), 0))
    except queue.Empty:
        return None


def _abandoned() -> BackendError:
    return BackendError("loading was given up: the node is being deactivated")


class _Released:
    """What is left of a pipeline that was closed."""

    def __init__(self, contract: ModelContract, backend_name: str) -> None:
        self.contract, self.backend_name = contract, backend_name


def _serve(load: Callable[[], FramePipeline], questions: queue.SimpleQueue, answers: queue.SimpleQueue) -> None:
    """Answer with a pipeline, then frames until None comes."""
    try:
        pipeline = load()
    except Exception as error:  # noqa: BLE001 - whoever asked deals with it
        answers.put(error)
        return
    answers.put(pipeline)
    while (frame := questions.get()) is not None:
        try:
            answers.put(pipeline(frame))
        except Exception as error:  # noqa: BLE001 - whoever asked deals with it
            answers.put(error)
        del frame


def cuda_in_use() -> ModuleType | None:
    """torch.cuda where this process uses a GPU; torch is not imported for it, and may just be being imported."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if getattr(cuda, "is_initialized", bool)() else None


def free_memory() -> None:
    """Give memory that nobody refers to back to the system and to the device."""
    gc.collect()
    give_memory_back()
    if cuda := cuda_in_use():
        cuda.empty_cache()


def load_other_backend(
    load: Callable[[NodeParameters], FramePipeline], parameters: NodeParameters, failed: str
) -> FramePipeline:
    """A pipeline, as `load` makes them, on the fastest backend that runs here, apart from the one that failed.

    Raises:
        BackendError: no other one runs.
    """
    from ...runtime.backends.registry import candidates

    reasons = []
    for name in candidates("auto"):
        if not failed.startswith(name):  # which names the precision too
            try:
                return load(replace(parameters, backend=name, precision="auto"))
            except OccFusionError as error:
                reasons.append(f"{name}: {error}")
    raise BackendError(f"no other backend than {failed} runs here" + "".join(f"; {reason}" for reason in reasons))


def warm_up_frame(cameras: int) -> SensorFrame:
    """A frame without points and with that many black images: what engines compile or allocate at their first run."""
    intrinsics = np.array([[32.0, 0, 32], [0, 32, 18], [0, 0, 1]])
    images = (CameraImage(str(i), np.zeros((36, 64, 3), np.uint8), intrinsics, np.eye(4)) for i in range(cameras))
    return SensorFrame(0, np.zeros((0, 4), np.float32), tuple(images))
