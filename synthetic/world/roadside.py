"""What stands along a road and on its median: barriers, plants and furniture; one function a kind, for one block."""

import numpy as np

from ..objects import plants, scenery
from ..objects.actors import BARRIER
from .barriers import ELEMENT, BarrierRun, element
from .road import HALF_WIDTH
from .site import Site


def barriers(site: Site) -> None:
    """The pieces of the long barriers that lie in the block, with gaps at side roads."""
    for run in site.road.barriers:
        if run.first < site.stop and run.last > site.start:
            _barrier(site, run)


def _barrier(site: Site, run: BarrierRun) -> None:
    mesh, plan = element(run), site.plan
    for s in np.arange(site.start + ELEMENT / 2, site.stop, ELEMENT):
        gap = abs(s - plan.opening) - plan.opening_half - plan.radius < ELEMENT / 2 + 0.5
        opened = plan.crossing if run.line == 0 else plan.opening_half and plan.opening_sides[(run.line + 1) // 2]
        d = run.line * (site.edges(s)[0] + 0.5)
        if run.first < s < run.last and not (gap and opened):
            if run.wall:
                site.put_object(BARRIER, s, d, 0.0, 0.0, mesh)
            elif site.free(s, d, ELEMENT - 0.02, 0.3):
                site.put(mesh, s, d, 0.0, True)


def median(site: Site) -> None:
    """Lamps, signs, trees and bushes between the carriageways."""
    rng, style, plan = site.rng, site.style, site.plan
    room = style.median / 2 - 0.5
    if room < 0.2:
        return
    kinds = [
        (plants.tree, style.median_plants * (room > 0.8)),
        (plants.bush, 2 * style.median_plants),
        (scenery.pole, 0.5),
        (scenery.sign, 0.4),
    ]
    for maker, expected in kinds:
        for s in site.scatter(expected):
            d = rng.uniform(-room, room)
            at_crossing = plan.crossing and abs(s - plan.opening) < plan.opening_half + plan.radius + 2
            if not at_crossing and site.free(s, d, 0.8, 0.8):
                site.put(maker(rng), s, d, np.pi / 2 * rng.choice([-1, 1]))


def furniture(site: Site, side: int) -> None:
    """Posts, signs, boxes, signals, shelters, fences and walls."""
    rng, style, plan = site.rng, site.style, site.plan
    into_road = np.pi / 2 * (1 + side)
    for s in site.scatter(style.furniture):
        d = side * (site.edges(s)[0] + rng.uniform(0.4, 0.9))
        maker = [scenery.pole, scenery.sign, scenery.street_box][rng.choice(3, p=[0.5, 0.3, 0.2])]
        if site.free(s, d, 0.6, 0.6):
            site.put(maker(rng), s, d, into_road)
    if plan.radius and rng.uniform() < style.urban:
        s = plan.opening - plan.opening_half - plan.radius - 1.2
        site.put(scenery.traffic_light(rng), s, side * (site.edges(plan.opening)[0] + 0.6), into_road)
    if style.walk > 2 and rng.uniform() < 0.12 * style.urban + 0.02:
        s, d = rng.uniform(site.start + 3, site.stop - 3), side * (site.edges(site.start)[2] - 0.9)
        if site.free(s, d, 4.6, 1.7):
            site.put(scenery.shelter(rng), s, d, into_road)
    if rng.uniform() < style.fences:
        site.boundary(side, [scenery.fence, scenery.fence, scenery.wall][rng.integers(3)], rng.uniform(0.6, 6))


def belt(site: Site, side: int) -> None:
    """A belt of trees close to the road, in pieces that follow the ground."""
    rng, gap, depth = site.rng, site.style.belt_gap, site.rng.uniform(4, 14)
    for s in np.arange(site.start + 4, site.stop, 8.0):
        front = site.edges(s)[2] + gap * rng.uniform(0.8, 1.2)
        if site.free(s, side * (front + depth / 2), 7.9, depth):
            site.put(plants.belt(rng, 8.0, depth), s, side * front, 0.0 if side > 0 else np.pi, True)


def greenery(site: Site, side: int) -> None:
    """Hedges, thickets, single trees and bushes."""
    rng, style = site.rng, site.style
    if rng.uniform() < 0.3 * (1 - 0.5 * style.urban):
        site.boundary(side, lambda r, length: plants.hedge(r, length, False), rng.uniform(0.5, 4))
    if rng.uniform() < style.thicket:
        _thicket(site, side)
    for s in site.scatter(style.trees):
        near = style.verge > 1.2 and rng.uniform() < 0.5
        edge = site.edges(s)
        reach = (edge[0] + edge[1]) / 2 if near else edge[2] + rng.gamma(1.5, 9) + 1
        if reach < HALF_WIDTH - 6 and site.free(s, side * reach, 1.0, 1.0):
            site.put(plants.tree(rng), s, side * reach, rng.uniform(0, 6))
    for s in site.scatter(style.bushes):
        reach = site.edges(s)[2] + rng.gamma(1.3, 7) + 1.2
        if reach < HALF_WIDTH - 4 and site.free(s, side * reach, 1.0, 1.0):
            site.put(plants.bush(rng), s, side * reach, rng.uniform(0, 6))


def _thicket(site: Site, side: int) -> None:
    beyond = site.rng.uniform(2, 14)
    for s in np.arange(site.start + 4, site.stop - 3.9, 7.8):
        d = side * (site.edges(s)[2] + beyond + site.rng.normal(0, 0.5))
        if site.free(s, d, 7.6, 2.5):
            site.put(plants.hedge(site.rng, 7.6, True), s, d, 0.0, True)
