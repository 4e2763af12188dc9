"""Occupancy metrics as in OpenOccupancy: one confusion matrix over the whole set, label 255 ignored."""

import numpy as np

from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS


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
        index = truth[known].astype(np.int64) * size + prediction[known]
        self.counts += np.bincount(index, minlength=size * size).reshape(size, size)

    def iou(self) -> float:
        """Geometric IoU: occupied against empty, whatever the class; NaN where neither side has anything occupied."""
        hit = self.counts[EMPTY + 1:, EMPTY + 1:].sum()
        union = self.counts.sum() - self.counts[EMPTY, EMPTY]
        return float(hit / union) if union else float("nan")

    def class_iou(self) -> np.ndarray:
        """(16,) float64 IoU of each non-empty class; NaN where the class is neither there nor predicted."""
        hit = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hit
        with np.errstate(invalid="ignore"):
            return (hit / union)[EMPTY + 1:]

    def present(self) -> np.ndarray:
        """(16,) bool: the classes that the truth contains."""
        return self.counts.sum(1)[EMPTY + 1:] > 0

    def miou(self) -> float:
        """Mean IoU of the classes that the truth contains; NaN for an empty truth."""
        present = self.present()
        return float(self.class_iou()[present].mean()) if present.any() else float("nan")
