"""Operations and bytes of a computation, counted."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


def macs(call: Callable[[], Any]) -> tuple[int, Any]:
    """Multiply-adds of convolutions and matrix products in `call`, and what it returns.

    Not counted: bilinear sampling, softmax, scatter and everything else that works element by element.
    """
    with FlopCounterMode(display=False) as counter:
        result = call()
    return counter.get_total_flops() // 2, result


class Traffic(TorchDispatchMode):
    """Counts the bytes of all results that are computed, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = result if isinstance(result, (tuple, list)) else (result,)
            self.bytes += sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
        return result
