"""What the bytes of the two networks say: probabilities of occupied voxels, and which empty ones are in doubt."""

import numpy as np
import torch

from ..core.confidence import OCCUPIED, Confidence, as_bytes, first_byte
from ..core.grid import GridSpec
from ..presample.children import parents_of
from .candidates import Candidates

Tensors = dict[str, torch.Tensor]


class ConfidenceReader:
    """Looks bytes of the networks up, for the children of the candidates that the pipeline has composed.

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
        self, refined: Tensors, candidates: Candidates, again: torch.Tensor, listed: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Probability of being occupied, and of the class, (N,) uint8 each, 0..255 for 0..1.

        Args:
            refined: outputs of the refiner. again: (K,) rows that it has refined.
            listed: (N,) flat places among the (R, J) children, of those that are answered to be occupied.
        """
        # A return is occupied whatever is said of it.
        occupancy = candidates.occupancy.clamp(min=OCCUPIED).short()
        occupancy[again] = refined["occupancy"].clamp(min=OCCUPIED).short() + 256
        classes = candidates.semantic_confidence.short()[:, None].repeat(1, occupancy.shape[1])
        # A return that the refiner gave no class has that of the fuser.
        of_refiner = refined["class_confidence"].short() + 256
        classes[again] = torch.where(refined["labels"] > 0, of_refiner, classes[again])
        return _looked_up(self._occupancy, occupancy, listed), _looked_up(self._classes, classes, listed)

    def doubt(
        self, fused: Tensors, parents: torch.Tensor, refined: Tensors, returns: torch.Tensor, free_below: float
    ) -> torch.Tensor:
        """(T, J) uint8: IGNORE for empty children that are occupied with a probability of `free_below` or more, else 0.

        What a screen did not let pass is in no doubt. The next call overwrites it.

        Args:
            fused, refined: outputs of the networks. parents: (K,) voxels that were refined.
            returns: (N,) int64 voxels of the fine grid that are occupied anyway.
        """
        fuser, refiner = (first_byte(n.occupancy, free_below) for n in (self._known.fuser, self._known.refiner))
        shape = (self.grid.coarse(self.factor).num_voxels, fused["occupancy"].shape[1])
        self._doubt = fused["occupancy"].new_empty(shape) if self._doubt is None else self._doubt
        if "screened" in fused:
            passed = fused["screened"] >= 0
            rows = fused["occupancy"][passed]
            doubt = self._doubt.zero_().index_copy_(
                0, fused["screened"][passed], _empty_from(rows, fuser, torch.empty_like(rows))
            )
        else:
            doubt = _empty_from(fused["occupancy"], fuser, self._doubt)
        doubt[parents] = _empty_from(refined["occupancy"], refiner, torch.empty_like(refined["occupancy"]))
        doubt[parents_of(returns, self.grid, self.factor)] = 0
        return doubt


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
