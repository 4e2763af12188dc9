"""Predictions that say themselves which empty voxels are in doubt, answered with what a memory knows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..core.frames import OccupancyGrid
from ..core.labels import IGNORE


def answered_in_doubt(predicted: OccupancyGrid, answered: Callable[[OccupancyGrid], OccupancyGrid]) -> OccupancyGrid:
    """Answer a prediction: what it labels IGNORE stays so only where a memory knows nothing either.

    Args:
        answered: gives the answer, of its own arrays, to a prediction without IGNORE, in which empty voxels of which
            nothing is known are IGNORE.
    """
    doubt = predicted.labels == IGNORE
    answer = answered(replace(predicted, labels=predicted.labels * ~doubt))
    surely_free = (answer.labels == IGNORE) & ~doubt
    np.multiply(answer.labels, ~surely_free, out=answer.labels)
    return answer
