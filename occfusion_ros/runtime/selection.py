"""Active selection: which coarse voxels are worth refining."""

import torch


def most_uncertain(uncertainty: torch.Tensor, occupied: torch.Tensor, budget: int) -> torch.Tensor:
    """(K,) int64 indices of the voxels of highest uncertainty among the occupied ones; K is `budget` or all of them.

    A voxel that is predicted empty is often uncertain and seldom changes: refinement pays where something is.

    Args:
        uncertainty: (T,) float, 0 or more. occupied: (T,) bool. budget: most voxels.
    """
    chosen = torch.topk(uncertainty.masked_fill(~occupied, -1), min(budget, len(uncertainty)), sorted=False).indices
    return chosen[occupied[chosen]]
