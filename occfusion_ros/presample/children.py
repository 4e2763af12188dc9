"""Children of coarse voxels: their layout, and what the refiner is told of each; used in training and on the robot.

A coarse voxel (parent) has factor**3 children; child ``(i * factor + j) * factor + k`` lies at step i along x, j along
y and k along z inside its parent.
"""

from dataclasses import dataclass

import torch

from ..core.grid import GridSpec, flatten
from .points import divided
from .presampler import Presampler
from .projection import assign_cameras, project, shows


@dataclass(frozen=True)
class ChildInputs:
    """What the refiner is told of K parents and their J children each; a parent is seen by one camera or by none.

    Attributes:
        parent: (K,) int64 flat coarse voxel (z fastest).
        child_uv: (K, J, 2) float32, 0..1 across the image of `parent_camera`.
        parent_camera: (K,) int64 index into the images, -1 where no camera sees the parent's center.
        child_seen: (K, J) float32, 1 where that camera sees the child's center.
        child_return: (K, J) float32, 1 where the sweep has a return in the child.
    """

    parent: torch.Tensor
    child_uv: torch.Tensor
    parent_camera: torch.Tensor
    child_seen: torch.Tensor
    child_return: torch.Tensor

    NETWORK_INPUTS = ("parent", "child_uv", "parent_camera", "child_seen", "child_return")

    def network_inputs(self) -> dict[str, torch.Tensor]:
        """The tensors that enter the refiner beside what the fuser gives it, by name."""
        return {name: getattr(self, name) for name in self.NETWORK_INPUTS}


def describe_children(
    parent: torch.Tensor,
    presampler: Presampler,
    image_from_grid: torch.Tensor,
    returns: torch.Tensor,
    seen: torch.Tensor | None = None,
) -> ChildInputs:
    """Project the children of `parent` (K,) int64; `seen` by `Presampler.seen_pixels`, the rest as in `FusedVoxels`."""
    factor, size = presampler.config.coarse_factor, presampler.config.image_size
    near = presampler.config.preprocessing.near
    center = presampler.centers(parent)  # (K, 3) float64
    step = divided(torch.arange(factor, device=parent.device, dtype=torch.float64) + 0.5, factor) - 0.5
    offsets = torch.cartesian_prod(step, step, step) * presampler.coarse.voxel_size  # (J, 3)
    points = (center[:, None] + offsets).float()  # (K, J, 3)
    _, camera = assign_cameras(center.float(), image_from_grid, size, near, seen)
    if len(image_from_grid):
        uv, visible = project(points, image_from_grid[camera.clamp(min=0)], size, near)
        if seen is not None:
            visible &= shows(seen, camera.clamp(min=0)[:, None], *uv.unbind(-1))
        child_seen = (visible & (camera >= 0)[:, None]).float()
    else:
        uv, child_seen = points.new_full((*points.shape[:2], 2), 0.5), points.new_zeros(points.shape[:2])
    fine = child_voxels(parent, presampler.config.grid, factor)
    return ChildInputs(parent, uv, camera, child_seen, is_member(fine, returns).float())


def is_member(values: torch.Tensor, ascending: torch.Tensor) -> torch.Tensor:
    """Bool of `values`' shape: is each one among the `ascending` (R,) unique values?"""
    if not len(ascending):
        return torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(ascending, values).clamp(max=len(ascending) - 1)
    return ascending[place] == values


def child_voxels(parent: torch.Tensor, grid: GridSpec, factor: int) -> torch.Tensor:
    """(K,) flat coarse voxels to the (K, J) flat voxels of `grid` that are their children (z fastest, both)."""
    low = grid.flatten(*grid.coarse(factor).unflatten(parent)) * factor
    return low[:, None] + steps_inside(grid, factor, parent.device)


def steps_inside(grid: GridSpec, factor: int, device: torch.device) -> torch.Tensor:
    """(J,) int64: how far the flat voxels of `grid` that are children lie behind the first one of their parent."""
    step = torch.arange(factor, device=device)
    return grid.flatten(step[:, None, None], step[:, None], step).flatten()  # (factor, factor, factor) to (J,)


def parents_of(fine: torch.Tensor, grid: GridSpec, factor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Flat voxels of `grid` (R,) to their parents and their places among the children, both (R,) int64."""
    index = grid.unflatten(fine)
    parent = grid.coarse(factor).flatten(*(i // factor for i in index))
    x, y, z = (i % factor for i in index)
    return parent, flatten(x, y, z, (factor,) * 3)


def to_children(dense: torch.Tensor, factor: int) -> torch.Tensor:
    """(X, Y, Z) over the fine grid to (T, J): one row of children for each coarse voxel."""
    x, y, z = (n // factor for n in dense.shape)
    split = dense.reshape(x, factor, y, factor, z, factor)
    return split.permute(0, 2, 4, 1, 3, 5).reshape(x * y * z, factor**3)


def from_children(children: torch.Tensor, grid: GridSpec, factor: int) -> torch.Tensor:
    """(T, J) rows of children to a contiguous (X, Y, Z) over the fine `grid`: the inverse of `to_children`."""
    # Children along z stay neighbors, so where they fit into a machine word they move as one, several times faster.
    word = {2: torch.int16, 4: torch.int32, 8: torch.int64}.get(factor * children.element_size())
    packed = children.contiguous().view(word) if word else children
    split = packed.reshape(*grid.coarse(factor).size, factor, factor, -1)
    return split.permute(0, 3, 1, 4, 2, 5).contiguous().view(children.dtype).reshape(grid.size)
