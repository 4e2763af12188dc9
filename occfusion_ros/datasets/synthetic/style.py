"""What varies between drives: the land, the road, the neighbourhood, the light. All drawn from the seed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """The character of one drive; densities are expected numbers or probabilities per 32 m of road and side.

    Attributes:
        urban: 0 (open country) to 1 (dense city).
        lanes, lane_width, parking: lanes per direction, metres, width of a parking lane (0 for none).
        curb, verge, walk: metres, height of the curb, width of the verge and of the sidewalk (0 for none).
        crown, bank, grade, hills, roughness: cross fall, side tilt, slope, height of side slopes and bumps (metres).
        grass: metres, height of the grass on terrain.
        traffic_side: -1 traffic keeps right (negative lateral offset), +1 left.
    """

    urban: float
    lanes: int
    lane_width: float
    parking: float
    curb: float
    verge: float
    walk: float
    crown: float
    bank: float
    grade: float
    hills: float
    roughness: float
    bend: float
    traffic_side: int
    speed: float
    setback: float
    buildings: float
    storeys: float
    trees: float
    bushes: float
    thicket: float
    fences: float
    furniture: float
    parked: float
    traffic: float
    pedestrians: float
    works: float
    grass: float
    openings: float


@dataclass(frozen=True)
class Light:
    """How the drive looks: sun direction (unit, map frame), strengths, colours and camera response."""

    sun: np.ndarray
    sun_strength: float
    ambient: float
    sky_low: np.ndarray
    sky_high: np.ndarray
    haze: float
    gain: np.ndarray
    noise: float
    tone: float


def draw_style(rng: np.random.Generator) -> Style:
    """A random but coherent style."""
    urban = rng.uniform(0, 1)
    chance = rng.uniform
    has_walk = chance() < 0.25 + 0.75 * urban
    wooded = chance(1.5, 3.0) if chance() < 0.45 else 1.0  # tree-lined streets are common in towns as in the country
    return Style(
        urban=urban,
        lanes=int(rng.choice([1, 2, 3], p=[0.55, 0.33, 0.12])),
        lane_width=chance(3.0, 3.8),
        parking=chance(2.1, 2.8) if chance() < 0.2 + 0.5 * urban else 0.0,
        curb=chance(0.08, 0.2) if chance() < 0.35 + 0.65 * urban else 0.0,
        verge=chance(0.5, 3.5) if chance() < 0.5 else 0.0,
        walk=chance(1.4, 4.5) if has_walk else 0.0,
        crown=chance(0.0, 0.03),
        bank=rng.normal(0, 0.015),
        grade=rng.normal(0, 0.025),
        hills=abs(rng.normal(0, 2.0)),
        roughness=chance(0.01, 0.09),
        bend=chance(0, 1) ** 2 / 110,
        traffic_side=-1 if chance() < 0.6 else 1,
        speed=chance(3.0, 6.0),
        setback=chance(0.5, 4) if urban > 0.6 else chance(2, 18),
        buildings=min(1.0, 0.1 + 1.2 * urban * chance(0.5, 1)),
        storeys=1 + urban * chance(0.5, 6),
        trees=chance(0, 8) * (1.2 - 0.7 * urban) * wooded,
        bushes=chance(0, 12) * (1.1 - 0.6 * urban) * wooded,
        thicket=min(1.0, chance(0, 1.0) * (1.0 - 0.7 * urban) * wooded),
        fences=chance(0, 0.6),
        furniture=chance(0.5, 3.0),
        parked=chance(0.0, 0.9),
        traffic=chance(0, 1) ** 1.5,
        pedestrians=chance(0, 6) * urban**1.5,
        works=chance(0.1, 0.7) if chance() < 0.5 else 0.0,
        grass=chance(0, 0.12),
        openings=chance(0.1, 0.6),
    )


def draw_light(rng: np.random.Generator) -> Light:
    """Random sun, sky and camera response; some drives are overcast."""
    overcast = rng.uniform() < 0.35
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.2)
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    grey = rng.uniform(0.65, 0.9)
    blue = np.array([0.35, 0.55, 0.9]) * rng.uniform(0.8, 1.1)
    warm = np.array([1.0, 0.97, 0.9]) * rng.uniform(0.75, 1.0)
    low, high = (np.full(3, grey), np.full(3, grey * 1.05)) if overcast else (warm, blue)
    return Light(
        sun=sun,
        sun_strength=rng.uniform(0.0, 0.25) if overcast else rng.uniform(0.6, 1.1),
        ambient=rng.uniform(0.6, 0.9) if overcast else rng.uniform(0.3, 0.5),
        sky_low=low,
        sky_high=high,
        haze=rng.uniform(0.0005, 0.006),
        gain=rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3),
        noise=rng.uniform(0.004, 0.02),
        tone=rng.uniform(0.8, 1.1),
    )
