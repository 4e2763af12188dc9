"""Which backend runs the networks: the table of all, and what "auto" stands for on this machine."""

import logging
from collections.abc import Callable
from types import ModuleType

from ...core.errors import BackendError, one_line
from .protocol import usable_gpu

logger = logging.getLogger(__name__)


def _tensorrt() -> ModuleType:
    from . import tensorrt_backend

    return tensorrt_backend


def _openvino() -> ModuleType:
    from . import openvino_backend

    return openvino_backend


def _onnxruntime() -> ModuleType:
    from . import onnxruntime_backend

    return onnxruntime_backend


def _torch() -> ModuleType:
    from . import torch_backend

    return torch_backend


BACKENDS: dict[str, Callable[[], ModuleType]] = {
    "tensorrt": _tensorrt,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "torch": _torch,
}
"""Modules by name. Each has `unavailable_reason()`, `precisions(spec)` and `load(artifact, network, settings)`."""

BACKEND_NAMES = ("auto", *BACKENDS)
ON_GPU = ("tensorrt", "torch", "onnxruntime", "openvino")
ON_CPU = ("openvino", "onnxruntime", "torch")


def unavailable_reason(name: str) -> str:
    """Why a backend cannot run here; empty where it can. A library that cannot even be asked is a reason too."""
    try:
        return BACKENDS[name]().unavailable_reason()
    except Exception as error:  # of another version or broken, it raises whatever it likes
        return f"it cannot be imported ({type(error).__name__}: {one_line(error)}): install it again"


def candidates(name: str) -> tuple[str, ...]:
    """Backends to try, the best first.

    Raises:
        BackendError: there is no backend of that name, or it cannot run here.
    """
    if name not in BACKEND_NAMES:
        raise BackendError(f"backend: expected one of {', '.join(BACKEND_NAMES)}, got {name!r}")
    if name != "auto":
        if reason := unavailable_reason(name):
            raise BackendError(f"backend {name}: {reason}")
        return (name,)
    order = ON_GPU if usable_gpu() else ON_CPU
    reasons = {other: unavailable_reason(other) for other in order}
    usable = tuple(other for other in order if not reasons[other])
    lacking = "".join(f"; not {other}: {reason}" for other, reason in reasons.items() if reason)
    if not usable:
        raise BackendError(f"backend auto: none runs here{lacking}")
    logger.info("backend auto: %s, the fastest that runs here%s", usable[0], lacking)
    return usable
