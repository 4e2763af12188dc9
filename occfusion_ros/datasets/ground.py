"""The ground that sweeps see: pose heights with which it continues from sweep to sweep, and its height between returns.

nuScenes' poses all have the same height. On a road with a grade, the ground that one sweep measured then lies
decimetres above or below the same ground in the next sweep, which is too much for voxels of 0.2 m.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..core.grid import GridSpec

CELL = 0.5  # metres, edge of the cells in which heights are compared
REACH = 25.0  # metres from the sensor; farther out, an error of the pitch looks like one of the height
NEIGHBORS = 4  # sweeps compared with each sweep
MIN_CELLS = 20  # cells that two sweeps must share to be compared


def height_corrections(map_from_sensor: Sequence[np.ndarray], ground: Sequence[np.ndarray]) -> np.ndarray:
    """Metres to add to the height of each pose, (S,) float64.

    Each two sweeps near in time should see the same ground: the median of the differences in the cells that both have
    seen is one equation, weighted by the number of cells; least squares solves all of them. The mean correction of
    sweeps that hang together is 0.

    Args:
        map_from_sensor: S poses (4, 4) in time order, metres.
        ground: S arrays (N, 3), returns of the ground, metres, sensor frame.
    """
    surfaces = [_surface(pose, points) for pose, points in zip(map_from_sensor, ground, strict=True)]
    rows, steps = [np.zeros(len(surfaces))], [0.0]  # one equation that says nothing, should there be no other
    for one, other, step, cells in _comparisons(surfaces):
        row = np.zeros(len(surfaces))
        row[[one, other]] = np.array([1, -1]) * cells**0.5
        rows.append(row)
        steps.append(-step * cells**0.5)
    return np.linalg.lstsq(np.stack(rows), np.array(steps), rcond=None)[0]  # the smallest of all solutions


def _comparisons(surfaces: list[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[int, int, float, int]]:
    """Two sweeps, how much higher the ground of the first lies (metres), and in how many cells."""
    for one in range(len(surfaces)):
        for other in range(one + 1, min(one + 1 + NEIGHBORS, len(surfaces))):
            (cells, heights), (other_cells, other_heights) = surfaces[one], surfaces[other]
            _, mine, its = np.intersect1d(cells, other_cells, assume_unique=True, return_indices=True)
            if len(mine) >= MIN_CELLS:
                yield one, other, float(np.median(heights[mine] - other_heights[its])), len(mine)


def _surface(map_from_sensor: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ground near the sensor: (C,) int64 keys of cells in the map, ascending, and (C,) float64 their mean heights."""
    points = points[np.linalg.norm(points[:, :2], axis=1) < REACH]
    points = points @ map_from_sensor[:3, :3].T + map_from_sensor[:3, 3]
    x, y = np.floor(points[:, :2] / CELL).astype(np.int64).T
    cells, cell = np.unique((x << 32) + y, return_inverse=True)
    return cells, np.bincount(cell, points[:, 2], len(cells)) / np.bincount(cell, minlength=len(cells))


def ground_heights(grid: GridSpec, ground: np.ndarray) -> np.ndarray:
    """Height of the ground in each column, (X, Y) float64 metres, from its returns (N, 3); NaN where there are none.

    Columns without a return are interpolated: means over ever larger squares, refined where smaller ones are known
    ("pull-push", Gortler et al., "The Lumigraph", SIGGRAPH 1996).
    """
    index, inside = grid.indices(ground)
    column = np.ravel_multi_index(tuple(index[inside, :2].T), grid.size[:2])
    number = np.bincount(column, minlength=grid.size[0] * grid.size[1]).reshape(grid.size[:2])
    total = np.bincount(column, ground[inside, 2], number.size).reshape(grid.size[:2])
    return _filled(total, number)


def _filled(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Means ``total / number`` of a square (n, n), those without a number from the means of larger squares."""
    with np.errstate(invalid="ignore"):
        mean = total / number
    if len(mean) == 1:
        return mean
    known = (number > 0).astype(float)
    known_mean = np.where(number > 0, mean, 0)
    coarse = _filled(*(values.reshape(len(mean) // 2, 2, -1, 2).sum((1, 3)) for values in (known_mean, known)))
    return np.where(number > 0, mean, _doubled(_doubled(coarse).T).T)


def _doubled(values: np.ndarray) -> np.ndarray:
    """Rows (n, m) to (2n, m), linearly between the centers of the old rows."""
    before, after = np.vstack([values[:1], values[:-1]]), np.vstack([values[1:], values[-1:]])
    return np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], 1).reshape(-1, values.shape[1])
