"""The coarse voxels in which something may be: a few of all, on which everything after the fuser works."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..core.grid import GridSpec
from ..presample.children import from_children, parents_of, steps_inside
from .selection import any_child

BY_ROW = ("occupancy", "semantic", "semantic_confidence", "uncertainty")  # outputs that a screen shortens


@dataclass(frozen=True)
class Candidates:
    """What the fuser says of R coarse voxels; each one comes once, in any order.

    Attributes:
        grid: the fine grid. factor: fine voxels per coarse one along each axis.
        voxel: (R,) int64, flat (z fastest).
        occupied: (R,) bool, whether a child is occupied.
        occupancy, semantic, semantic_confidence, uncertainty: (R, J) and (R,), see `network.wrappers.FuserNetwork`.
    """

    grid: GridSpec
    factor: int
    voxel: torch.Tensor
    occupied: torch.Tensor
    occupancy: torch.Tensor
    semantic: torch.Tensor
    semantic_confidence: torch.Tensor
    uncertainty: torch.Tensor

    @cached_property
    def _row(self) -> torch.Tensor:
        """(T,) int64 row of each coarse voxel; anything for those that are none of the candidates."""
        row = torch.empty(self.grid.coarse(self.factor).num_voxels, dtype=torch.long, device=self.voxel.device)
        row[self.voxel] = torch.arange(len(self.voxel), device=self.voxel.device)
        return row

    def rows(self, voxel: torch.Tensor) -> torch.Tensor:
        """(N,) coarse voxels, all of them candidates, to their rows."""
        return self._row[voxel]

    def places(self, fine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N,) voxels of the fine grid in candidates to their rows and their places among the children."""
        parent, child = parents_of(fine, self.grid, self.factor)
        return self.rows(parent), child

    def fine(self, row: torch.Tensor, child: torch.Tensor) -> np.ndarray:
        """Rows and places among the children, (N,) each, to (N,) int64 flat voxels of the fine grid, on the host."""
        low = self.grid.flatten(*self.grid.coarse(self.factor).unflatten(self.voxel)) * self.factor
        steps = steps_inside(self.grid, self.factor, child.device)
        return low.index_select(0, row).add_(steps.index_select(0, child)).cpu().numpy()

    def dense(self, children: torch.Tensor) -> np.ndarray:
        """(R, J) values of all children to (X, Y, Z) of the fine grid, which is 0 elsewhere."""
        total = self.grid.coarse(self.factor).num_voxels
        rows = children.new_zeros((total, children.shape[1])).index_copy_(0, self.voxel, children)
        return from_children(rows, self.grid, self.factor).cpu().numpy()


def candidates_of(fused: dict[str, torch.Tensor], needed: torch.Tensor, grid: GridSpec, factor: int) -> Candidates:
    """The coarse voxels in which the fuser sees something, and those that are needed anyway.

    Args:
        fused: outputs of the fuser, see `in_todays_form`.
        needed: (N,) int64 coarse voxels. What a screen had no room for of them is empty, with the commonest class, and
            nothing is sure of it.
    """
    occupied = any_child(fused["occupancy"])
    wanted = torch.zeros(grid.coarse(factor).num_voxels, dtype=torch.bool, device=occupied.device)
    wanted[needed] = True
    if "screened" in fused:
        voxel = fused["screened"]
        rows = ((voxel >= 0) & (occupied | wanted[voxel])).nonzero()[:, 0]
        voxel = voxel[rows]
        wanted[voxel] = False
        blocked = wanted.nonzero()[:, 0]
    else:
        voxel = rows = (occupied | wanted).nonzero()[:, 0]
        blocked = rows[:0]
    values = {name: _longer(fused[name].index_select(0, rows), len(blocked)) for name in BY_ROW}
    if len(blocked):
        values["semantic"][len(rows) :] = values["semantic"].int().bincount(minlength=2)[1:].argmax() + 1
    return Candidates(grid, factor, torch.cat([voxel, blocked]), _longer(occupied[rows], len(blocked)), **values)


def in_todays_form(fused: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The fuser's outputs; up to format 4 a child was 1 where occupied, and nothing was said of how sure that is."""
    if "occupied" not in fused:
        return fused
    unsaid = torch.zeros_like(fused["semantic"])
    return fused | {"occupancy": fused["occupied"] << 7, "semantic_confidence": unsaid}


def _longer(values: torch.Tensor, rows: int) -> torch.Tensor:
    """`values` with so many rows of zeros at the end."""
    return torch.cat([values, values.new_zeros((rows, *values.shape[1:]))]) if rows else values


def scattered(dense: np.ndarray, voxel: np.ndarray, values: torch.Tensor) -> np.ndarray:
    """`dense` (X, Y, Z) uint8, contiguous, with (N,) values put in at (N,) flat voxels; of a GPU only these come."""
    dense.reshape(-1)[voxel] = values.cpu().numpy()
    return dense
