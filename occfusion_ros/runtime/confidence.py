"""What the bytes of the two networks say: probabilities of occupied voxels, and which empty ones are in doubt."""

import numpy as np
import torch

from ..core.confidence import OCCUPIED, Confidence, as_bytes, first_byte
from ..core.grid import GridSpec
from ..presample.children import child_voxels, parents_of

Tensors = dict[str, torch.Tensor]


class ConfidenceReader:
    """Looks bytes of the networks up, for the children of all coarse voxels that the pipeline has composed.

    Args:
        confidence: what bytes mean; None for what the networks themselves believe.
        grid, factor: the fine grid, and how many of its voxels a coarse one has along each axis.
    """

    def __init__(self, confidence: Confidence | None, grid: GridSpec, factor: int, device: torch.device) -> None:
        self._known, self.grid, self.factor = confidence or Confidence(), grid, factor
        self._occupancy, self._classes = (
            torch.from_numpy(
                np.concatenate(
                    [as_bytes(getattr(network, kind)) for network in (self._known.fuser, self._known.refiner)]
                )
            ).to(device)
            for kind in ("occupancy", "classes")
        )  # (512,) each: the fuser's, then the refiner's
        self._doubt: torch.Tensor | None = None  # (T, J) uint8, once it is asked for: fresh memory costs milliseconds

    def probabilities(
        self, labels: torch.Tensor, fused: Tensors, parents: torch.Tensor, refined: Tensors, rows: torch.Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probability of being occupied, and of the class, (X, Y, Z) uint8 each, 0..255 for 0..1; 0 where empty.

        Only voxels that are answered to be occupied are looked up, which are few.

        Args:
            labels: (T, J) uint8 of the answer. fused, refined: outputs of the networks. parents: (K,), were refined.
            rows: (R,) coarse voxels, ascending, `parents` among them, in which alone something may be.
        """
        children = labels.shape[1]
        listed = labels[rows].flatten().nonzero()[:, 0]  # (N,) of the R * J
        at = torch.empty(len(labels), dtype=torch.long, device=labels.device)
        at[rows] = torch.arange(len(rows), device=labels.device)
        again = at[parents]
        occupancy = fused["occupancy"][rows].clamp(min=OCCUPIED).short()  # a return is occupied whatever is said of it
        occupancy[again] = refined["occupancy"].clamp(min=OCCUPIED).short() + 256
        classes = fused["semantic_confidence"][rows].short()[:, None].repeat(1, children)
        # A return that the refiner gave no class has that of the fuser.
        of_refiner = refined["class_confidence"].short() + 256
        classes[again] = torch.where(refined["labels"] > 0, of_refiner, classes[again])
        voxels = child_voxels(rows, self.grid, self.factor).flatten().index_select(0, listed).cpu().numpy()
        return (
            self._dense(voxels, _looked_up(self._occupancy, occupancy, listed)),
            self._dense(voxels, _looked_up(self._classes, classes, listed)),
        )

    def mark_doubt(
        self,
        labels: torch.Tensor,
        fused: Tensors,
        parents: torch.Tensor,
        refined: Tensors,
        returns: torch.Tensor,
        free_below: float,
    ) -> None:
        """Label empty children IGNORE, in place, that may be occupied with a probability of `free_below` or more.

        Args:
            labels, fused, parents, refined: as above. returns: (R,) int64 voxels of the grid that are occupied anyway.
        """
        fuser, refiner = (first_byte(n.occupancy, free_below) for n in (self._known.fuser, self._known.refiner))
        self._doubt = torch.empty_like(labels) if self._doubt is None else self._doubt
        doubt = _empty_from(fused["occupancy"], fuser, self._doubt)
        doubt[parents] = _empty_from(refined["occupancy"], refiner, torch.empty_like(refined["occupancy"]))
        doubt[parents_of(returns, self.grid, self.factor)] = 0
        labels |= doubt

    def _dense(self, voxels: np.ndarray, values: torch.Tensor) -> np.ndarray:
        dense = np.zeros(self.grid.num_voxels, np.uint8)  # on the host: all but the listed ones need not be brought
        dense[voxels] = values.cpu().numpy()
        return dense.reshape(self.grid.size)


def _looked_up(table: torch.Tensor, places: torch.Tensor, listed: torch.Tensor) -> torch.Tensor:
    """What a table has for the places that are listed by flat index; several times as fast as indexing."""
    return table.index_select(0, places.flatten().index_select(0, listed).int())


def _empty_from(occupancy: torch.Tensor, limit: int, out: torch.Tensor) -> torch.Tensor:
    """255 where a byte lies in `limit`..127, else 0; uint8 of any shape, in `out`.

    By the highest bit: comparisons make flags, which torch is slow to turn into anything else.
    """
    if limit >= OCCUPIED:
        return out.zero_()
    torch.clamp(occupancy, max=OCCUPIED - 1, out=out)  # at or above the limit: that bit is set after the addition
    return out.add_(OCCUPIED - limit).bitwise_xor_(occupancy).bitwise_right_shift_(7).neg_()
