"""Earlier sweeps of training frames: which ones a frame is prepared with, and how they lie on disk."""

from collections.abc import Mapping

import numpy as np

from occfusion_ros.core.past_sweeps import MOST_SWEEPS, PastSweep, past_points
from synthetic import SyntheticDrive, SyntheticFrame

PERIOD_S = (0.05, 0.4)  # from sweep to sweep: of a LiDAR of 20 Hz, and of a robot that answers 2.5 sweeps a second
LOST = 0.15  # probability that a sweep did not come, or was not read
UNEVEN = 0.03  # of the period, standard deviation of when a sweep comes
STEP_M = 0.01  # that positions are kept to


def past_of_drive(
    drive: SyntheticDrive, index: int, frame: SyntheticFrame, ego_radius: float, rng: np.random.Generator
) -> tuple[PastSweep, ...]:
    """Make up to ten sweeps before frame `index` of a drive, the newest first, of the world as it was then.

    What moves has moved since. How often sweeps came, when, and which were lost, is drawn.
    """
    period = np.exp(rng.uniform(*np.log(PERIOD_S)))
    periods = np.cumsum(rng.geometric(1 - LOST, MOST_SWEEPS)) + rng.normal(0, UNEVEN, MOST_SWEEPS)
    grid_from_map, found = np.linalg.inv(frame.map_from_grid), []
    for lag_s in period * periods:
        if (then := index - lag_s / drive.interval) >= 0:
            sweep, map_from_grid = drive.sweep(then)
            found.append(PastSweep(past_points(sweep.points, ego_radius), grid_from_map @ map_from_grid, lag_s))
    return tuple(found)


def as_arrays(past: tuple[PastSweep, ...]) -> dict[str, np.ndarray]:
    """Turn sweeps into arrays for a file, 7 bytes a point; none where there are no sweeps."""
    if not past:
        return {}
    points = np.concatenate([sweep.points for sweep in past])
    limit = np.iinfo(np.int16).max
    return {
        "past_places": np.rint(points[:, :3] / STEP_M).clip(-limit, limit).astype(np.int16),
        "past_intensities": np.rint(points[:, 3] * 255).astype(np.uint8),
        "past_counts": np.array([len(sweep.points) for sweep in past]),
        "past_poses": np.stack([sweep.grid_from_past for sweep in past]),
        "past_lags": np.array([sweep.lag_s for sweep in past]),
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[PastSweep, ...]:
    """Read what `as_arrays` gave; nothing where it is not there."""
    if "past_lags" not in arrays:
        return ()
    places, intensities = arrays["past_places"] * np.float32(STEP_M), arrays["past_intensities"] / np.float32(255)
    points = np.split(np.c_[places, intensities], np.cumsum(arrays["past_counts"])[:-1])
    return tuple(map(PastSweep, points, arrays["past_poses"], arrays["past_lags"].tolist()))
