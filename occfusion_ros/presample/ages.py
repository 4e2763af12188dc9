"""How old the returns of coarse voxels are, for networks that are told of earlier sweeps.

Earlier returns are many times those of the present sweep, so little is done with each: they are counted, the age of the
newest in each child is kept, and only those go on that have to stand for a voxel without a present return. Whole
numbers and single operations as in `points`, so that neither the order of the points matters nor the device.
"""

from dataclasses import dataclass

import torch

from ..core.frames import PastPoints
from ..core.grid import GridSpec, flatten
from .points import divided

STEPS_PER_S = 1000  # ages are counted in milliseconds
OLDEST = 60 * STEPS_PER_S  # what is older counts as this
NUM_AGES = 3


@dataclass(frozen=True)
class Earlier:
    """Returns of earlier sweeps inside the grid, P of them.

    Attributes:
        scaled: (P, 3) float32, places in fine voxels from the grid's corner on.
        voxel, child: (P,) int64, flat coarse voxel, and which of its children.
        age: (P,) int32, 1 or more of `STEPS_PER_S`.
        intensity: (P,) float32.
    """

    scaled: torch.Tensor
    voxel: torch.Tensor
    child: torch.Tensor
    age: torch.Tensor
    intensity: torch.Tensor

    @classmethod
    def of(cls, past: PastPoints, grid: GridSpec, factor: int, device: torch.device) -> "Earlier":
        """Place them in coarse voxels of `factor` fine ones along each axis."""
        *axes, intensity = torch.from_numpy(past.points).to(device).T.contiguous()
        scaled = [divided(axis - low, grid.voxel_size) for axis, low in zip(axes, grid.low)]
        inside = torch.ones(len(intensity), dtype=torch.bool, device=device)
        for place, size in zip(scaled, grid.size):
            inside &= (place >= 0) & (place < size)
        kept = inside.nonzero()[:, 0]
        scaled = [place[kept] for place in scaled]
        fine = [place.int() for place in scaled]  # floor: they are not negative
        coarse = [torch.div(index, factor, rounding_mode="trunc") for index in fine]
        x, y, z = (index - factor * block for index, block in zip(fine, coarse))
        child = flatten(x, y, z, (factor,) * 3)
        age = (torch.from_numpy(past.lags).to(device) * STEPS_PER_S).round_().clamp_(1, OLDEST).int()[kept]
        voxel = grid.coarse(factor).flatten(*coarse)
        return cls(torch.stack(scaled, 1), voxel.long(), child.long(), age, intensity[kept])

    def fraction(self, chosen: torch.Tensor, factor: int) -> torch.Tensor:
        """(C, 3) float64 in [0, 1): where `chosen` ones lie in their coarse voxel."""
        scaled = self.scaled[chosen].double()
        return divided(scaled - torch.div(scaled.long(), factor, rounding_mode="trunc") * factor, factor)


@dataclass(frozen=True)
class Ages:
    """Of V coarse voxels with returns, ascending, and their J children.

    Attributes:
        present: (V,) bool, voxels with a return of the present sweep.
        freshness: (V, J) float32, 1 / (1 + seconds) of each child's newest return: 1 if it is of the present sweep; 0
            where there is none.
        statistics: (V, `NUM_AGES`) float32, mean age in seconds of children's newest returns, log counts of present
            and of earlier returns.
        chosen: indices of the earlier returns that stand for a voxel that has no present one: each child's newest.
    """

    present: torch.Tensor
    freshness: torch.Tensor
    statistics: torch.Tensor
    chosen: torch.Tensor


def ages_of(voxel: torch.Tensor, child: torch.Tensor, earlier: Earlier, size: tuple[int, int]) -> Ages:
    """Describe the present sweep's returns, by their (M,) flat coarse voxel and child, and those of earlier sweeps.

    Args:
        size: number of coarse voxels, and of children of each.
    """
    now = torch.zeros(size[0], dtype=torch.bool, device=voxel.device)
    now[voxel] = True
    ever = now.clone()
    ever[earlier.voxel] = True
    number = torch.cumsum(ever, 0) - 1
    row, earlier_row, rows = number[voxel], number[earlier.voxel], int(ever.sum())
    newest = torch.full((rows * size[1],), OLDEST + 1, dtype=torch.int32, device=voxel.device)
    newest[row * size[1] + child] = 0
    place = earlier_row * size[1] + earlier.child
    newest.scatter_reduce_(0, place, earlier.age, "amin")
    chosen = ((newest[place] == earlier.age) & ~now[earlier.voxel]).nonzero()[:, 0]
    newest = newest.view(rows, size[1]).float()
    there = (newest <= OLDEST).float()
    mean = divided((newest * there).sum(1).double() / there.sum(1), STEPS_PER_S)  # sums of whole numbers below 2**24
    counts = (torch.bincount(each, minlength=rows).double().log1p() for each in (row, earlier_row))
    fresh = there / (1 + divided(newest, STEPS_PER_S))
    return Ages(now[ever], fresh, torch.stack([mean, *counts], 1).float(), chosen)
