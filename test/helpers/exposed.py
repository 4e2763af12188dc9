"""Which voxels can be seen, by definition."""

import numpy as np

from occfusion_ros.core.labels import EMPTY, IGNORE


def exposed_by_definition(labels: np.ndarray, index: tuple[int, int, int]) -> bool:
    padded = np.pad(labels, 1)
    x, y, z = np.add(index, 1)
    around = [
        padded[x - 1, y, z],
        padded[x + 1, y, z],
        padded[x, y - 1, z],
        padded[x, y + 1, z],
        padded[x, y, z - 1],
        padded[x, y, z + 1],
    ]
    return any(label in (EMPTY, IGNORE) for label in around)
