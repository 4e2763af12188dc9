"""RayIoU: is the first thing that a ray meets the right one, at the right distance?

The metric of Liu et al., "Fully Sparse 3D Occupancy Prediction" (ECCV 2024, arXiv 2312.17118): rays leave the sensor
in fixed LiDAR-like directions; each has the class and the distance of the first occupied voxel it meets in the truth
and in the prediction. It is a true positive when the classes agree and the distances differ by less than a threshold.
IoU of a class is TP / (truth rays + predicted rays - TP) over the whole set; RayIoU is the mean over the classes that
either side has, and over the thresholds of 1, 2 and 4 m. Rays that meet nothing in the truth are left out.

Truth with unobserved voxels (255): a ray is left out as well where the first voxel that is not known to be free is
unobserved, because the truth cannot say what the ray meets.
"""

import math

import numpy as np
from numba import njit

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.grid import GridSpec, flatten, strides
from occfusion_ros.core.labels import EMPTY, IGNORE, NUM_LABELS, OPENOCCUPANCY_CLASSES

THRESHOLDS = (1.0, 2.0, 4.0)  # metres
MAX_ORIGINS = 8  # for each frame, as in the paper
BORDER = 1.0  # metres at the grid's sides where no ray starts, as in the paper
NUM_AZIMUTHS = 360
GROUND_RINGS = 10  # rays that meet flat ground at 1, 2, ... times the sensor's height
HIGHEST_PITCH = 0.21  # radians, top of the field of view of nuScenes' LiDAR
OUTSIDE = IGNORE - 1  # label of the wall around the grid


def ray_directions() -> np.ndarray:
    """(14040, 3) float64 unit directions: 39 pitches, each at 360 azimuths.

    Rings on flat ground are equally far apart down to the 10th; the pitches above go on in the last one's step.
    """
    pitches = [-math.atan(1 / ring) for ring in range(1, GROUND_RINGS + 1)]
    step = pitches[-1] - pitches[-2]
    while pitches[-1] < HIGHEST_PITCH:
        pitches.append(pitches[-1] + step)
    pitch = np.repeat(pitches, NUM_AZIMUTHS)
    azimuth = np.tile(np.radians(np.arange(0, 360, 360 / NUM_AZIMUTHS)), len(pitches))
    return np.stack([np.cos(pitch) * np.cos(azimuth), np.cos(pitch) * np.sin(azimuth), np.sin(pitch)], axis=1)


def choose_origins(grid: GridSpec, sensors: np.ndarray) -> np.ndarray:
    """At most MAX_ORIGINS of the sensor positions (N, 3), evenly spread over those well inside the grid.

    As in the paper, the rays of a frame start at the sensor's positions in all key frames of its scene.
    """
    inside = (sensors > np.add(grid.low, BORDER)) & (sensors < np.subtract(grid.high, BORDER))
    candidates = sensors[inside.all(axis=1)]
    if len(candidates) > MAX_ORIGINS:
        candidates = candidates[np.round(np.linspace(0, len(candidates) - 1, MAX_ORIGINS)).astype(int)]
    return candidates


def first_hits(
    labels: np.ndarray, grid: GridSpec, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What rays meet first, by the exact traversal of Amanatides and Woo (Eurographics 1987).

    Args:
        labels: (X, Y, Z) uint8; every label but EMPTY stops a ray.
        origins: (N, 3) metres, grid frame, inside the grid.
        directions: (N, 3) unit vectors.

    Returns:
        label (N,) uint8, EMPTY where a ray leaves the grid, and the distance (N,) float32 in metres at which it enters
        the voxel (or leaves the grid).
    """
    start, inside = grid.indices(origins)
    if labels.shape != grid.size or not inside.all():
        raise InvalidFrameError(
            f"expected labels {grid.size} and ray origins inside the grid, "
            f"got {labels.shape} and {np.count_nonzero(~inside)} origins outside"
        )
    walled = np.pad(labels, 1, constant_values=OUTSIDE)
    cells = walled.reshape(-1)  # (X + 2) * (Y + 2) * (Z + 2)
    cell = flatten(*(start + 1).T, walled.shape).astype(np.int32)
    step = (np.where(directions < 0, -1, 1) * strides(walled.shape)).astype(np.int32)
    along = directions != 0
    inverse = 1 / np.where(along, np.abs(directions), 1)
    face = np.where(
        directions < 0,
        origins - grid.low - start * grid.voxel_size,
        (start + 1) * grid.voxel_size - (origins - grid.low),
    )
    crossing = np.where(along, face * inverse, np.inf)
    between = np.where(along, grid.voxel_size * inverse, 0)  # a ray along a face never crosses it
    return _traverse(cells, cell, step, crossing.astype(np.float32), between.astype(np.float32))


@njit(cache=True)
def _traverse(
    cells: np.ndarray, cell: np.ndarray, step: np.ndarray, crossing: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Follow each ray until a cell is not EMPTY.

    Args:
        cells: flat labels with a wall around. cell: (N,) int32 where the rays are.
        step: (N, 3) int32 to the next cell along each axis.
        crossing: (N, 3) float32 metres to the next face across each axis, moved on in place; between: metres from one
            to the next.
    """
    label, distance = np.zeros(len(cell), np.uint8), np.zeros(len(cell), np.float32)
    for ray in range(len(cell)):
        at, next_face = cell[ray], crossing[ray]
        while cells[at] == EMPTY:
            axis = next_face.argmin()
            at, distance[ray] = at + step[ray, axis], next_face[axis]
            next_face[axis] += between[ray, axis]
        label[ray] = EMPTY if cells[at] == OUTSIDE else cells[at]
    return label, distance


class RayIoU:
    """Counts of rays over a set of frames.

    Attributes:
        true_positive: (3, 17) int64 by threshold and label. truth, predicted: (17,) int64 by label.
        cast: all rays so far, of which `truth.sum()` count.
    """

    def __init__(self, grid: GridSpec) -> None:
        self.grid, self.directions = grid, ray_directions()
        self.true_positive = np.zeros((len(THRESHOLDS), NUM_LABELS), np.int64)
        self.truth, self.predicted = (np.zeros(NUM_LABELS, np.int64) for _ in range(2))
        self.cast = 0

    def add(self, prediction: np.ndarray, truth: np.ndarray, origins: np.ndarray) -> None:
        """Add a frame: two (X, Y, Z) uint8 arrays and the (N, 3) places where rays start, metres, grid frame."""
        if prediction.max(initial=0) >= NUM_LABELS:
            raise ValueError(f"expected predicted labels below {NUM_LABELS}, got {prediction.max()}")
        starts = np.repeat(origins, len(self.directions), axis=0)
        directions = np.tile(self.directions, (len(origins), 1))
        label, distance = first_hits(truth, self.grid, starts, directions)
        counts = (label != EMPTY) & (label != IGNORE)
        met, met_at = first_hits(prediction, self.grid, starts[counts], directions[counts])
        self.add_rays(met, met_at, label[counts], distance[counts])
        self.cast += len(counts)

    def add_rays(
        self, predicted: np.ndarray, predicted_at: np.ndarray, truth: np.ndarray, truth_at: np.ndarray
    ) -> None:
        """Count rays: labels (N,) uint8 and distances (N,) metres of what they meet in prediction and truth."""
        self.truth += np.bincount(truth, minlength=NUM_LABELS)
        self.predicted += np.bincount(predicted, minlength=NUM_LABELS)
        for row, threshold in enumerate(THRESHOLDS):
            hit = (predicted == truth) & (np.abs(predicted_at - truth_at) < threshold)
            self.true_positive[row] += np.bincount(truth[hit], minlength=NUM_LABELS)

    def class_iou(self) -> np.ndarray:
        """(3, 16) float64 by threshold and class; NaN where no ray meets the class on either side."""
        with np.errstate(invalid="ignore"):
            return (self.true_positive / (self.truth + self.predicted - self.true_positive))[:, EMPTY + 1 :]

    def report(self) -> dict[str, float | int | dict[str, float | None]]:
        """RayIoU by threshold (`1`, `2`, `4`), their `mean`, `per_class` means, `rays` that count, all `rays_cast`."""
        iou = self.class_iou()
        known = ~np.isnan(iou[0])
        means = iou[:, known].mean(axis=1) if known.any() else np.full(len(THRESHOLDS), np.nan)
        per_class = {
            c.name: float(value) if there else None
            for c, value, there in zip(OPENOCCUPANCY_CLASSES, iou.mean(axis=0), known)
        }
        return {
            **{f"{threshold:g}": float(mean) for threshold, mean in zip(THRESHOLDS, means)},
            "mean": float(means.mean()),
            "per_class": per_class,
            "rays": int(self.truth.sum()),
            "rays_cast": self.cast,
        }
