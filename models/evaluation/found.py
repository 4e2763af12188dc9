"""What is found of each class, by the distance to the nearest return of the sweep.

Found is a voxel that is occupied in the truth and gets any class.
"""

from typing import Any

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS, OPENOCCUPANCY_CLASSES

STEPS = (0, 1, 2, 5, 10)
"""Ends of the bands of distance: voxels (Chebyshev) to the nearest one with a return; the last band has no end."""
BANDS = ("return", "1", "2", "3 to 5", "6 to 10", "farther")


def bands_of(occupied: np.ndarray) -> np.ndarray:
    """The band of each voxel, uint8 of the shape (X, Y, Z) of `occupied` (bool): where the returns are."""
    band, near = np.full(occupied.shape, len(STEPS), np.uint8), occupied.copy()
    for step in range(STEPS[-1] + 1):
        if step:
            near = _spread(near)
        band[near & (band == len(STEPS))] = np.searchsorted(STEPS, step)
    return band


def _spread(there: np.ndarray) -> np.ndarray:
    """Voxels that are there, or next to one over a face, an edge or a corner."""
    for axis in range(3):
        moved, rest = np.moveaxis(there, axis, 0), np.moveaxis(there.copy(), axis, 0)
        rest[1:] |= moved[:-1]
        rest[:-1] |= moved[1:]
        there = np.moveaxis(rest, 0, axis)
    return there


class Found:
    """Counts of voxels: `counts` (17, bands, 2) int64 by class in the truth, band, and whether it gets a class."""

    def __init__(self) -> None:
        self.counts = np.zeros((NUM_LABELS, len(BANDS), 2), np.int64)

    def add(self, answer: OccupancyGrid, truth: np.ndarray, points: np.ndarray) -> None:
        """Add a frame.

        Args:
            truth: (X, Y, Z) uint8 on the answer's grid; 255 is ignored.
            points: (N, 3 or more) returns that the model was given, metres, grid frame.
        """
        index, inside = answer.spec.indices(points[:, :3])
        occupied = np.zeros(truth.shape, bool)
        occupied[tuple(index[inside].T)] = True
        known = truth != IGNORE
        flat = truth[known].astype(np.int64) * len(BANDS) + bands_of(occupied)[known]
        flat = flat * 2 + (answer.labels[known] != EMPTY)
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def share(self) -> np.ndarray:
        """(17, bands) share that gets a class, 0..1; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self.counts[..., 1] / self.counts.sum(-1)

    def iou(self, share: np.ndarray | None = None) -> float:
        """Geometric IoU; NaN where neither side has anything occupied.

        Args:
            share: (17, bands) that get a class in place of its own; NaN leaves its own.
        """
        count, own = self.counts.sum(-1), self.share()
        got = np.nan_to_num(own if share is None else np.where(np.isnan(share), own, share)) * count
        union = count[EMPTY + 1 :].sum() + got[EMPTY].sum()
        return float(got[EMPTY + 1 :].sum() / union) if union else float("nan")

    def as_json(self) -> dict[str, Any]:
        """IoU, and by class and band the voxels and how many of them get a class."""
        names = ["empty", *(one.name for one in OPENOCCUPANCY_CLASSES)]
        there = {name: counts for name, counts in zip(names, self.counts) if counts.any()}
        return {
            "iou": self.iou(),
            "found": {
                name: {band: {"voxels": int(pair.sum()), "found": int(pair[1])} for band, pair in zip(BANDS, counts)}
                for name, counts in there.items()
            },
        }


def table(figures: dict[str, Any]) -> str:
    """Write `Found.as_json` for people: by band the share that gets a class, and the class's share of the occupied."""
    voxels = {name: sum(one["voxels"] for one in row.values()) for name, row in figures["found"].items()}
    occupied = sum(count for name, count in voxels.items() if name != "empty")
    lines = ["".join([f"{'gets a class':<22}", *(f"{band:>9}" for band in BANDS), f"{'of occupied':>13}"])]
    for name, row in figures["found"].items():
        shares = [f"{one['found'] / one['voxels']:.3f}" if one["voxels"] else "-" for one in row.values()]
        part = f"{voxels[name] / occupied:.1%}" if name != "empty" else ""
        lines.append("".join([f"{name:<22}", *(f"{share:>9}" for share in shares), f"{part:>13}"]))
    return "\n".join(lines)
