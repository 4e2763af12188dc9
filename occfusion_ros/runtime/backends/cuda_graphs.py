"""Replay of a computation whose shapes repeat as one launch (CUDA graph)."""

from collections.abc import Callable

import torch

Tensors = dict[str, torch.Tensor]


class CudaGraphs:
    """Captures `compute(inputs, outputs)` once for each set of shapes and replays it from then on.

    Inputs are copied to fixed places first, because a graph remembers addresses; outputs must stay where they were.
    """

    KEPT = 4  # sets of shapes

    def __init__(self, compute: Callable[[Tensors, Tensors], None]) -> None:
        self.compute = compute
        self.kept: dict[tuple, tuple[torch.cuda.CUDAGraph, Tensors]] = {}

    def __call__(self, inputs: Tensors, outputs: Tensors) -> None:
        """Fill `outputs` from `inputs`, all on the current CUDA device."""
        key = (*(tensor.data_ptr() for tensor in outputs.values()), *(tuple(t.shape) for t in inputs.values()))
        if key not in self.kept:
            if len(self.kept) == self.KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[key] = self._capture(inputs, outputs)
        graph, places = self.kept[key]
        for name, tensor in inputs.items():
            places[name].copy_(tensor)
        graph.replay()

    def _capture(self, inputs: Tensors, outputs: Tensors) -> tuple[torch.cuda.CUDAGraph, Tensors]:
        places = {name: tensor.clone() for name, tensor in inputs.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels before they are captured
                self.compute(places, outputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.compute(places, outputs)
        return graph, places
