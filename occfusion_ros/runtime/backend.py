"""What runs an engine: one protocol, and a plain table of what this version offers."""

import logging
from collections.abc import Callable
from typing import Protocol

import torch

from ..core.contract import EngineSpec, TensorSpec
from ..core.errors import BackendError

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """One loaded engine.

    Attributes:
        name: what runs it, for logs and diagnostics.
        device: where inputs are expected and outputs are left.
    """

    name: str
    device: torch.device

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Outputs by name; they are valid until the caller drops them.

        Raises:
            BackendError: an input does not fit the engine, or the engine failed.
        """
        ...


def _onnxruntime(content: bytes, spec: EngineSpec, threads: int) -> Backend:
    from .onnxruntime import OnnxRuntimeBackend
    return OnnxRuntimeBackend(content, spec, threads)


BACKENDS: dict[str, Callable[[bytes, EngineSpec, int], Backend]] = {"onnxruntime": _onnxruntime}
"""Constructors by name: content of the engine file, its part of the contract, CPU threads (0: all cores)."""

BACKEND_NAMES = ("auto", *BACKENDS)


def choose_backend(name: str) -> str:
    """The key of `BACKENDS` that `name` stands for.

    Raises:
        BackendError: this version does not offer it.
    """
    if name not in BACKEND_NAMES:
        raise BackendError(f"backend {name!r} is not part of this version, expected one of {', '.join(BACKEND_NAMES)}")
    if name == "auto":
        name = next(iter(BACKENDS))
        logger.info("backend auto: %s, the only one in this version", name)
    return name


def check_inputs(spec: EngineSpec, inputs: dict[str, torch.Tensor]) -> None:
    """Raise BackendError unless the inputs are what the engine takes; equal dynamic axes must have equal lengths."""
    expected = {tensor.name for tensor in spec.inputs}
    if set(inputs) != expected:
        raise BackendError(f"{spec.file}: expected inputs {sorted(expected)}, got {sorted(inputs)}")
    lengths: dict[str, int] = {}
    for tensor in spec.inputs:
        got = inputs[tensor.name]
        if str(got.dtype) != f"torch.{tensor.dtype}" or not _fits(tensor, got.shape, lengths):
            known = {axis: length for axis, length in lengths.items() if axis in tensor.shape}
            raise BackendError(f"{spec.file}: input {tensor.name}: expected {tensor.dtype} {list(tensor.shape)}"
                               f"{f' with {known}' if known else ''}, got {str(got.dtype)[6:]} {list(got.shape)}")


def _fits(tensor: TensorSpec, shape: torch.Size, lengths: dict[str, int]) -> bool:
    """Does a shape match? Remembers the lengths of dynamic axes in `lengths`."""
    if len(shape) != len(tensor.shape):
        return False
    return all(length == (lengths.setdefault(axis, length) if isinstance(axis, str) else axis) and length > 0
               for axis, length in zip(tensor.shape, shape))
