"""Reliability of probabilities: how often what is said with a probability is so."""

from typing import Any

import numpy as np

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.labels import IGNORE

BINS = 15


class Reliability:
    """Counts by probability in bytes, (256,): `right` and `all`."""

    def __init__(self) -> None:
        self.right, self.all = np.zeros(256), np.zeros(256)

    def add(self, values: np.ndarray, right: np.ndarray) -> None:
        """Bytes, 0..255 for 0..1, and bool whether it was so, of one shape."""
        self.all += np.bincount(values, minlength=256)
        self.right += np.bincount(values[right], minlength=256)

    def bins(self) -> list[tuple[float, float, int]]:
        """Mean probability, share that is so, and number, of each bin of equal width that is not empty."""
        of_bin = np.arange(256) * BINS // 256
        number, right, said = (
            np.bincount(of_bin, weights, BINS) for weights in (self.all, self.right, self.all * np.arange(256) / 255)
        )
        return [(float(s / n), float(r / n), int(n)) for n, r, s in zip(number, right, said) if n]

    def error(self) -> float:
        """Expected calibration error: the mean distance of the two by number of voxels (Naeini et al., AAAI 2015)."""
        bins = self.bins()
        return sum(n * abs(said - so) for said, so, n in bins) / max(sum(n for *_, n in bins), 1)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"error": self.error(), "voxels": int(self.all.sum()), "bins": self.bins()}


class Reliabilities:
    """Of occupancy, over the voxels that are answered to be occupied and whose truth is known; of classes, over those
    of them that are occupied."""

    def __init__(self) -> None:
        self.occupancy, self.classes = Reliability(), Reliability()

    def add(self, grid: OccupancyGrid, truth: np.ndarray) -> None:
        """Count a frame; `truth` (X, Y, Z) uint8."""
        listed = (grid.labels > 0) & (truth != IGNORE)
        so = truth[listed]
        self.occupancy.add(grid.occupancy[listed], so > 0)
        self.classes.add(grid.class_confidence[listed][so > 0], (grid.labels[listed] == so)[so > 0])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"occupancy": self.occupancy.to_dict(), "class": self.classes.to_dict()}
