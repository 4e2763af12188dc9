"""Which sensors a drive has: those of one vehicle, or drawn by its seed, so that no LiDAR is a surprise."""

import numpy as np

from .rig import GRID_HEIGHT, RIGS, Lidar, Rig, nuscenes_rig, raised, van_rig, yawed

_DRAWS = 20  # of the sensors of a drive, among its random numbers
_PLACES = ((0.0, -0.2, 1.0), (1.6, 0.2, 2.5))  # metres, base frame: the lowest and highest place of a LiDAR
_GHOSTLY = 0.25  # share of the LiDARs that report ghosts

# Bands of beams (lowest and highest in degrees, how many), firings a turn, range in metres.
_KINDS = (
    (((-15.0, 15.0, 16),), 1800, 100.0),
    (((-30.67, 10.67, 32),), 1085, 100.0),
    (((-25.0, -10.0, 5), (-8.0, -4.5, 6), (-4.0, 1.7, 17), (3.0, 15.0, 4)), 1200, 120.0),  # denser at the horizon
    (((-22.5, 22.5, 64),), 1024, 90.0),
    (((-24.8, -8.8, 32), (-8.3, 2.0, 32)), 1800, 120.0),
    (((-25.0, -14.0, 3), (-13.0, -7.0, 7), (-6.0, 2.0, 49), (3.0, 15.0, 5)), 1800, 120.0),
    (((-22.5, 22.5, 128),), 1024, 90.0),
    (((-25.0, -6.5, 32), (-6.2, 2.5, 64), (2.8, 15.0, 32)), 1024, 120.0),
)

_MIXED = ("nuscenes", "varied", "nuscenes", "varied", "nuscenes", "varied", "nuscenes", "van")  # by seed, in turn
FLEETS = (*RIGS, "varied", "mixed")


def rig_of(fleet: str, seed: int) -> Rig:
    """The sensors of a drive, as one of `FLEETS` has them.

    Args:
        fleet: a rig's name; varied: `varied_rig`, another one in every drive; mixed: nuScenes' in four drives of eight,
            varied in three, the van's in one.
    """
    name = _MIXED[seed % len(_MIXED)] if fleet == "mixed" else fleet
    return varied_rig(np.random.default_rng([seed, _DRAWS])) if name == "varied" else RIGS[name]()


def varied_rig(rng: np.random.Generator) -> Rig:
    """A vehicle with any LiDAR of 16 to 128 beams, 1.0 to 2.5 m above the road; the grid stays 1.84 m above it.

    The cameras are nuScenes' or the van's, half as much higher or lower as the LiDAR is. Below the LiDAR is a roof.
    """
    vehicle = (nuscenes_rig, van_rig)[rng.integers(2)]()
    place = rng.uniform(*_PLACES)
    rise = (place[2] - vehicle.lidar.base_from_lidar[2, 3]) / 2
    roof = (place - (0, 0, rng.uniform(0.25, 0.6)), (rng.uniform(0.6, 2.4), rng.uniform(0.6, 1.6), 0.1))
    return Rig(
        _drawn_lidar(yawed(place, rng.uniform(-np.pi, np.pi)), rng),
        tuple(raised(camera, rise) for camera in vehicle.cameras),
        yawed((rng.uniform(0, place[0]), 0.0, GRID_HEIGHT), -np.pi / 2),
        (roof,),
    )


def _drawn_lidar(base_from_lidar: np.ndarray, rng: np.random.Generator) -> Lidar:
    """A LiDAR of a random kind, its beams spread by up to a tenth more or less."""
    bands, steps, reach = _KINDS[rng.integers(len(_KINDS))]
    elevations = np.concatenate([np.linspace(*band) for band in bands]) * rng.uniform(0.9, 1.1)
    return Lidar(
        "LIDAR_TOP",
        tuple(elevations),
        steps,
        base_from_lidar,
        max_range=reach * rng.uniform(0.5, 1.0),
        range_noise=rng.uniform(0.01, 0.04),
        dropout=rng.uniform(0.01, 0.1),
        ghosts=rng.uniform(0, 0.6) if rng.random() < _GHOSTLY else 0.0,
        reflectance=0.35 * 2 ** rng.uniform(-1.5, 1.5),
    )
