"""One block of the static world: its ground, its road markings and everything that stands on it."""

from collections.abc import Callable

import numpy as np

from . import actors, scenery
from .mesh import GRASS, GROUND, Mesh, Paint, join, lattice_triangles
from .road import BLOCK, CURB_RUN, DRIVEABLE, HALF_WIDTH, OTHER_FLAT, SIDEWALK, TERRAIN, Road

_GROUND_RGB = {
    DRIVEABLE: (0.24, 0.24, 0.25),
    OTHER_FLAT: (0.42, 0.38, 0.33),
    SIDEWALK: (0.52, 0.5, 0.47),
    TERRAIN: (0.3, 0.34, 0.16),
}


class Block:
    """The static things between two stations of a road, in the map frame.

    Attributes:
        mesh: everything static.
        tagged: (label, map_from_object, size) of every object of the ten classes, for annotations.
    """

    def __init__(self, road: Road, index: int):
        self.road, self.style, self.plan = road, road.style, road.plan(index)
        self.start, self.stop = index * BLOCK, (index + 1) * BLOCK
        self.rng = np.random.default_rng([road.seed, 3, index + 1000])
        self.tagged: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._taken: list[tuple[float, float, float, float]] = []
        self._meshes = [self._ground(), *self._markings()]
        self._side_traffic()
        self._reserve_opening()
        for side in (-1, 1):
            self._works(side)
            self._parked(side)
            self._lot(side)
            self._furniture(side)
            self._plants(side)
            self._people(side)
        self.mesh = join(self._meshes)

    # ---- ground

    def _ground(self) -> Mesh:
        s = np.linspace(self.start, self.stop, int(BLOCK) + 1)
        if self.plan.opening_half:
            low, high = self.plan.opening - self.plan.opening_half, self.plan.opening + self.plan.opening_half
            s = np.unique(np.concatenate([s, [low - CURB_RUN, low, high, high + CURB_RUN]]))
        curb, inner, outer = self.road.edges(s)
        fan = np.concatenate([np.arange(0.5, 30, 1.0), np.arange(31, 200, 2.5)])
        right = [curb * f for f in (0.25, 0.5, 0.75, 1.0)] + [
            curb + CURB_RUN,
            inner + 0.05,
            (inner + outer) / 2 + 0.05,
            outer + 0.06,
        ]
        right += [outer + reach for reach in fan if reach + outer.max() < HALF_WIDTH]
        half = np.stack(right, 1)
        d = np.concatenate([-half[:, ::-1], np.zeros((len(s), 1)), half], 1)
        s = np.broadcast_to(s[:, None], d.shape)
        x, y, _ = self.road.to_map(s, d)
        triangles = lattice_triangles(np.stack([x, y, self.road.height(s, d)], -1))
        middle = [(a[:-1, :-1] + a[1:, 1:]).ravel() / 2 for a in (s, d)]
        return self._painted_ground(triangles, np.tile(self.road.surface(*middle), 2))

    def _painted_ground(self, triangles: np.ndarray, labels: np.ndarray) -> Mesh:
        look = np.random.default_rng([self.road.seed, 4])
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

    def _markings(self) -> list[Mesh]:
        rng, style = np.random.default_rng([self.road.seed, 5]), self.style
        if rng.uniform() < 0.15:
            return []
        white, centre = (0.8, 0.8, 0.78), (0.75, 0.55, 0.12) if rng.uniform() < 0.6 else (0.8, 0.8, 0.78)
        strips = [self._strip(0.0, 0.14, 0, 0, centre) if style.lanes > 1 else self._strip(0.0, 0.14, 3, 5, centre)]
        for side in (-1, 1):
            strips += [self._strip(side * k * style.lane_width, 0.13, 3, 6, white) for k in range(1, style.lanes)]
            if rng.uniform() < 0.8:
                strips.append(self._strip(side * style.lanes * style.lane_width, 0.13, 0, 0, white))
        if self.plan.opening_half > 3.2 and self.rng.uniform() < 0.7:
            strips += self._crosswalk(self.plan.opening - self.plan.opening_half - 3.5)
        return strips

    def _strip(self, d: float, width: float, dash: float, gap: float, rgb: tuple) -> Mesh:
        """A line along the road at offset d, dashed when `dash` > 0."""
        s = np.arange(self.start, self.stop, 1.0)
        s = s[(s % (dash + gap)) < dash] if dash else s
        return self._decal(np.stack([s, s + 1], 1), np.broadcast_to([d - width / 2, d + width / 2], (len(s), 2)), rgb)

    def _crosswalk(self, s: float) -> list[Mesh]:
        edge = float(self.road.half_width(np.float64(s)))
        bars = np.arange(-edge + 0.4, edge - 0.8, 1.1)
        return [
            self._decal(
                np.tile([[s, s + 1.5], [s + 1.5, s + 3]], (len(bars), 1)),
                np.repeat(np.stack([bars, bars + 0.5], 1), 2, 0),
                (0.8, 0.8, 0.78),
            )
        ]

    def _decal(self, s: np.ndarray, d: np.ndarray, rgb: tuple) -> Mesh:
        """Painted rectangles on the road: (N, 2) station and offset ranges."""
        corners_s, corners_d = s[:, [0, 1, 1, 0]], d[:, [0, 0, 1, 1]]
        x, y, _ = self.road.to_map(corners_s, corners_d)
        quads = np.stack([x, y, self.road.height(corners_s, corners_d) + 0.012], -1)
        return Mesh.painted(np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]), Paint(DRIVEABLE, rgb))

    # ---- placing

    def _reserve_opening(self) -> None:
        for side, open_here in zip((-1, 1), self.plan.opening_sides):
            if self.plan.opening_half and open_here:
                half = self.plan.opening_half + 0.6
                edges = sorted((side * (self.style.lanes * self.style.lane_width), side * HALF_WIDTH))
                self._taken.append((self.plan.opening - half, self.plan.opening + half, *edges))

    def _free(self, s: float, d: float, ls: float, ld: float) -> bool:
        """Take the rectangle of ls x ld metres around (s, d) if it is in the block and nothing has it."""
        mine = (s - ls / 2, s + ls / 2, d - ld / 2, d + ld / 2)
        if mine[0] < self.start or mine[1] > self.stop:
            return False
        if any(mine[0] < t[1] and t[0] < mine[1] and mine[2] < t[3] and t[2] < mine[3] for t in self._taken):
            return False
        self._taken.append(mine)
        return True

    def _put(self, mesh: Mesh, s: float, d: float, yaw: float = 0.0, follow: bool = False) -> None:
        self._meshes.append(mesh.moved(self.road.pose(s, d, yaw, follow)))

    def _put_object(self, label: int, mesh: Mesh, s: float, d: float, yaw: float, margin: float = 0.2) -> bool:
        low, high = mesh.bounds()
        size = high - low
        c, n = abs(np.cos(yaw)), abs(np.sin(yaw))
        if not self._free(s, d, c * size[0] + n * size[1] + margin, n * size[0] + c * size[1] + margin):
            return False
        where = self.road.pose(s, d, yaw)
        self._meshes.append(mesh.moved(where))
        self.tagged.append((label, where, np.stack([low, high])))
        return True

    def _edges(self, s: float) -> tuple[float, float, float]:
        return tuple(float(e) for e in self.road.edges(np.float64(s)))

    def _scatter(self, expected: float) -> np.ndarray:
        """Stations of a random number of things."""
        return self.rng.uniform(self.start, self.stop, self.rng.poisson(expected))

    # ---- what stands where

    def _works(self, side: int) -> None:
        """A work site in the parking lane or on the verge: a row of barriers or cones, machines and workers."""
        if self.rng.uniform() > self.style.works:
            return
        rng, curb = self.rng, self._edges(self.start)[0]
        row = side * (curb - min(self.style.parking, 2.2) + 0.1) if self.style.parking else side * (curb + 0.6)
        maker, label, gap = [(actors.barrier, 1, rng.uniform(2.2, 3.4)), (actors.traffic_cone, 8, rng.uniform(1.5, 4))][
            rng.integers(2)
        ]
        first, last = np.sort(rng.uniform(self.start + 1, self.stop - 1, 2))
        for s in np.arange(first, max(last, first + 9), gap):
            self._put_object(label, maker(rng), s, row + rng.normal(0, 0.08), rng.normal(0, 0.06), 0)
        behind = row + side * rng.uniform(2.0, 6.0)
        if rng.uniform() < 0.5:
            self._put_object(5, actors.construction_vehicle(rng), (first + last) / 2, behind, rng.uniform(0, 2 * np.pi))
        for s in rng.uniform(first, last + 0.1, rng.integers(0, 3)):
            self._put_object(7, actors.pedestrian(rng), s, row + side * rng.uniform(0.8, 3), rng.uniform(0, 6))
            self._put_object(8, actors.traffic_cone(rng), s + 1, row + side * rng.uniform(0.8, 2), 0)

    def _vehicle(self) -> tuple[int, Callable]:
        label = int(self.rng.choice([4, 10, 3, 9, 6, 2], p=[0.78, 0.1, 0.02, 0.03, 0.04, 0.03]))
        return label, actors.MAKERS[label]

    def _side_traffic(self) -> None:
        """Vehicles that wait in or turn into a side road."""
        half = self.plan.opening_half
        for side, open_here in zip((-1, 1), self.plan.opening_sides):
            if open_here and half > 2.5 and self.rng.uniform() < 0.3 + 0.5 * self.style.traffic:
                reach = self._edges(self.plan.opening)[0] + self.rng.uniform(1, 6)
                for _ in range(self.rng.integers(1, 4)):
                    label, maker = self._vehicle()
                    mesh = maker(self.rng)
                    length = mesh.bounds()[1][0] - mesh.bounds()[0][0]
                    lane = self.plan.opening + self.rng.choice([-1, 1]) * half / 2
                    yaw = np.pi / 2 * self.rng.choice([-1, 1]) + self.rng.normal(0, 0.1)
                    self._put_object(label, mesh, lane, side * (reach + length / 2), yaw)
                    reach += length + self.rng.uniform(1, 6)

    def _parked(self, side: int) -> None:
        """Vehicles along the curb, nose to tail with gaps."""
        if not self.style.parking:
            return
        heading = 0.0 if side == self.style.traffic_side else np.pi
        s = self.start + self.rng.uniform(0.5, 4)
        while s < self.stop - 2:
            if self.rng.uniform() < self.style.parked:
                label, maker = self._vehicle()
                mesh = maker(self.rng)
                length = mesh.bounds()[1][0] - mesh.bounds()[0][0]
                offset = self._edges(s)[0] - self.style.parking / 2 + self.rng.normal(0, 0.1)
                yaw = heading + self.rng.normal(0, 0.03) + (np.pi if self.rng.uniform() < 0.1 else 0)
                self._put_object(label, mesh, s + length / 2, side * offset, yaw)
                s += length
            else:
                s += 4
            s += self.rng.uniform(0.5, 2.0)

    def _lot(self, side: int) -> None:
        kind = self.plan.lots[(side + 1) // 2]
        if kind == "building":
            self._buildings(side)
        elif kind == "parking":
            self._parking_lot(side)
        elif kind == "plaza":
            for s in self._scatter(4):
                self._put(
                    scenery.street_box(self.rng),
                    s,
                    side * (self._edges(s)[2] + self.rng.uniform(1, 20)),
                    self.rng.uniform(0, 6),
                )
        if kind != "building" and self.rng.uniform() < 0.5 * self.style.urban + 0.1:
            self._buildings(side, self.rng.uniform(18, 32))

    def _buildings(self, side: int, extra: float = 0.0) -> None:
        rng, s = self.rng, self.start + self.rng.uniform(0, 3)
        while s < self.stop - 5:
            length, depth = min(rng.uniform(6, 30), self.stop - s - 0.2), rng.uniform(7, 18)
            front = self._edges(s)[2] + self.style.setback * rng.uniform(0.7, 1.5) + extra
            if length > 4 and self._free(s + length / 2, side * (front + depth / 2), length, depth):
                storeys = max(1, self.style.storeys * rng.uniform(0.5, 1.4))
                facing = np.pi if side > 0 else 0.0
                self._put(
                    scenery.building(rng, length, depth, storeys),
                    s + length / 2,
                    side * front,
                    facing + rng.normal(0, 0.02),
                )
            s += length + (0.0 if self.style.urban > 0.75 else rng.uniform(0.5, 10))

    def _parking_lot(self, side: int) -> None:
        rng, density = self.rng, self.rng.uniform(0.2, 0.9)
        for row in (4.0, 15.0, 21.0):
            for s in np.arange(self.start + 1.5, self.stop - 1, 2.7):
                if rng.uniform() < density:
                    label, maker = (4, actors.car) if rng.uniform() < 0.92 else (10, actors.truck)
                    turn = np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.03)
                    self._put_object(label, maker(rng), s, side * (self._edges(s)[2] + row), turn, 0.1)

    def _furniture(self, side: int) -> None:
        rng, style = self.rng, self.style
        into_road = np.pi / 2 * (1 + side)
        for s in self._scatter(style.furniture):
            d = side * (self._edges(s)[0] + rng.uniform(0.4, 0.9))
            maker = [scenery.pole, scenery.sign, scenery.street_box][rng.choice(3, p=[0.5, 0.3, 0.2])]
            if self._free(s, d, 0.6, 0.6):
                self._put(maker(rng), s, d, into_road)
        if self.plan.opening_half > 3.2 and rng.uniform() < style.urban:
            s, d = self.plan.opening - self.plan.opening_half - 1.2, side * (self._edges(self.plan.opening)[0] + 0.6)
            self._put(scenery.traffic_light(rng), s, d, into_road)
        if style.walk > 2 and rng.uniform() < 0.12 * style.urban + 0.02:
            s, d = rng.uniform(self.start + 3, self.stop - 3), side * (self._edges(self.start)[2] - 0.9)
            if self._free(s, d, 4.6, 1.7):
                self._put(scenery.shelter(rng), s, d, into_road)
        if rng.uniform() < style.fences:
            self._boundary(side, [scenery.fence, scenery.fence, scenery.wall][rng.integers(3)], rng.uniform(0.6, 6))

    def _boundary(self, side: int, maker: Callable, beyond: float) -> None:
        """A wall, fence or hedge along the road in pieces that follow the ground."""
        first, last = np.sort(self.rng.uniform(self.start, self.stop, 2))
        state = self.rng.bit_generator.state
        for s in np.arange(first + 2, last - 2, 4.0):
            self.rng.bit_generator.state = state  # every piece of a boundary looks alike
            d = side * (self._edges(s)[2] + beyond)
            if self._free(s, d, 3.9, 0.5):
                self._put(maker(self.rng, 4.0), s, d, 0.0, True)

    def _plants(self, side: int) -> None:
        rng, style = self.rng, self.style
        if rng.uniform() < 0.3 * (1 - 0.5 * style.urban):
            self._boundary(side, lambda r, length: scenery.hedge(r, length, False), rng.uniform(0.5, 4))
        if rng.uniform() < style.thicket:
            self._thicket(side)
        for s in self._scatter(style.trees):
            near = style.verge > 1.2 and rng.uniform() < 0.5
            edge = self._edges(s)
            reach = (edge[0] + edge[1]) / 2 if near else edge[2] + rng.gamma(1.5, 9) + 1
            if reach < HALF_WIDTH - 6 and self._free(s, side * reach, 1.0, 1.0):
                self._put(scenery.tree(rng), s, side * reach, rng.uniform(0, 6))
        for s in self._scatter(style.bushes):
            reach = self._edges(s)[2] + rng.gamma(1.3, 7) + 1.2
            if reach < HALF_WIDTH - 4 and self._free(s, side * reach, 1.0, 1.0):
                self._put(scenery.bush(rng), s, side * reach, rng.uniform(0, 6))

    def _thicket(self, side: int) -> None:
        beyond = self.rng.uniform(2, 14)
        for s in np.arange(self.start + 4, self.stop - 3.9, 7.8):
            d = side * (self._edges(s)[2] + beyond + self.rng.normal(0, 0.5))
            if self._free(s, d, 7.6, 2.5):
                self._put(scenery.hedge(self.rng, 7.6, True), s, d, 0.0, True)

    def _people(self, side: int) -> None:
        rng = self.rng
        for s in self._scatter(self.style.pedestrians):
            edge = self._edges(s)
            reach = rng.uniform(edge[1], edge[2]) if self.style.walk else edge[2] + rng.uniform(0.5, 3)
            for _ in range(1 + rng.poisson(0.4)):
                self._put_object(
                    7,
                    actors.pedestrian(rng),
                    s + rng.normal(0, 0.6),
                    side * (reach + rng.normal(0, 0.4)),
                    rng.uniform(0, 6),
                    0,
                )
        for s in self._scatter(0.5 * self.style.urban):
            label = int(rng.choice([2, 6]))
            d = side * (self._edges(s)[0] + rng.uniform(0.7, 1.6))
            for k in range(rng.integers(1, 6)):
                self._put_object(
                    label, actors.MAKERS[label](rng, rider=False), s + 0.75 * k, d, np.pi / 2 + rng.normal(0, 0.15), 0
                )
