"""One block of the static world: its ground, its road markings and everything that stands on it."""

from . import lots, roadside, streetlife
from .ground import ground, markings
from .road import Road
from .site import Site


class Block:
    """The static things between two stations of a road, in the map frame.

    Attributes:
        mesh: everything static.
        tagged: (label, map_from_object, bounds) of every object of the ten classes, for annotations.
    """

    def __init__(self, road: Road, index: int):
        site = Site(road, index)
        self.road, self.start, self.stop = road, site.start, site.stop
        for mesh in (ground(road, index), *markings(road, index)):
            site.add(mesh)
        _furnish(site)
        self.mesh, self.tagged = site.mesh(), site.tagged


def _furnish(site: Site) -> None:
    """Whoever comes first gets the place."""
    streetlife.side_traffic(site)
    for side in (-1, 1):
        streetlife.works(site, side)
    roadside.barriers(site)
    roadside.median(site)
    for side in (-1, 1):
        streetlife.two_wheelers(site, side)
        streetlife.parked(site, side)
        lots.lot(site, side)
        roadside.furniture(site, side)
        roadside.greenery(site, side)
        streetlife.people(site, side)
