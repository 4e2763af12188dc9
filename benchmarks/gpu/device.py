"""The device that is measured, and what it can do at most."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

MIB = 2**20


@dataclass(frozen=True)
class Ceilings:
    """What a device does at most.

    Attributes:
        flops: dense float16 operations a second. bytes: of its memory a second, read and written.
        upload, download: bytes a second from and to ordinary (pageable) memory of the host.
    """

    flops: float
    bytes: float
    upload: float
    download: float


PUBLISHED = Ceilings(989e12, 4.8e12, 55e9, 55e9)
"""Of an H200 by the vendor's data sheet; the bus is PCIe 5.0 x16."""


class Device:
    """A GPU, or the CPU to rehearse on."""

    def __init__(self, name: str) -> None:
        """`name`: cuda or cpu."""
        self.torch, self.is_gpu = torch.device(name), name == "cuda"

    @property
    def name(self) -> str:
        """As its driver calls it."""
        return torch.cuda.get_device_name() if self.is_gpu else "CPU (a rehearsal)"

    def wait(self) -> None:
        """Until everything that was handed to it is done."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def forget_peak(self) -> None:
        """Start counting the peak of its memory anew."""
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_mib(self) -> float:
        """Most memory that tensors took since the last `forget_peak`; 0 on the CPU."""
        return torch.cuda.max_memory_allocated() / MIB if self.is_gpu else 0.0

    def seconds(self, call: Callable[[], object], repeats: int) -> float:
        """Mean time of one of `repeats` calls in a row, after a warm-up."""
        call()
        self.wait()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        self.wait()
        return (time.perf_counter() - start) / repeats

    def ceilings(self, edge: int = 8192, size: int = 1 << 30) -> Ceilings:
        """Measured: a matrix product of `edge`, and copies of `size` bytes."""
        kind = torch.float16 if self.is_gpu else torch.float32
        one, other = (torch.rand(edge, edge, device=self.torch).to(kind) for _ in range(2))
        flops = 2 * edge**3 / self.seconds(lambda: one @ other, 10)
        source, target = (torch.empty(size, dtype=torch.uint8, device=self.torch) for _ in range(2))
        copied = 2 * size / self.seconds(lambda: target.copy_(source), 10)
        host = torch.zeros(min(size, 64 * MIB), dtype=torch.uint8)
        there = target[: len(host)]
        upload, download = (
            len(host) / self.seconds(call, 5) for call in (lambda: there.copy_(host), lambda: host.copy_(there))
        )
        return Ceilings(flops, copied, upload, download)
