"""The road and the ground around it, as functions of station s (metres along) and offset d (metres left)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .mesh import pose
from .style import Style

BLOCK = 32.0  # metres of road that are planned and built together
HALF_WIDTH = 78.0  # metres of ground on either side
LENGTH = 6000.0  # metres of road in a drive
CURB_RUN = 0.04  # metres over which a curb rises
DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN = 11, 12, 13, 14


@dataclass(frozen=True)
class BlockPlan:
    """What the ground of one block is, before anything stands on it.

    Attributes:
        opening, opening_half: metres, station and half width of a side road or driveway; half width 0 for none.
        opening_sides: which sides (right, left) it leaves on.
        lots: per side one of "building", "green", "parking", "plaza".
        verges: per side the class between curb and sidewalk.
    """

    opening: float
    opening_half: float
    opening_sides: tuple[bool, bool]
    lots: tuple[str, str]
    verges: tuple[int, int]


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
        total = 0.0
        for i, weight in enumerate(self.weight):
            total = total + weight * np.sin(sum(c * k for c, k in zip(coordinates, self.k[:, i])) + self.phase[i])
        return total


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
        self.plan = lru_cache(maxsize=512)(self._draw_plan)

    def _draw_plan(self, block: int) -> BlockPlan:
        rng = np.random.default_rng([self.seed, 2, block + 1000])
        style, middle = self.style, (block + 0.5) * BLOCK
        half = 0.0
        if rng.uniform() < style.openings:
            half = rng.uniform(3.2, 6.5) if rng.uniform() < 0.5 else rng.uniform(1.6, 3.0)
        sides = [(True, False), (False, True), (True, True)][rng.integers(3)]
        weights = np.array([style.buildings, 1.1 - style.urban, 0.12 + 0.1 * style.urban, 0.02 + 0.15 * style.urban])
        lots = rng.choice(["building", "green", "parking", "plaza"], 2, p=weights / weights.sum())
        verges = rng.choice([TERRAIN, SIDEWALK, OTHER_FLAT], 2, p=[0.7, 0.2, 0.1])
        return BlockPlan(middle + rng.uniform(-6, 6), half, sides, tuple(map(str, lots)), tuple(map(int, verges)))

    def half_width(self, s: np.ndarray) -> np.ndarray:
        """Metres from the centre line to the curb."""
        return self.style.lanes * self.style.lane_width + self.style.parking + 0.15 * (1 + self._wide(s))

    def edges(self, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Metres from the centre line to the curb, the inner and the outer edge of the sidewalk."""
        curb = self.half_width(s)
        return curb, curb + self.style.verge, curb + self.style.verge + self.style.walk

    def to_map(self, s: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Map x, y and the road's heading at (s, d)."""
        heading = np.interp(s, self._s, self._heading)
        x, y = np.interp(s, self._s, self._x), np.interp(s, self._s, self._y)
        return x - np.sin(heading) * d, y + np.cos(heading) * d, heading

    def _openness(self, s: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (metres, inf where none) outside the opening of the block, and flatness 0..1 of the lot."""
        outside, flat = np.full(s.shape, np.inf), np.zeros(s.shape)
        block = np.floor(s / BLOCK).astype(int)
        for k in np.unique(block):
            for side in (0, 1):
                mine = (block == k) & (left == side)
                plan = self.plan(int(k))
                if plan.opening_half and plan.opening_sides[side]:
                    outside[mine] = np.abs(s[mine] - plan.opening) - plan.opening_half
                flat[mine] = self._flatness(int(k), side, s[mine])
        return outside, flat

    def _flatness(self, k: int, side: int, s: np.ndarray) -> np.ndarray:
        """1 on lots that are levelled, fading to 0 over 8 m into the neighbours that are not."""
        levelled = [self.plan(j).lots[side] in ("parking", "plaza") for j in (k - 1, k, k + 1)]
        if levelled[1]:
            return np.ones(s.shape)
        before, after = 1 - _smooth((s - k * BLOCK) / 8), 1 - _smooth(((k + 1) * BLOCK - s) / 8)
        return np.maximum(levelled[0] * before, levelled[2] * after)

    def height(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Ground height, metres, map frame."""
        s, d = np.broadcast_arrays(np.asarray(s, float), np.asarray(d, float))
        style, reach = self.style, np.abs(d)
        curb, _, outer = self.edges(s)
        outside, flat = self._openness(s, d > 0)
        slope = self._profile(s) * 20 * style.grade + (style.bank + 0.01 * self._bank(s)) * np.clip(d, -40, 40)
        road = slope - style.crown * np.minimum(reach, curb)
        step = style.curb * np.clip((reach - curb) / CURB_RUN, 0, 1) * np.clip(outside / CURB_RUN, 0, 1)
        beyond = np.maximum(reach - outer - 0.5, 0)
        wild = (1 - flat) * _smooth(outside / 7)
        rise = np.where(d > 0, self._hills[1](s), self._hills[0](s)) * style.hills
        hill = rise * np.tanh(beyond / (4 + 2 * np.abs(rise))) * wild
        x, y, _ = self.to_map(s, d)
        rough = style.roughness * (0.15 + 0.85 * _smooth(beyond / 3) * wild)
        return road + step + hill + rough * self._bumps(x, y) + 0.3 * rough * self._fine(x, y)

    def surface(self, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Ground class (uint8) at (s, d)."""
        reach, left = np.abs(d), d > 0
        curb, inner, outer = self.edges(s)
        outside, _ = self._openness(s, left)
        label = np.full(s.shape, TERRAIN, np.uint8)
        block = np.floor(s / BLOCK).astype(int)
        lot_class = {
            "building": SIDEWALK if self.style.urban > 0.7 else TERRAIN,
            "green": TERRAIN,
            "parking": DRIVEABLE,
            "plaza": OTHER_FLAT,
        }
        for k in np.unique(block):
            for side in (0, 1):
                mine = (block == k) & (left == side)
                plan = self.plan(int(k))
                zones = [reach[mine] < inner[mine], reach[mine] < outer[mine], reach[mine] < outer[mine] + 30]
                label[mine] = np.select(zones, [plan.verges[side], SIDEWALK, lot_class[plan.lots[side]]], TERRAIN)
        return np.where((reach < curb + CURB_RUN / 2) | (outside < CURB_RUN / 2), np.uint8(DRIVEABLE), label)

    def pose(self, s: float, d: float, yaw: float = 0.0, follow: bool = True) -> np.ndarray:
        """map_from_object (4, 4) of something standing on the ground at (s, d), turned by `yaw` from the road.

        With `follow` it tilts with the ground (over a base of 2 m), else it stands upright.
        """
        x, y, heading = self.to_map(np.float64(s), np.float64(d))
        result = pose(float(x), float(y), float(self.height(s, d)), float(heading) + yaw)
        if not follow:
            return result
        c, n = np.cos(yaw), np.sin(yaw)
        h = self.height(s + np.array([c, -c, -n, n]), d + np.array([n, -n, c, -c]))
        forward, left = np.array([2, 0, h[0] - h[1]]), np.array([0, 2, h[2] - h[3]])
        up = np.cross(forward, left)
        forward, up = forward / np.linalg.norm(forward), up / np.linalg.norm(up)
        result[:3, :3] = result[:3, :3] @ np.stack([forward, np.cross(up, forward), up], 1)
        result[2, 3] = h.mean()
        return result
