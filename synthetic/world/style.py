"""What varies between drives: the land, the road, the neighborhood, the light. All drawn from the seed."""

from dataclasses import dataclass

import numpy as np

from ..objects.plants import VEGETATION
from ..objects.scenery import MANMADE
from ..objects.surfaces import DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN
from .weather import Weather

_INFRARED = {
    DRIVEABLE: (0.7, 1.2),
    OTHER_FLAT: (0.7, 1.7),
    SIDEWALK: (0.5, 1.0),
    TERRAIN: (1.2, 3.6),
    MANMADE: (0.2, 0.8),
    VEGETATION: (1.2, 4.0),
}
VISIBLE = np.ones(256, np.float32)
"""Surfaces that are as bright to a LiDAR as to the eye, see `draw_infrared`."""


@dataclass(frozen=True)
class Style:
    """The character of one drive; densities are expected numbers or probabilities per 32 m of road and side.

    Attributes:
        urban: 0 (open country) to 1 (dense city).
        lanes, lane_width, parking: lanes per direction, metres, width of a parking lane (0 for none).
        shoulder: metres of asphalt beyond the lanes.
        median, median_label, median_plants: metres between the carriageways (0 for none), its class, plants on it.
        curb, verge, walk: metres, height of the curb, width of the verge and of the sidewalk (0 for none).
        crown, bank, grade, hills, roughness: cross fall, side tilt, slope, height of side slopes and bumps (metres).
        ditch: metres, depth of the ditch beside the road.
        grass: metres, height of the grass on terrain.
        traffic_side: -1 traffic keeps right (negative lateral offset), +1 left.
        ego_lane: lane of the ego vehicle, 0 is next to the center line or median.
        belt, belt_gap: probability of a dense belt of trees and metres between it and the road's outer edge.
        walls, rails: probability that a line along the road has concrete barrier walls and guard rails.
        openings, crossings: probability of a side road or driveway, and that it is a road straight across.
    """

    urban: float
    lanes: int
    lane_width: float
    parking: float
    shoulder: float
    median: float
    median_label: int
    median_plants: float
    curb: float
    verge: float
    walk: float
    crown: float
    bank: float
    grade: float
    hills: float
    roughness: float
    ditch: float
    bend: float
    traffic_side: int
    ego_lane: int
    speed: float
    setback: float
    buildings: float
    storeys: float
    trees: float
    bushes: float
    thicket: float
    belt: float
    belt_gap: float
    walls: float
    rails: float
    fences: float
    furniture: float
    parked: float
    traffic: float
    pedestrians: float
    cyclists: float
    works: float
    grass: float
    openings: float
    crossings: float


@dataclass(frozen=True)
class Light:
    """How the drive looks: sun direction (unit, map frame), strengths, colors and camera response."""

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
    chance, urban = rng.uniform, rng.uniform(0, 1) ** 0.85
    divided = chance() < 0.36
    wooded = chance() < 0.55  # tree-lined roads are as common in towns as in the country
    return Style(
        urban=urban,
        **_road_style(rng, urban, divided),
        **_ground_style(rng),
        setback=chance(0.5, 4) if urban > 0.6 else chance(2, 18),
        buildings=0.3 + 1.4 * urban * chance(0.5, 1),
        storeys=1.4 + urban * chance(0.5, 6),
        trees=chance(0, 7) * (1.2 - 0.6 * urban) * (1.6 if wooded else 1.0),
        bushes=chance(0, 9) * (1.1 - 0.5 * urban) * (1.6 if wooded else 1.0),
        thicket=chance(0, 1.0) * (1.0 - 0.5 * urban),
        belt=chance(0.45, 1.1) if wooded else 0.0,
        belt_gap=chance(0.8, 4.0) if chance() < 0.7 else chance(3, 9),
        **_barrier_style(rng, divided),
        fences=chance(0, 0.8),
        furniture=chance(0.5, 3.0),
        parked=chance(0.1, 0.9),
        traffic=chance(0, 1) ** 1.3,
        pedestrians=chance(0, 6) * urban**1.3 + chance(0, 0.8),
        cyclists=chance(0, 2.0) * (0.3 + 0.7 * urban),
        works=chance(0.15, 0.7) if chance() < 0.7 else 0.0,
        openings=chance(0.25, 0.75),
        crossings=chance(0.2, 0.8),
    )


def _road_style(rng: np.random.Generator, urban: float, divided: bool) -> dict:
    """The cross-section of the road."""
    chance = rng.uniform
    lanes = int(rng.choice([2, 3, 4], p=[0.5, 0.35, 0.15]) if divided else rng.choice([1, 2, 3], p=[0.32, 0.46, 0.22]))
    has_walk = chance() < 0.25 + 0.8 * urban
    curb = chance(0.08, 0.2) if chance() < (0.9 if has_walk else 0.25 + 0.3 * urban) else 0.0
    verge = chance(0.6, 3.5) if chance() < (0.45 if curb else 1.0) else 0.0  # a walk needs a curb or a verge
    return dict(
        lanes=lanes,
        lane_width=chance(3.0, 3.8),
        parking=chance(2.1, 2.8) if chance() < 0.15 + 0.45 * urban else 0.0,
        shoulder=chance(0.5, 3.0) if chance() < 0.6 - 0.4 * urban else chance(0.0, 0.4),
        median=float(np.exp(chance(*np.log([0.6, 8.0])))) if divided else 0.0,
        median_label=int(rng.choice([TERRAIN, OTHER_FLAT, SIDEWALK], p=[0.6, 0.32, 0.08])),
        median_plants=chance(0.0, 5.0) if chance() < 0.5 else 0.0,
        curb=curb,
        verge=verge if has_walk else 0.0,
        walk=(chance(1.6, 3.2) if chance() < 0.85 else chance(3.0, 4.5)) if has_walk else 0.0,
        traffic_side=-1 if chance() < 0.7 else 1,
        ego_lane=int(rng.integers(lanes)),
        speed=chance(3.0, 6.0),
        bend=chance(0, 1) ** 2 / (180 if divided else 110),
    )


def _ground_style(rng: np.random.Generator) -> dict:
    """Slopes and the look of terrain to a LiDAR: rougher than any paved surface, except for mown lawns."""
    chance = rng.uniform
    mown = chance() < 0.45
    level = 0.15 if mown and chance() < 0.7 else 1.0  # lawns that lie flat beside the sidewalk
    return dict(
        crown=chance(0.0, 0.03),
        bank=rng.normal(0, 0.015),
        grade=rng.normal(0, 0.035),
        hills=level * (abs(rng.normal(0, 1.5)) + chance(0, 0.4)),
        roughness=chance(0.005, 0.03) if mown else chance(0.03, 0.13),
        ditch=chance(0.1, 0.6) if chance() < 0.35 else 0.0,
        grass=chance(0.0, 0.05) if mown else chance(0.02, 0.2),
    )


def _barrier_style(rng: np.random.Generator, divided: bool) -> dict:
    walled, railed = rng.uniform() < (0.65 if divided else 0.38), rng.uniform() < 0.25
    return dict(walls=rng.uniform(0.4, 0.9) if walled else 0.0, rails=rng.uniform(0.3, 0.8) if railed else 0.0)


def draw_infrared(rng: np.random.Generator) -> np.ndarray:
    """(256,) float32 by label: how much brighter surfaces are at a LiDAR's 905 nm than to the eye.

    Living plants are dark to the eye and bright in the near infrared, beyond their "red edge" (Gates et al., Applied
    Optics 4, 1965); asphalt hardly changes, and concrete throws back about twice as much as asphalt (Kotthaus et al.,
    ISPRS Journal 94, 2014), a lawn more. Walls are as dark as most of the labeled returns of PandaSet.
    """
    gain = VISIBLE.copy()
    for label, (low, high) in _INFRARED.items():
        gain[label] = np.exp(rng.uniform(*np.log([low, high])))
    return gain


def draw_light(rng: np.random.Generator, weather: Weather) -> Light:
    """Random sun, sky and camera response; some drives are overcast, and all are in rain or fog."""
    overcast = rng.uniform() < 0.35 or weather.wet > 0 or weather.fog > 0
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 1.2)
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    gray = rng.uniform(0.65, 0.9)
    blue = np.array([0.35, 0.55, 0.9]) * rng.uniform(0.8, 1.1)
    warm = np.array([1.0, 0.97, 0.9]) * rng.uniform(0.75, 1.0)
    low, high = (np.full(3, gray), np.full(3, gray * 1.05)) if overcast else (warm, blue)
    day = 1 - weather.darkness
    return Light(
        sun=sun,
        sun_strength=day * (rng.uniform(0.0, 0.25) if overcast else rng.uniform(0.6, 1.1)),
        ambient=day * (rng.uniform(0.6, 0.9) if overcast else rng.uniform(0.3, 0.5)),
        sky_low=low * day**1.5,
        sky_high=high * day**2,
        haze=rng.uniform(0.0005, 0.006) + weather.haze,
        gain=rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3),
        noise=rng.uniform(0.004, 0.02) + 0.04 * weather.darkness,
        tone=rng.uniform(0.8, 1.1),
    )
