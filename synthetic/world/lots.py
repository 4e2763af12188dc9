"""What the land beside a road is used for: buildings, parking lots, plazas, belts of trees."""

import numpy as np

from ..objects import scenery
from . import roadside
from .site import Site


def lot(site: Site, side: int) -> None:
    """Build the lot of one side of a block."""
    kind = site.plan.lots[(side + 1) // 2]
    if kind == "belt":
        roadside.belt(site, side)
    elif kind == "building":
        _buildings(site, side)
    elif kind == "parking":
        _parking_lot(site, side)
    elif kind == "plaza":
        _plaza(site, side)
    if kind != "building" and site.rng.uniform() < 0.55 * site.style.urban + 0.45:
        _buildings(site, side, site.rng.uniform(18, 32))


def _buildings(site: Site, side: int, extra: float = 0.0) -> None:
    rng, style, s = site.rng, site.style, site.start + site.rng.uniform(0, 3)
    while s < site.stop - 5:
        length, depth = min(rng.uniform(6, 30), site.stop - s - 0.2), rng.uniform(7, 18)
        front = site.edges(s)[2] + style.setback * rng.uniform(0.7, 1.5) + extra
        if length > 4 and site.free(s + length / 2, side * (front + depth / 2), length, depth):
            mesh = scenery.building(rng, length, depth, max(1, style.storeys * rng.uniform(0.5, 1.4)))
            facing = np.pi if side > 0 else 0.0
            site.put(mesh, s + length / 2, side * front, facing + rng.normal(0, 0.02))
        s += length + (0.0 if style.urban > 0.75 else rng.uniform(0.5, 10))


def _parking_lot(site: Site, side: int) -> None:
    rng, density = site.rng, site.rng.uniform(0.1, 0.95)
    labels, chances = [4, 10, 9, 3, 5], [0.81, 0.13, 0.025, 0.025, 0.01]
    for row in (4.0, 15.0, 21.0):
        for s in np.arange(site.start + 1.5, site.stop - 1, 2.7):
            if rng.uniform() < density:
                turn = np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.03)
                label = int(rng.choice(labels, p=chances))
                site.put_object(label, s, side * (site.edges(s)[2] + row), turn, 0.1)


def _plaza(site: Site, side: int) -> None:
    for s in site.scatter(4):
        d = side * (site.edges(s)[2] + site.rng.uniform(1, 20))
        site.put(scenery.street_box(site.rng), s, d, site.rng.uniform(0, 6))
    for s in site.scatter(1.5):
        site.put_object(7, s, side * (site.edges(s)[2] + site.rng.uniform(1, 12)), site.rng.uniform(0, 6), 0)
