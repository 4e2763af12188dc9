"""Probabilities of the voxels of a grid, from the bytes of the two networks."""

import numpy as np
import torch

from ..core.confidence import OCCUPIED, Confidence, as_bytes
from ..core.grid import GridSpec
from ..presample.children import child_voxels
from .selection import any_child

Tensors = dict[str, torch.Tensor]


class ConfidenceReader:
    """Turns bytes into probabilities; only voxels that are answered to be occupied are looked at, which are few.

    Args:
        confidence: what bytes mean; None for what the networks themselves believe.
        grid, factor: the fine grid, and how many of its voxels a coarse one has along each axis.
    """

    def __init__(self, confidence: Confidence | None, grid: GridSpec, factor: int, device: torch.device) -> None:
        known = confidence or Confidence()
        self.grid, self.factor = grid, factor
        self._occupancy, self._classes = (
            torch.from_numpy(
                np.concatenate([as_bytes(getattr(network, kind)) for network in (known.fuser, known.refiner)])
            )
            for kind in ("occupancy", "classes")
        )  # (512,) each: the fuser's, then the refiner's
        self._occupancy, self._classes = self._occupancy.to(device), self._classes.to(device)

    def __call__(
        self, labels: torch.Tensor, fused: Tensors, parents: torch.Tensor, refined: Tensors
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability of being occupied, and of the class, (X, Y, Z) uint8 each, 0..255 for 0..1; 0 where empty.

        Args:
            labels: (T, J) uint8 of the answer. fused, refined: outputs of the networks. parents: (K,), were refined.
        """
        rows = any_child(labels, 0xFF).nonzero()[:, 0]
        at, child = labels[rows].nonzero(as_tuple=True)
        row = rows[at]  # (N,) coarse voxels of the occupied children
        place = torch.full((len(labels),), -1, device=labels.device)
        place[parents] = torch.arange(len(parents), device=labels.device)
        anew = place[row]
        again = (anew >= 0).nonzero()[:, 0]  # (M,) of the N were refined
        which = anew[again], child[again]
        occupancy = fused["occupancy"][row, child].int()
        occupancy[again] = refined["occupancy"][which].int()
        classes = fused["semantic_confidence"][row].int()
        # A return that the refiner gave no class has that of the fuser.
        classed = (refined["labels"][which] > 0).nonzero()[:, 0]
        classes[again[classed]] = refined["class_confidence"][which][classed].int() + 256
        occupancy.clamp_(min=OCCUPIED)  # a voxel with a return is occupied whatever the network says of it
        occupancy[again] += 256
        voxels = child_voxels(rows, self.grid, self.factor)[at, child]
        return self._dense(voxels, self._occupancy[occupancy]), self._dense(voxels, self._classes[classes])

    def _dense(self, voxels: torch.Tensor, values: torch.Tensor) -> np.ndarray:
        dense = torch.zeros(self.grid.num_voxels, dtype=torch.uint8, device=values.device)
        dense[voxels] = values
        return dense.view(self.grid.size).cpu().numpy()
