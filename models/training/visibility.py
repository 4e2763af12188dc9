"""Truth of a synthetic frame as a vehicle could have measured it, in the manner of labeled real drives.

Real occupancy truth is aggregated from sweeps: voxels with a return are occupied, voxels that rays passed are free,
everything else is unknown (255). Thresholds must be fitted on such truth, not on the complete one.
"""

from collections.abc import Iterable

import numpy as np

from occfusion_ros.core.labels import FLAT_GROUND, IGNORE, MOVABLE
from occfusion_ros.datasets.rays import mark_passed
from synthetic import Sweep, SyntheticDrive, SyntheticFrame

SWEEPS = 2  # aggregated before and after the frame


def observed_truth(
    drive: SyntheticDrive, index: int, frame: SyntheticFrame, earlier: Iterable[tuple[Sweep, np.ndarray]] = ()
) -> np.ndarray:
    """What the sweeps around frame `index` of a drive observe; (X, Y, Z) uint8, 255 where they observe nothing.

    Args:
        earlier: sweeps that the network may be told of, each with its map_from_grid. Their returns of classes that
            cannot move are occupied, as where a real drive's truth is aggregated from them. Their rays free nothing.
    """
    grid, grid_from_lidar = drive.spec, drive.rig.grid_from_lidar()
    hit, passed = (np.zeros(grid.size, bool) for _ in range(2))
    labels = frame.semantics.copy()
    labels[labels == IGNORE] = 0
    around = [(*drive.sweep(index + offset), offset == 0, True) for offset in range(-SWEEPS, SWEEPS + 1)]
    before = [(*one, False, False) for one in earlier]
    for sweep, map_from_other, now, frees in around + before:
        grid_from_other = np.linalg.inv(frame.map_from_grid) @ map_from_other
        keep = slice(None) if now else ~np.isin(sweep.labels, (*MOVABLE, IGNORE))
        points = sweep.points[keep, :3] @ grid_from_other[:3, :3].T + grid_from_other[:3, 3]
        voxels, inside = grid.indices(points)
        at = tuple(voxels[inside].T)
        hit[at] = True
        labels[at] = np.where(labels[at] == 0, sweep.labels[keep][inside], labels[at])
        if frees:
            mark_passed(passed, grid, (grid_from_other @ grid_from_lidar)[:3, 3], points)
    truth = np.where(hit, labels, np.where(passed, 0, IGNORE)).astype(np.uint8)
    truth[near_surface(frame.semantics) & ~hit] = IGNORE
    return truth


def near_surface(semantics: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: complete truth is occupied here, or flat ground lies within one voxel above or below."""
    ground = np.isin(semantics, FLAT_GROUND)
    near = (semantics > 0) & (semantics < IGNORE)
    near[:, :, 1:] |= ground[:, :, :-1]
    near[:, :, :-1] |= ground[:, :, 1:]
    return near
