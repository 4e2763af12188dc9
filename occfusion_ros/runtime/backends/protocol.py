"""What runs a network: the protocol that every backend keeps, and what they share."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from ...core.contract import NetworkSpec, TensorSpec
from ...core.errors import BackendError, ContractError, one_line
from ...core.processor import usable_cores

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
"""What networks calculate in; auto takes what the backend does best without losing accuracy worth speaking of."""
ENGINE_CACHE = "~/.cache/occfusion_ros"
AXIS = re.compile(r"(?:(\d+)\*)?([A-Za-z_]\w*)")  # how a dynamic axis is written: cameras, 32*cameras


@dataclass(frozen=True)
class BackendSettings:
    """How networks are run.

    Attributes:
        threads: CPU threads, 0 for as many as there are cores to use, see `usable_cores`.
        precision: one of `PRECISIONS`.
        cache: folder for networks that are built on this machine; see `engine_cache`.
    """

    threads: int = 0
    precision: str = "auto"
    cache: Path = field(default_factory=lambda: Path(ENGINE_CACHE).expanduser())

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise BackendError(f"threads: expected 0 (all cores) or more, got {self.threads}")
        if self.precision not in PRECISIONS:
            raise BackendError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    @property
    def cores(self) -> int:
        """CPU threads, 1 or more; libraries that count for themselves see the whole machine from inside a container."""
        return self.threads or usable_cores()


class Backend(Protocol):
    """One loaded network.

    Attributes:
        name: what runs it and in which precision, for logs and diagnostics.
        device: where inputs are expected and outputs are left.
    """

    name: str
    device: torch.device

    def run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Outputs by name; the next run overwrites them.

        Raises:
            BackendError: an input does not fit the network, or the network failed.
        """
        ...


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Within it, PyTorch computes on so many threads; after it on as many as before, for whoever else uses it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_gpu() -> bool:
    """Whether PyTorch finds an NVIDIA GPU and computes on it; a driver of another version is there and does not."""
    try:
        return torch.cuda.is_available() and torch.ones(1, device="cuda").add(1).item() == 2
    except RuntimeError as error:
        logger.warning(
            "there is a GPU, but PyTorch %s cannot use it (%s): taking the CPU", torch.__version__, one_line(error)
        )
        return False


def pick_precision(backend: str, wanted: str, offered: tuple[str, ...]) -> str:
    """The precision that `wanted` stands for; "auto" is the first of those that are offered.

    Raises:
        BackendError: the backend or the artifact does not have it.
    """
    if wanted == "auto":
        return offered[0]
    if wanted not in offered:
        raise BackendError(
            f"precision {wanted} is not to be had with backend {backend} and this model on this "
            f"machine, which offer {', '.join(offered)}"
        )
    return wanted


def check_inputs(network: str, spec: NetworkSpec, inputs: dict[str, torch.Tensor]) -> dict[str, int]:
    """Lengths of the dynamic axes by name.

    Raises:
        BackendError: the inputs are not what the network takes; equal dynamic axes must have equal lengths.
    """
    expected = {tensor.name for tensor in spec.inputs}
    if set(inputs) != expected:
        raise BackendError(f"{network}: expected inputs {sorted(expected)}, got {sorted(inputs)}")
    lengths: dict[str, int] = {}
    for tensor in spec.inputs:
        got = inputs[tensor.name]
        if str(got.dtype) != f"torch.{tensor.dtype}" or not _fits(tensor, got.shape, lengths):
            known = {name: length for name, length in lengths.items() if name in " ".join(map(str, tensor.shape))}
            raise BackendError(
                f"{network}: input {tensor.name}: expected {tensor.dtype} {list(tensor.shape)}"
                f"{f' with {known}' if known else ''}, got {str(got.dtype)[6:]} {list(got.shape)}"
            )
    return lengths


def _fits(tensor: TensorSpec, shape: torch.Size, lengths: dict[str, int]) -> bool:
    """Does a shape match? Remembers the lengths of dynamic axes in `lengths`."""
    if len(shape) != len(tensor.shape):
        return False
    return all(length > 0 and length == axis_length(axis, lengths, length) for axis, length in zip(tensor.shape, shape))


def axis_length(axis: int | str, lengths: dict[str, int], seen: int = 0) -> int:
    """Length of an axis of a `TensorSpec`; a name that is not in `lengths` yet is what makes the axis `seen` long."""
    if isinstance(axis, int):
        return axis
    match = AXIS.fullmatch(axis)
    if not match:
        raise ContractError(f"expected an axis such as 8192, cameras or 32*cameras, got {axis!r}: export it again")
    factor, name = match.groups(default="1")
    return int(factor) * lengths.setdefault(name, seen // int(factor))


class OutputBuffers:
    """Tensors that a network writes to, kept between runs: fresh memory of this size costs as much as a layer.

    Args:
        spec: of the network. device: where the tensors lie.
    """

    KEPT = 4  # sets of lengths

    def __init__(self, spec: NetworkSpec, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self.kept: dict[tuple, dict[str, torch.Tensor]] = {}

    def get(self, lengths: dict[str, int]) -> dict[str, torch.Tensor]:
        """Outputs by name for dynamic axes of these lengths."""
        key = tuple(sorted(lengths.items()))
        if key not in self.kept:
            if len(self.kept) == self.KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = {
                tensor.name: torch.empty(
                    [axis_length(axis, lengths) for axis in tensor.shape],
                    dtype=getattr(torch, tensor.dtype),
                    device=self.device,
                )
                for tensor in self.spec.outputs
            }
        return self.kept[key]
