"""The ground of one block as a mesh, and what is painted on the road."""

import numpy as np

from ..objects.mesh import GRASS, GROUND, Mesh, Paint, lattice_triangles
from ..objects.surfaces import DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN
from .road import BLOCK, CURB_RUN, HALF_WIDTH, BlockPlan, Road

_GROUND_RGB = {
    DRIVEABLE: (0.24, 0.24, 0.25),
    OTHER_FLAT: (0.42, 0.38, 0.33),
    SIDEWALK: (0.52, 0.5, 0.47),
    TERRAIN: (0.3, 0.34, 0.16),
}
_WHITE, _YELLOW = (0.8, 0.8, 0.78), (0.75, 0.55, 0.12)


def ground(road: Road, index: int) -> Mesh:
    """The ground of a block out to HALF_WIDTH, labeled and painted."""
    s, d = _lattice(road, index)
    x, y, _ = road.to_map(s, d)
    triangles = lattice_triangles(np.stack([x, y, road.height(s, d)], -1))
    middle = [(a[:-1, :-1] + a[1:, 1:]).ravel() / 2 for a in (s, d)]
    return _painted(road.seed, triangles, np.tile(road.surface(*middle), 2))


def _lattice(road: Road, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Stations and offsets (M, N) with lines along every edge between two kinds of ground."""
    plan, s = road.plan(index), np.linspace(index * BLOCK, (index + 1) * BLOCK, int(BLOCK) + 1)
    if plan.opening_half:
        low, high = plan.opening - plan.opening_half, plan.opening + plan.opening_half
        s = np.unique(np.concatenate([s, [low - CURB_RUN, low, high, high + CURB_RUN]]))
    half = _half_columns(road, plan, s)
    d = np.concatenate([-half[:, ::-1], half[:, 1:]], 1)
    s = np.broadcast_to(s[:, None], d.shape)
    if plan.radius:
        open_here = np.where(d > 0, plan.opening_sides[1], plan.opening_sides[0])
        s = np.where(open_here, plan.bent(s, np.abs(d) - road.half_width(s)), s)
    return s, d


def _half_columns(road: Road, plan: BlockPlan, s: np.ndarray) -> np.ndarray:
    """Distances (M, N) from the center line, ascending from 0, at stations s (M,)."""
    curb, inner, outer = road.edges(s)
    median, one = road.style.median / 2, np.ones_like(s)
    columns = [0.0 * one]
    if median:
        columns += [one * reach for reach in np.arange(1.0, median - 0.2, 1.0)]
        columns += [one * (median - CURB_RUN), one * median]
    columns += [median + (curb - median) * f for f in (0.25, 0.5, 0.75, 1.0)]
    columns += [curb + CURB_RUN, *(curb + CURB_RUN + (inner - curb) * f for f in (0.2, 0.5)), inner + 0.05]
    columns += [inner + 0.052 + (outer - inner) * f for f in (0.25, 0.5, 0.75)] + [outer + 0.06]
    steps = [0.5, 1.0, 1.5] if plan.radius else []  # a curved curb wants finer steps
    fan = np.unique(np.concatenate([steps, np.arange(0.5, 30, 1.0), np.arange(31, 200, 2.5)]))
    columns += [outer + reach for reach in fan if reach + outer.max() < HALF_WIDTH]
    return np.stack(columns, 1)


def _painted(seed: int, triangles: np.ndarray, labels: np.ndarray) -> Mesh:
    look = np.random.default_rng([seed, 4])
    mesh = Mesh.painted(triangles, Paint(TERRAIN, (1, 1, 1), GROUND))
    mesh.labels = labels.astype(np.uint8)
    dry = look.uniform()
    for label, rgb in _GROUND_RGB.items():
        tint = np.array(rgb) * look.uniform(0.7, 1.25) * look.uniform(0.93, 1.07, 3)
        if label == TERRAIN:
            tint = tint * (1 - dry) + np.array([0.42, 0.35, 0.22]) * dry
        mesh.albedo[labels == label] = tint
    mesh.texture[labels == TERRAIN] = GRASS
    return mesh


def markings(road: Road, index: int) -> list[Mesh]:
    """Lane lines and crosswalks of a block."""
    rng, style, plan = np.random.default_rng([road.seed, 5]), road.style, road.plan(index)
    if rng.uniform() < 0.15:
        return []
    center = _YELLOW if rng.uniform() < 0.6 else _WHITE
    edge_line, crosswalk = rng.uniform() < 0.8, np.random.default_rng([road.seed, 5, index + 1000]).uniform() < 0.7
    strips = []
    if not style.median:
        dash = (0, 0) if style.lanes > 1 else (3, 5)
        strips.append(_strip(road, index, 0.0, 0.14, *dash, center))
    for side in (-1, 1):
        inner = side * (style.median / 2 + 0.35)
        strips += [_strip(road, index, inner, 0.13, 0, 0, center)] if style.median and not plan.crossing else []
        between = (side * (road.lane(k) - style.lane_width / 2) for k in range(1, style.lanes))
        strips += [_strip(road, index, d, 0.13, 3, 6, _WHITE) for d in between]
        if edge_line:
            strips.append(_strip(road, index, side * road.carriageway, 0.13, 0, 0, _WHITE))
    if plan.radius and crosswalk:
        strips.append(_crosswalk(road, plan.opening - plan.opening_half - plan.radius - 3.5))
    return strips


def _strip(road: Road, index: int, d: float, width: float, dash: float, gap: float, rgb: tuple) -> Mesh:
    """A line along the road at offset d, dashed when `dash` > 0."""
    s = np.arange(index * BLOCK, (index + 1) * BLOCK, 1.0)
    s = s[(s % (dash + gap)) < dash] if dash else s
    return _decal(road, np.stack([s, s + 1], 1), np.broadcast_to([d - width / 2, d + width / 2], (len(s), 2)), rgb)


def _crosswalk(road: Road, s: float) -> Mesh:
    """Bars from curb to curb, except on a median."""
    edge = float(road.half_width(np.float64(s)))
    bars = np.arange(-edge + 0.4, edge - 0.8, 1.1)
    bars = bars[np.abs(bars + 0.25) > road.style.median / 2 + 0.3]
    stations = np.tile([[s, s + 1.5], [s + 1.5, s + 3]], (len(bars), 1))
    return _decal(road, stations, np.repeat(np.stack([bars, bars + 0.5], 1), 2, 0), _WHITE)


def _decal(road: Road, s: np.ndarray, d: np.ndarray, rgb: tuple) -> Mesh:
    """Painted rectangles on the road: (N, 2) station and offset ranges."""
    corners_s, corners_d = s[:, [0, 1, 1, 0]], d[:, [0, 0, 1, 1]]
    x, y, _ = road.to_map(corners_s, corners_d)
    quads = np.stack([x, y, road.height(corners_s, corners_d) + 0.012], -1)
    return Mesh.painted(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), Paint(DRIVEABLE, rgb))
