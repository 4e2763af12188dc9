"""The road and the ground around it, as functions of station s (metres along) and offset d (metres left)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..objects.mesh import pose
from ..objects.surfaces import DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN
from .barriers import BarrierRun, draw_runs
from .style import Style

BLOCK = 32.0  # metres of road that are planned and built together
HALF_WIDTH = 78.0  # metres of ground on either side
LENGTH = 6000.0  # metres of road in a drive
CURB_RUN = 0.04  # metres over which a curb rises


@dataclass(frozen=True)
class BlockPlan:
    """What the ground of one block is, before anything stands on it.

    Attributes:
        opening, opening_half: metres, station and half width of a side road or driveway; half width 0 for none.
        opening_sides: which sides (right, left) it leaves on.
        radius: metres, of the curb where the side road joins; 0 for driveways.
        lots: per side one of "building", "green", "parking", "plaza", "belt".
        yards: per side the class of the ground beyond the road's outer edge.
        verges: per side the class between curb and sidewalk.
    """

    opening: float
    opening_half: float
    opening_sides: tuple[bool, bool]
    radius: float
    lots: tuple[str, str]
    yards: tuple[int, int]
    verges: tuple[int, int]

    @property
    def crossing(self) -> bool:
        """A road runs straight across; a median has a gap for it."""
        return self.radius > 0 and all(self.opening_sides)

    def half_at(self, beyond: np.ndarray) -> np.ndarray:
        """Metres from the opening's center to its edge, `beyond` metres outside the curb of the main road."""
        inner = self.radius - np.clip(beyond, 0, self.radius)
        return self.opening_half + self.radius - np.sqrt(self.radius**2 - inner**2)

    def bent(self, s: np.ndarray, beyond: np.ndarray) -> np.ndarray:
        """Stations s moved so that a lattice follows the curved edges of the opening; 0 <= shift < 2 radii."""
        away, sign = np.abs(s - self.opening), np.sign(s - self.opening)
        half, edge, far = self.opening_half, self.half_at(beyond), self.opening_half + 2 * self.radius + 1
        inside, outside = away * edge / half, edge + (away - half) * (far - edge) / (far - half)
        return self.opening + sign * np.where(away <= half, inside, np.where(away < far, outside, away))


def _smooth(x: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


class Waves:
    """A smooth random function: a sum of sines of random direction and phase."""

    def __init__(self, rng: np.random.Generator, lengths: tuple[float, float], count: int = 6, dims: int = 1):
        wave = np.exp(rng.uniform(*np.log(lengths), count))
        direction = rng.normal(size=(dims, count))
        self.k = (2 * np.pi * direction / np.linalg.norm(direction, axis=0) / wave).astype(np.float64)
        self.phase = rng.uniform(0, 2 * np.pi, count)
        self.weight = wave / wave.max()
        self.weight /= np.sqrt((self.weight**2).sum() / 2)

    def __call__(self, *coordinates: np.ndarray) -> np.ndarray:
        """Values of about unit standard deviation."""
        shape = (-1, *(1,) * np.ndim(coordinates[0]))  # waves first: one call for all of them
        angle = sum(c * k.reshape(shape) for c, k in zip(coordinates, self.k)) + self.phase.reshape(shape)
        return (np.sin(angle) * self.weight.reshape(shape)).sum(0)


class Road:
    """Geometry and ground classes of a drive."""

    def __init__(self, seed: int, style: Style):
        rng = np.random.default_rng([seed, 1])
        self.seed, self.style = seed, style
        self._s = np.arange(-400.0, LENGTH + 400.0, 0.5)
        curvature = style.bend * np.clip(Waves(rng, (120, 500), 4)(self._s), -1.2, 1.2)
        self._heading = np.cumsum(curvature) * 0.5 + rng.uniform(0, 2 * np.pi)
        self._x, self._y = np.cumsum(np.cos(self._heading)) * 0.5, np.cumsum(np.sin(self._heading)) * 0.5
        self._profile, self._bank, self._wide = Waves(rng, (60, 400)), Waves(rng, (80, 300)), Waves(rng, (60, 200))
        self._hills = (Waves(rng, (30, 150)), Waves(rng, (30, 150)))
        self._bumps, self._fine = Waves(rng, (3, 14), 8, 2), Waves(rng, (1.5, 4), 6, 2)
        self.barriers: list[BarrierRun] = draw_runs(rng, style, LENGTH)
        self.plan = lru_cache(maxsize=512)(self._draw_plan)

    def _draw_plan(self, block: int) -> BlockPlan:
        rng = np.random.default_rng([self.seed, 2, block + 1000])
        style, middle = self.style, (block + 0.5) * BLOCK
        half, radius, sides = 0.0, 0.0, (True, True)
        if rng.uniform() < style.openings:
            if rng.uniform() < style.crossings:
                half, radius = rng.uniform(3.4, 6.2), rng.uniform(1.5, 3.2)
            else:
                half = rng.uniform(1.6, 3.5)
            if rng.uniform() > (0.6 if radius else 0.15):
                sides = [(True, False), (False, True)][rng.integers(2)]
        lots, yards = zip(*(self._draw_lot(rng) for _ in range(2)))
        verges = rng.choice([TERRAIN, OTHER_FLAT, SIDEWALK], 2, p=[0.72, 0.14, 0.14])
        shift = min(6.0, BLOCK / 2 - half - 2 * radius - 1.1)
        opening = middle + rng.uniform(-shift, shift)
        return BlockPlan(opening, half, sides, radius, lots, yards, tuple(map(int, verges)))

    def _draw_lot(self, rng: np.random.Generator) -> tuple[str, int]:
        """What one side of a block is used for and the class of its ground."""
        style = self.style
        weights = np.array([style.buildings, 0.8 - 0.75 * style.urban, 0.3, 0.03 + 0.1 * style.urban])
        lot = str(rng.choice(["building", "green", "parking", "plaza"], p=weights / weights.sum()))
        if rng.uniform() < style.belt * (1 - 0.25 * style.urban):
            lot = "belt"
        paved = int(rng.choice([SIDEWALK, TERRAIN, DRIVEABLE, OTHER_FLAT], p=[0.3, 0.42, 0.15, 0.13]))
        return lot, {"building": paved, "parking": DRIVEABLE, "plaza": OTHER_FLAT}.get(lot, TERRAIN)

    def lane(self, k: int) -> float:
        """Metres from the center line to the center of lane k (0 is the innermost)."""
        return self.style.median / 2 + (k + 0.5) * self.style.lane_width

    @property
    def carriageway(self) -> float:
        """Metres from the center line to the outer edge of the outermost lane."""
        return self.lane(self.style.lanes - 1) + self.style.lane_width / 2

    def half_width(self, s: np.ndarray) -> np.ndarray:
        """Metres from the center line to the curb."""
        return self.carriageway + self.style.shoulder + self.style.parking + 0.15 * (1 + self._wide(s))

    def edges(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Metres from the center line to the curb, the inner and the outer edge of the sidewalk."""
        curb = self.half_width(s)
        return curb, curb + self.style.verge, curb + self.style.verge + self.style.walk

    def to_map(self, s: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Map x, y and the road's heading at (s, d)."""
        heading = np.interp(s, self._s, self._heading)
        x, y = np.interp(s, self._s, self._x), np.interp(s, self._s, self._y)
        return x - np.sin(heading) * d, y + np.cos(heading) * d, heading

    def _outside(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Metres outside the opening of the block, inf where there is none."""
        outside, reach = np.full(s.shape, np.inf), np.abs(d)
        beyond, middle = reach - self.half_width(s), reach < self.style.median / 2
        block = np.floor(s / BLOCK).astype(int)
        for k in np.unique(block):
            plan = self.plan(int(k))
            if plan.opening_half:
                open_here = np.where(d > 0, plan.opening_sides[1], plan.opening_sides[0])
                mine = (block == k) & np.where(middle, plan.crossing, open_here)
                outside[mine] = np.abs(s[mine] - plan.opening) - plan.half_at(beyond[mine])
        return outside

    def _levelled(self, s: np.ndarray, left: np.ndarray) -> np.ndarray:
        """1 on lots that are paved and level, fading to 0 over 8 m into their neighbors of terrain."""
        flat, block = np.zeros(s.shape), np.floor(s / BLOCK).astype(int)
        for k in np.unique(block):
            for side in (0, 1):
                mine = (block == k) & (left == side)
                level = [self.plan(int(j)).yards[side] != TERRAIN for j in (k - 1, k, k + 1)]
                before, after = 1 - _smooth((s[mine] - k * BLOCK) / 8), 1 - _smooth(((k + 1) * BLOCK - s[mine]) / 8)
                flat[mine] = 1.0 if level[1] else np.maximum(level[0] * before, level[2] * after)
        return flat

    def height(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Ground height, metres, map frame."""
        s, d = np.broadcast_arrays(np.asarray(s, float), np.asarray(d, float))
        style, reach = self.style, np.abs(d)
        curb, _, outer = self.edges(s)
        outside = self._outside(s, d)
        slope = self._profile(s) * 20 * style.grade + (style.bank + 0.01 * self._bank(s)) * np.clip(d, -40, 40)
        road = slope - style.crown * np.minimum(reach, curb)
        rise = np.clip((reach - curb) / CURB_RUN, 0, 1) + np.clip((style.median / 2 - reach) / CURB_RUN, 0, 1)
        step = style.curb * rise * np.clip(outside / CURB_RUN, 0, 1)
        return road + step + self._wild(s, d, reach - outer, outside)

    def _wild(self, s: np.ndarray, d: np.ndarray, beyond: np.ndarray, outside: np.ndarray) -> np.ndarray:
        """Hills, ditches and bumps, metres; `beyond` is metres outside the road's outer edge."""
        style = self.style
        wild = (1 - self._levelled(s, d > 0)) * _smooth(outside / 7)
        rise = np.where(d > 0, self._hills[1](s), self._hills[0](s)) * style.hills
        hill = rise * np.tanh(np.maximum(beyond - 0.5, 0) / (4 + 2 * np.abs(rise)))
        ditch = style.ditch * np.exp(-(((beyond - 2.2) / 0.9) ** 2))
        planted = (np.abs(d) < style.median / 2) & (style.median_label == TERRAIN)
        rough = style.roughness * np.where(planted, 0.4, 0.04 + 0.96 * _smooth(beyond / 1.5) * wild)
        x, y, _ = self.to_map(s, d)
        return (hill - ditch) * wild + rough * (self._bumps(x, y) + 0.45 * self._fine(x, y))

    def surface(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Ground class (uint8) at (s, d)."""
        reach, left, style = np.abs(d), d > 0, self.style
        curb, inner, outer = self.edges(s)
        label = np.full(s.shape, TERRAIN, np.uint8)
        block = np.floor(s / BLOCK).astype(int)
        for k in np.unique(block):
            for side in (0, 1):
                mine = (block == k) & (left == side)
                plan = self.plan(int(k))
                zones = [reach[mine] < inner[mine], reach[mine] < outer[mine], reach[mine] < outer[mine] + 30]
                label[mine] = np.select(zones, [plan.verges[side], SIDEWALK, plan.yards[side]], TERRAIN)
        median = reach < style.median / 2 - CURB_RUN / 4
        asphalt = (reach < curb + CURB_RUN / 2) & ~median | (self._outside(s, d) < CURB_RUN / 2)
        return np.where(asphalt, np.uint8(DRIVEABLE), np.where(median, np.uint8(style.median_label), label))

    def pose(self, s: float, d: float, yaw: float = 0.0, follow: bool = True) -> np.ndarray:
        """map_from_object (4, 4) of something standing on the ground at (s, d), turned by `yaw` from the road.

        With `follow` it tilts with the ground (over a base of 2 m), else it stands upright.
        """
        x, y, heading = self.to_map(np.float64(s), np.float64(d))
        result = pose(float(x), float(y), 0.0, float(heading) + yaw)
        if not follow:
            result[2, 3] = float(self.height(s, d))
            return result
        c, n = np.cos(yaw), np.sin(yaw)
        h = self.height(s + np.array([c, -c, -n, n]), d + np.array([n, -n, c, -c]))
        forward, left = np.array([2, 0, h[0] - h[1]]), np.array([0, 2, h[2] - h[3]])
        up = np.cross(forward, left)
        forward, up = forward / np.linalg.norm(forward), up / np.linalg.norm(up)
        result[:3, :3] = result[:3, :3] @ np.stack([forward, np.cross(up, forward), up], 1)
        result[2, 3] = h.mean()
        return result
