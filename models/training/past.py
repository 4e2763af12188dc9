"""Earlier sweeps of training frames: which ones a frame is prepared with, and how they lie on disk."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from occfusion_ros.core.past_sweeps import MOST_SWEEPS, PastSweep, past_points
from synthetic import Sweep, SyntheticDrive, SyntheticFrame

PERIOD_S = (0.05, 0.4)  # from sweep to sweep: of a LiDAR of 20 Hz, and of a robot that answers 2.5 sweeps a second
LOST = 0.15  # probability that a sweep did not come, or was not read
UNEVEN = 0.03  # of the period, standard deviation of when a sweep comes
STEP_M = 0.01  # that positions are kept to


@dataclass(frozen=True)
class Earlier:
    """A sweep before a frame of a drive, in its own grid frame: `lag_s` seconds ago; map_from_grid (4, 4) float64."""

    sweep: Sweep
    map_from_grid: np.ndarray
    lag_s: float


def sweeps_before(drive: SyntheticDrive, index: int, rng: np.random.Generator) -> list[Earlier]:
    """Make up to ten sweeps before frame `index` of a drive, the newest first, of the world as it was then.

    What moves has moved since. How often sweeps came, when, and which were lost, is drawn.
    """
    period = np.exp(rng.uniform(*np.log(PERIOD_S)))
    periods = np.cumsum(rng.geometric(1 - LOST, MOST_SWEEPS)) + rng.normal(0, UNEVEN, MOST_SWEEPS)
    lags = [lag_s for lag_s in period * periods if index - lag_s / drive.interval >= 0]
    return [Earlier(*drive.sweep(index - lag_s / drive.interval), lag_s) for lag_s in lags]


def as_past(earlier: Iterable[Earlier], frame: SyntheticFrame, ego_radius: float) -> tuple[PastSweep, ...]:
    """What a network may be told of sweeps before a frame: without their labels, and without the vehicle itself."""
    grid_from_map = np.linalg.inv(frame.map_from_grid)
    return tuple(
        PastSweep(past_points(one.sweep.points, ego_radius), grid_from_map @ one.map_from_grid, one.lag_s)
        for one in earlier
    )


def past_of_drive(
    drive: SyntheticDrive, index: int, frame: SyntheticFrame, ego_radius: float, rng: np.random.Generator
) -> tuple[PastSweep, ...]:
    """`as_past` of `sweeps_before`, the newest first."""
    return as_past(sweeps_before(drive, index, rng), frame, ego_radius)


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
