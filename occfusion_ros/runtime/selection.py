"""Active selection: which coarse voxels are worth refining."""

import torch

from ..core.confidence import OCCUPIED


def any_child(children: torch.Tensor, bits: int = OCCUPIED) -> torch.Tensor:
    """(T,) bool: which voxels have a child with any of these bits set; (T, J) uint8, by default occupancy."""
    if children.shape[1] % 8:
        return (children & bits).any(1)
    words = children.contiguous().view(torch.int64)  # eight children at once: several times as fast
    while not words.shape[1] % 2:
        words = words[:, : words.shape[1] // 2] | words[:, words.shape[1] // 2 :]
    mask = int.from_bytes([bits] * 8, "little", signed=False)
    return (words & (mask - (mask >> 63 << 64))).any(1)  # as int64


def most_uncertain(uncertainty: torch.Tensor, occupied: torch.Tensor, budget: int) -> torch.Tensor:
    """(K,) int64 indices of the voxels of highest uncertainty among the occupied ones; K is `budget` or all of them.

    A voxel that is predicted empty is often uncertain and seldom changes: refinement pays where something is.

    Args:
        uncertainty: (T,) float, 0 or more. occupied: (T,) bool. budget: most voxels.
    """
    chosen = torch.topk(uncertainty.masked_fill(~occupied, -1), min(budget, len(uncertainty)), sorted=False).indices
    return chosen[occupied[chosen]]
