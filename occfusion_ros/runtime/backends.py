"""Which backend runs the engines: the table of all, and what "auto" stands for on this machine."""

import logging
from collections.abc import Callable
from types import ModuleType

import torch

from ..core.errors import BackendError

logger = logging.getLogger(__name__)


def _tensorrt() -> ModuleType:
    from . import tensorrt
    return tensorrt


def _openvino() -> ModuleType:
    from . import openvino
    return openvino


def _onnxruntime() -> ModuleType:
    from . import onnxruntime
    return onnxruntime


def _torch() -> ModuleType:
    from . import torch_program
    return torch_program


BACKENDS: dict[str, Callable[[], ModuleType]] = {
    "tensorrt": _tensorrt, "openvino": _openvino, "onnxruntime": _onnxruntime, "torch": _torch}
"""Modules by name. Each has `why_not()`, `precisions(spec)` and `load(artefact, engine, settings)`."""

BACKEND_NAMES = ("auto", *BACKENDS)
ON_GPU = ("tensorrt", "torch", "onnxruntime", "openvino")
ON_CPU = ("openvino", "onnxruntime", "torch")


def candidates(name: str) -> tuple[str, ...]:
    """Backends to try, the best first.

    Raises:
        BackendError: there is no backend of that name, or it cannot run here.
    """
    if name not in BACKEND_NAMES:
        raise BackendError(f"backend: expected one of {', '.join(BACKEND_NAMES)}, got {name!r}")
    if name != "auto":
        if reason := BACKENDS[name]().why_not():
            raise BackendError(f"backend {name}: {reason}")
        return (name,)
    order = ON_GPU if torch.cuda.is_available() else ON_CPU
    reasons = {other: BACKENDS[other]().why_not() for other in order}
    usable = tuple(other for other in order if not reasons[other])
    lacking = "".join(f"; not {other}: {reason}" for other, reason in reasons.items() if reason)
    logger.info("backend auto: %s, the fastest that runs here%s", usable[0], lacking)
    return usable
