"""Rain, fog and darkness, and what they do to a LiDAR; constant over a drive."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weather:
    """The weather of a drive.

    Attributes:
        wet: 0 (dry) to 1 (heavy rain).
        fog: extinction of LiDAR light, 1/m one way.
        haze: extinction in images, 1/m.
        darkness: 0 (day) to 1 (black night).
    """

    wet: float = 0.0
    fog: float = 0.0
    haze: float = 0.0
    darkness: float = 0.0


CLEAR = Weather()


def draw_weather(rng: np.random.Generator) -> Weather:
    """Mostly clear; rain in 12 % of the drives, fog in 5 %, dusk or night in 12 %."""
    kind, dark = rng.uniform(size=2)
    darkness = rng.uniform(0.5, 0.93) if dark < 0.12 else 0.0
    if kind < 0.12:
        wet = rng.uniform(0.3, 1.0)
        return Weather(wet, 0.004 * wet, rng.uniform(0.003, 0.012), darkness)
    if kind < 0.17:
        return Weather(0.0, rng.uniform(0.006, 0.02), rng.uniform(0.015, 0.05), darkness)
    return Weather(darkness=darkness)


def wet_brightness(weather: Weather, brightness: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Brightness (N,) of surfaces with unit normals (N, 3) under a film of water, which lies on level ground."""
    return brightness * (1 - weather.wet * (0.15 + 0.45 * np.clip(normal[:, 2], 0, 1)))


def lost_share(weather: Weather, distance: np.ndarray) -> np.ndarray:
    """Probability (N,) that the air swallows a return from `distance` (N,) metres, on its way there and back."""
    return 1 - np.exp(-2 * weather.fog * np.minimum(distance, 1e4))


def air_returns(weather: Weather, reach: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rays that drops or fog throw back before they get anywhere.

    Args:
        reach: (N,) metres to the first surface, inf where there is none.

    Returns:
        indices (M,) of the rays and metres (M,) along them.
    """
    share = 0.01 * weather.wet + 1.2 * weather.fog
    if share == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    rays = np.flatnonzero(rng.uniform(size=len(reach)) < share)
    distance = 1.0 + rng.exponential(7.0, len(rays))
    before = distance < reach[rays] - 0.5
    return rays[before], distance[before]
