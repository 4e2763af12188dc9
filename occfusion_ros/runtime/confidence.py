"""What the bytes of the two networks say: probabilities of occupied voxels, and which empty ones are in doubt."""

import numpy as np
import torch

from ..core.confidence import OCCUPIED, Confidence, as_bytes, first_byte
from .candidates import Candidates

Tensors = dict[str, torch.Tensor]


class ConfidenceReader:
    """Looks bytes of the networks up, for the children of the candidates that the pipeline has composed.

    Args:
        confidence: what bytes mean; None for what the networks themselves believe.
    """

    def __init__(self, confidence: Confidence | None, device: torch.device) -> None:
        self._known = confidence or Confidence()
        self._occupancy, self._classes = (
            torch.from_numpy(
                np.concatenate(
                    [as_bytes(getattr(network, kind)) for network in (self._known.fuser, self._known.refiner)]
                )
            ).to(device)
            for kind in ("occupancy", "classes")
        )  # (512,) each: the fuser's, then the refiner's

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

    def mark_doubt(
        self,
        labels: torch.Tensor,
        candidates: Candidates,
        again: torch.Tensor,
        refined: Tensors,
        returns: torch.Tensor,
        free_below: float,
    ) -> None:
        """Label empty children IGNORE, in place, that may be occupied with a probability of `free_below` or more.

        Args:
            labels: (R, J) uint8 of the answer. candidates, again, refined: as above.
            returns: (M,) int64 voxels of the grid that are occupied anyway.
        """
        fuser, refiner = (first_byte(n.occupancy, free_below) for n in (self._known.fuser, self._known.refiner))
        doubt = _empty_from(candidates.occupancy, fuser)
        doubt[again] = _empty_from(refined["occupancy"], refiner)
        doubt[candidates.places(returns)] = 0
        labels |= doubt


def _looked_up(table: torch.Tensor, places: torch.Tensor, listed: torch.Tensor) -> torch.Tensor:
    """What a table has for the places that are listed by flat index; several times as fast as indexing."""
    return table.index_select(0, places.flatten().index_select(0, listed).int())


def _empty_from(occupancy: torch.Tensor, limit: int) -> torch.Tensor:
    """255 where a byte lies in `limit`..127, else 0; uint8 of any shape.

    By the highest bit: comparisons make flags, which torch is slow to turn into anything else.
    """
    if limit >= OCCUPIED:
        return torch.zeros_like(occupancy)
    empty = occupancy.clamp(max=OCCUPIED - 1)  # at or above the limit: that bit is set after the addition
    return empty.add_(OCCUPIED - limit).bitwise_xor_(occupancy).bitwise_right_shift_(7).neg_()
