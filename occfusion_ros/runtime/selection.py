"""Active selection: which coarse voxels are worth refining."""

import torch


def any_child(occupied: torch.Tensor) -> torch.Tensor:
    """(T,) bool: which voxels have an occupied child; (T, J) uint8 of 0 and 1."""
    if occupied.shape[1] % 8:
        return occupied.amax(1) > 0
    return occupied.contiguous().view(torch.int64).any(1)  # eight children at once: several times as fast


def most_uncertain(uncertainty: torch.Tensor, occupied: torch.Tensor, budget: int) -> torch.Tensor:
    """(K,) int64 indices of the voxels of highest uncertainty among the occupied ones; K is `budget` or all of them.

    A voxel that is predicted empty is often uncertain and seldom changes: refinement pays where something is.

    Args:
        uncertainty: (T,) float, 0 or more. occupied: (T,) bool. budget: most voxels.
    """
    chosen = torch.topk(uncertainty.masked_fill(~occupied, -1), min(budget, len(uncertainty)), sorted=False).indices
    return chosen[occupied[chosen]]
