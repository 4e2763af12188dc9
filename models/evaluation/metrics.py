"""Occupancy metrics as in OpenOccupancy: one confusion matrix over the whole set, label 255 ignored."""

from __future__ import annotations

import numpy as np

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS

BAND_EDGES = (12.8, 25.6)  # metres, where the nearest and the middle band end


class ConfusionMatrix:
    """Counts of (truth, prediction) over voxels; `counts` is (17, 17) int64."""

    def __init__(self, num_labels: int = NUM_LABELS) -> None:
        self.counts = np.zeros((num_labels, num_labels), np.int64)

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add voxels; two uint8 arrays of one shape, truth 255 ignored."""
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}")
        known = truth != IGNORE
        size = len(self.counts)
        predicted, true = prediction[known], truth[known].astype(np.int64)
        if max(predicted.max(initial=0), true.max(initial=0)) >= size:
            raise ValueError(
                f"expected labels below {size} in voxels that count, got prediction up to "
                f"{predicted.max(initial=0)} and truth up to {true.max(initial=0)}"
            )
        self.counts += np.bincount(true * size + predicted, minlength=size * size).reshape(size, size)

    def iou(self) -> float:
        """Geometric IoU: occupied against empty, whatever the class; NaN where neither side has anything occupied."""
        hit = self.counts[EMPTY + 1 :, EMPTY + 1 :].sum()
        union = self.counts.sum() - self.counts[EMPTY, EMPTY]
        return float(hit / union) if union else float("nan")

    def class_iou(self) -> np.ndarray:
        """(16,) float64 IoU of each non-empty class; NaN where the class is neither there nor predicted."""
        hit = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        with np.errstate(invalid="ignore"):
            return (hit / union)[EMPTY + 1 :]

    def present(self) -> np.ndarray:
        """(16,) bool: the classes that the truth contains."""
        return self.counts.sum(1)[EMPTY + 1 :] > 0

    def miou(self) -> float:
        """Mean IoU of the classes that the truth contains; NaN for an empty truth."""
        present = self.present()
        return float(self.class_iou()[present].mean()) if present.any() else float("nan")

    def miou_all(self) -> float:
        """OpenOccupancy's mean IoU, over all 16 classes; one that is neither there nor predicted counts 0.

        The benchmark's own set has every class, so there it equals `miou`.
        """
        return float(np.nan_to_num(self.class_iou()).mean())


class RangeBands:
    """One confusion matrix for each band of range.

    The range of a voxel is the larger of |x| and |y| of its center (the Chebyshev distance from the grid frame's
    origin): the bands are nested squares, which tile the square grid; rings would leave its corners.

    Args:
        grid: of the labels that will be added.
    """

    def __init__(self, grid: GridSpec) -> None:
        x, y = (np.abs(grid.low[axis] + (np.arange(grid.size[axis]) + 0.5) * grid.voxel_size) for axis in (0, 1))
        self.band = np.digitize(np.maximum.outer(x, y), BAND_EDGES)  # (X, Y)
        self.matrices = tuple(ConfusionMatrix() for _ in range(len(BAND_EDGES) + 1))
        farthest = max(map(abs, (*grid.low[:2], *grid.high[:2])))
        starts = (0, *BAND_EDGES)
        self.names = tuple(f"{start:g}-{end:g} m" for start, end in zip(starts, (*BAND_EDGES, farthest)))

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Add a frame; two (X, Y, Z) uint8 arrays, truth 255 ignored."""
        if prediction.shape != truth.shape or prediction.shape[:2] != self.band.shape:
            raise ValueError(
                f"expected prediction and truth over {self.band.shape} columns, "
                f"got {prediction.shape} and {truth.shape}"
            )
        for index, matrix in enumerate(self.matrices):
            inside = self.band == index
            matrix.add(prediction[inside], truth[inside])  # (columns, Z)

    def total(self) -> ConfusionMatrix:
        """The confusion matrix of all bands together."""
        matrix = ConfusionMatrix()
        matrix.counts = np.sum([band.counts for band in self.matrices], axis=0)
        return matrix
