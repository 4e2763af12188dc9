"""A block under construction: what has been placed, and which places along the road are still free."""

from collections.abc import Callable

import numpy as np

from ..objects import actors
from ..objects.mesh import Mesh, join
from .road import BLOCK, HALF_WIDTH, Road


class Site:
    """Places things on a block of a road, in the map frame.

    Attributes:
        mesh parts, see `mesh`; tagged: (label, map_from_object, bounds) of every object of the ten classes.
    """

    def __init__(self, road: Road, index: int):
        self.road, self.style, self.plan = road, road.style, road.plan(index)
        self.start, self.stop = index * BLOCK, (index + 1) * BLOCK
        self.rng = np.random.default_rng([road.seed, 3, index + 1000])
        self.tagged: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._taken: list[tuple[float, float, float, float]] = []
        self._meshes: list[Mesh] = []
        self._reserve_opening()

    def _reserve_opening(self) -> None:
        for side, open_here in zip((-1, 1), self.plan.opening_sides):
            if self.plan.opening_half and open_here:
                half = self.plan.opening_half + self.plan.radius + 0.6
                edges = sorted((side * self.road.carriageway, side * HALF_WIDTH))
                self._taken.append((self.plan.opening - half, self.plan.opening + half, *edges))

    def mesh(self) -> Mesh:
        """Everything placed."""
        return join(self._meshes)

    def add(self, mesh: Mesh) -> None:
        """Add something that is in the map frame already."""
        self._meshes.append(mesh)

    def free(self, s: float, d: float, ls: float, ld: float) -> bool:
        """Take the rectangle of ls x ld metres around (s, d) if it is in the block and nothing has it."""
        mine = (s - ls / 2, s + ls / 2, d - ld / 2, d + ld / 2)
        if mine[0] < self.start or mine[1] > self.stop:
            return False
        if any(mine[0] < t[1] and t[0] < mine[1] and mine[2] < t[3] and t[2] < mine[3] for t in self._taken):
            return False
        self._taken.append(mine)
        return True

    def put(self, mesh: Mesh, s: float, d: float, yaw: float = 0.0, follow: bool = False) -> None:
        """Harness something on the ground at (s, d), turned by `yaw` from the road."""
        self._meshes.append(mesh.moved(self.road.pose(s, d, yaw, follow)))

    def put_object(
        self, label: int, s: float, d: float, yaw: float, margin: float = 0.2, mesh: Mesh | None = None
    ) -> None:
        """Harness an object of a class (a random one without `mesh`) at (s, d) if there is room."""
        mesh = mesh or actors.MAKERS[label](self.rng)
        low, high = mesh.bounds()
        size = high - low
        c, n = abs(np.cos(yaw)), abs(np.sin(yaw))
        if not self.free(s, d, c * size[0] + n * size[1] + margin, n * size[0] + c * size[1] + margin):
            return
        where = self.road.pose(s, d, yaw)
        self._meshes.append(mesh.moved(where))
        self.tagged.append((label, where, np.stack([low, high])))

    def edges(self, s: float) -> tuple[float, float, float]:
        """See `Road.edges`."""
        return tuple(float(e) for e in self.road.edges(np.float64(s)))

    def scatter(self, expected: float) -> np.ndarray:
        """Stations of a random number of things."""
        return self.rng.uniform(self.start, self.stop, self.rng.poisson(expected))

    def boundary(self, side: int, maker: Callable[[np.random.Generator, float], Mesh], beyond: float) -> None:
        """A wall, fence or hedge along the road in pieces that follow the ground, all alike."""
        first, last = np.sort(self.rng.uniform(self.start, self.stop, 2))
        state = self.rng.bit_generator.state
        for s in np.arange(first + 2, last - 2, 4.0):
            self.rng.bit_generator.state = state
            d = side * (self.edges(s)[2] + beyond)
            if self.free(s, d, 3.9, 0.5):
                self.put(maker(self.rng, 4.0), s, d, 0.0, True)
