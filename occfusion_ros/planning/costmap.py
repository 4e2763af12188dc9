"""Costs seen from above, in a frame that stands still and along its axes, as planners read them."""

from dataclasses import dataclass

import numpy as np

from ..core.grid import GridSpec


@dataclass(frozen=True)
class Costmap:
    """Costs of square cells.

    Attributes:
        cells: (H, W) int8, y by x: 0 to 100, -1 unknown.
        resolution: metres, a cell's edge.
        low: metres in the fixed frame, the corner of cell (0, 0), a multiple of the resolution; and z of the surface.
    """

    cells: np.ndarray
    resolution: float
    low: tuple[float, float, float]


def in_fixed_frame(costs: np.ndarray, spec: GridSpec, fixed_from_grid: np.ndarray, height: float) -> Costmap:
    """Turn (X, Y) costs of columns into a map as wide as the grid around the same place.

    Each cell has the cost of the column that its center lies in. The low corner is a multiple of the resolution, so a
    map that rolls along keeps its cells in place.

    Args:
        fixed_from_grid: (4, 4) float64 rigid, metres.
        height: metres in the grid frame at which columns are looked at; it matters where the grid is tilted.
    """
    step, wide = spec.voxel_size, np.array(spec.size[:2])
    middle = np.append((np.asarray(spec.low[:2]) + spec.high[:2]) / 2, height)
    center = fixed_from_grid[:3, :3] @ middle + fixed_from_grid[:3, 3]
    low = np.round(center[:2] / step) - wide.max() // 2  # cells
    x, y = ((low[k] + np.arange(wide.max()) + 0.5) * step - center[k] for k in (0, 1))
    grid_from_fixed = np.linalg.inv(fixed_from_grid[:2, :2])
    columns = [
        np.floor(
            (middle[k] - spec.low[k] + grid_from_fixed[k, 0] * x[None, :] + grid_from_fixed[k, 1] * y[:, None]) / step
        ).astype(np.int64)
        for k in (0, 1)
    ]
    inside = (columns[0] >= 0) & (columns[0] < wide[0]) & (columns[1] >= 0) & (columns[1] < wide[1])
    cells = np.full(inside.shape, -1, np.int8)
    cells[inside] = costs[columns[0][inside], columns[1][inside]]
    return Costmap(cells, step, (float(low[0] * step), float(low[1] * step), float(center[2])))
