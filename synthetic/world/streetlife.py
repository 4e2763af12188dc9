"""Objects that stand in a street: works, parked vehicles, waiting traffic, people, two-wheelers; for one block."""

import numpy as np

from ..objects import actors
from ..objects.actors import BARRIER, BICYCLE, BUS, CAR, CONE, CONSTRUCTION, MOTORCYCLE, PEDESTRIAN, TRAILER, TRUCK
from ..objects.mesh import Mesh
from .site import Site

_PARKED = (
    (CAR, 0.55),
    (TRUCK, 0.16),
    (BUS, 0.05),
    (TRAILER, 0.05),
    (MOTORCYCLE, 0.1),
    (BICYCLE, 0.08),
    (CONSTRUCTION, 0.01),
)


def works(site: Site, side: int) -> None:
    """A work site at the side of the road, sometimes over the outer lane: barriers or cones, machines, workers."""
    if site.rng.uniform() > site.style.works:
        return
    rng, style, curb = site.rng, site.style, site.edges(site.start)[0]
    row = curb - min(style.parking, 2.2) + 0.1 if style.parking else curb + 0.6
    outer_lane_is_free = not (side == style.traffic_side and style.ego_lane == style.lanes - 1)
    if style.lanes > 1 and outer_lane_is_free and rng.uniform() < 0.35:
        row = site.road.carriageway - 0.4
    first, last = np.sort(rng.uniform(site.start + 1, site.stop - 1, 2))
    _row(site, first, max(last, first + 12), side * row)
    behind = row + rng.uniform(2.0, 5.0)
    if rng.uniform() < 0.6:
        site.put_object(CONSTRUCTION, (first + last) / 2, side * behind, rng.uniform(0, 2 * np.pi))
    if rng.uniform() < 0.25:
        site.put_object(int(rng.choice([TRAILER, TRUCK])), last, side * behind, rng.normal(0, 0.1))
    for s in rng.uniform(first, last + 0.1, rng.integers(0, 4)):
        site.put_object(PEDESTRIAN, s, side * (row + rng.uniform(0.8, 3)), rng.uniform(0, 6), 0)
        site.put_object(CONE, s + 1, side * (row + rng.uniform(0.8, 2)), 0, 0)


def _row(site: Site, first: float, last: float, d: float) -> None:
    """Cones, short barriers or a concrete wall between two stations."""
    rng = site.rng
    label = int(rng.choice([BARRIER, CONE], p=[0.35, 0.65]))
    state, closed = rng.bit_generator.state, rng.uniform() < 0.5
    for s in np.arange(first, last, rng.uniform(2.6, 3.4) if label == BARRIER else rng.uniform(1.0, 2.6)):
        if label == BARRIER and closed:  # all pieces alike
            after, rng.bit_generator.state = rng.bit_generator.state, state
            mesh = actors.barrier(rng)
            rng.bit_generator.state = after
        else:
            mesh = actors.MAKERS[label](rng)
        site.put_object(label, s, d + rng.normal(0, 0.08), rng.normal(0, 0.05), 0, mesh)


def _vehicle(rng: np.random.Generator) -> tuple[int, Mesh, float]:
    """Label, mesh and length of a random vehicle."""
    labels, chances = zip(*_PARKED)
    label = int(rng.choice(labels, p=chances))
    mesh = actors.MAKERS[label](rng)
    low, high = mesh.bounds()
    return label, mesh, high[0] - low[0]


def side_traffic(site: Site) -> None:
    """Vehicles that wait in or turn into a side road."""
    rng, half = site.rng, site.plan.opening_half
    for side, open_here in zip((-1, 1), site.plan.opening_sides):
        if open_here and half > 2.5 and rng.uniform() < 0.3 + 0.5 * site.style.traffic:
            reach = site.edges(site.plan.opening)[0] + rng.uniform(1, 6)
            for _ in range(rng.integers(1, 4)):
                label, mesh, length = _vehicle(rng)
                lane = site.plan.opening + rng.choice([-1, 1]) * half / 2
                yaw = np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.1)
                site.put_object(label, lane, side * (reach + length / 2), yaw, mesh=mesh)
                reach += length + rng.uniform(1, 6)


def parked(site: Site, side: int) -> None:
    """Vehicles along the curb, nose to tail with gaps; on a wide shoulder now and then one."""
    rng, style = site.rng, site.style
    room, share = (style.parking, style.parked) if style.parking else (style.shoulder, 0.03)
    if room < 2:
        return
    heading, s = 0.0 if side == style.traffic_side else np.pi, site.start + rng.uniform(0.5, 4)
    while s < site.stop - 2:
        if rng.uniform() < share:
            label, mesh, length = _vehicle(rng)
            offset = site.edges(s)[0] - room / 2 + rng.normal(0, 0.1)
            yaw = heading + rng.normal(0, 0.03) + (np.pi if rng.uniform() < 0.1 else 0)
            site.put_object(label, s + length / 2, side * offset, yaw, mesh=mesh)
            s += length
        else:
            s += 4
        s += rng.uniform(0.5, 2.0)


def people(site: Site, side: int) -> None:
    """People on the sidewalk or beside the road, alone, in groups and in crowds."""
    rng = site.rng
    for s in site.scatter(site.style.pedestrians):
        edge = site.edges(s)
        reach = rng.uniform(edge[1], edge[2]) if site.style.walk else edge[2] + rng.uniform(0.5, 3)
        crowd = rng.uniform() < 0.08 * site.style.urban
        count, spread = (rng.integers(6, 21), 1.6) if crowd else (1 + rng.poisson(0.5), 0.6)
        for _ in range(count):
            where = s + rng.normal(0, spread), side * (reach + rng.normal(0, 0.7 * spread))
            site.put_object(PEDESTRIAN, *where, rng.uniform(0, 6), 0)


def two_wheelers(site: Site, side: int) -> None:
    """Rows of parked bicycles and motorcycles on the sidewalk, the verge or at the curb."""
    rng = site.rng
    for s in site.scatter(site.style.cyclists):
        label = int(rng.choice([BICYCLE, MOTORCYCLE], p=[0.45, 0.55]))
        d = side * (site.edges(s)[0] + rng.uniform(0.7, 1.6) * rng.choice([-1, 1], p=[0.25, 0.75]))
        turn = np.pi / 2 if rng.uniform() < 0.7 else 0.3
        for k in range(rng.integers(1, 7)):
            mesh = actors.MAKERS[label](rng, rider=False)
            site.put_object(label, s + 0.85 * k, d, turn + rng.normal(0, 0.15), 0, mesh)
