"""Truth of a synthetic frame as a vehicle could have measured it, in the manner of labelled real drives.

Real occupancy truth is aggregated from sweeps: voxels with a return are occupied, voxels that rays passed are free,
everything else is unknown (255). Thresholds must be fitted on such truth, not on the complete one.
"""

import numpy as np

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.datasets.synthetic import SyntheticDrive, SyntheticFrame

STEP = 0.1  # metres between the samples of a ray
STOP = 0.3  # metres before the return where a ray's free space ends
MOVABLE = 10  # labels up to this one may move: only the frame's own sweep shows where they are
GROUND = (11, 14)  # first and last label of flat ground


def observed_truth(drive: SyntheticDrive, index: int, window: int) -> tuple[SyntheticFrame, np.ndarray]:
    """The frame and its observed truth (X, Y, Z) uint8 from `window` sweeps before and after."""
    frame = drive.frame(index)
    grid = drive.spec
    hit, passed = (np.zeros(grid.size, bool) for _ in range(2))
    labels = frame.semantics.copy()
    labels[labels == IGNORE] = 0
    for offset in range(-window, window + 1):
        other = frame if offset == 0 else drive.frame(index + offset, images=False)
        grid_from_other = np.linalg.inv(frame.map_from_grid) @ other.map_from_grid
        keep = slice(None) if offset == 0 else other.point_labels > MOVABLE
        points = other.frame.points[keep, :3] @ grid_from_other[:3, :3].T + grid_from_other[:3, 3]
        voxels, inside = grid.indices(points)
        at = tuple(voxels[inside].T)
        hit[at] = True
        labels[at] = np.where(labels[at] == 0, other.point_labels[keep][inside], labels[at])
        mark_passed(passed, grid, grid_from_other[:3, 3], points)
    truth = np.where(hit, labels, np.where(passed, 0, IGNORE)).astype(np.uint8)
    truth[near_surface(frame.semantics) & ~hit] = IGNORE
    return frame, truth


def mark_passed(passed: np.ndarray, grid: GridSpec, origin: np.ndarray, points: np.ndarray) -> None:
    """Set `passed` (X, Y, Z) bool along the rays from `origin` (3,) to `points` (N, 3), up to STOP before each."""
    direction = points - origin
    length = np.linalg.norm(direction, axis=1)
    direction = direction / length[:, None]
    for distance in np.arange(0, length.max() - STOP, STEP):
        alive = length - STOP > distance
        voxels, inside = grid.indices(origin + distance * direction[alive])
        passed[tuple(voxels[inside].T)] = True


def near_surface(semantics: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: complete truth is occupied here, or flat ground lies within one voxel above or below."""
    ground = (semantics >= GROUND[0]) & (semantics <= GROUND[1])
    near = (semantics > 0) & (semantics < IGNORE)
    near[:, :, 1:] |= ground[:, :, :-1]
    near[:, :, :-1] |= ground[:, :, 1:]
    return near
