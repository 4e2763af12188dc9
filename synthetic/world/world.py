"""The part of a drive's world that surrounds the vehicle: static blocks, kept while it moves, and traffic."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from occfusion_ros.core.errors import DatasetError, one_line
from occfusion_ros.core.labels import FLAT_GROUND

from ..objects import actors
from ..objects.mesh import Mesh, join
from .block import Block
from .road import BLOCK, Road
from .truth import GROUND_SAMPLE, SAMPLE, Samples, sample

VIEW = 112.0  # metres of world ahead of and behind the vehicle
_SAMPLED_WIDTH, _SAMPLED_HEIGHT = 58.0, 8.0  # metres beside and above the road that a grid can reach
_LOOP = 200.0  # metres after which traffic repeats
_NO_HIT = 1e30


@dataclass(frozen=True)
class Hits:
    """First hits of rays; all arrays are (N,) or (N, 3).

    Attributes:
        distance: float32 metres along the ray (directions are unit), inf where nothing was hit.
        normal: float32 unit, towards the ray's origin; zero where nothing was hit.
        label: uint8, 0 where nothing was hit.
        albedo: float32.
        texture: uint8.
    """

    distance: np.ndarray
    normal: np.ndarray
    label: np.ndarray
    albedo: np.ndarray
    texture: np.ndarray


class Body:
    """A mesh ready for ray casting."""

    def __init__(self, mesh: Mesh, origin: np.ndarray):
        """`origin` (3,): metres, subtracted before single precision hurts; rays are given relative to it, too."""
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise DatasetError(
                f"the synthetic world needs embreex ({one_line(error)}), on x86-64: pip install embreex"
            ) from error
        self.mesh, self.scene = mesh, EmbreeScene()
        # embreex wants at least one triangle; a degenerate one is never hit
        self._mesh = TriangleMesh(
            self.scene,
            np.ascontiguousarray((mesh.triangles - origin).astype(np.float32))
            if len(mesh.triangles)
            else np.zeros((1, 3, 3), np.float32),
        )


def cast(bodies: tuple[Body, ...], origins: np.ndarray, directions: np.ndarray) -> Hits:
    """First hit of each ray among all bodies; (N, 3) float32 origins and unit directions."""
    reach = np.full(len(origins), _NO_HIT, np.float32)
    normal, albedo = np.zeros((len(origins), 3), np.float32), np.zeros((len(origins), 3), np.float32)
    label, texture = np.zeros(len(origins), np.uint8), np.zeros(len(origins), np.uint8)
    for body in bodies:
        found = body.scene.run(origins, directions, dists=reach, output=1)
        hit = np.flatnonzero(found["primID"] >= 0)
        face = found["primID"][hit]
        reach[hit] = found["tfar"][hit]
        normal[hit] = found["Ng"][hit]
        label[hit], albedo[hit], texture[hit] = body.mesh.labels[face], body.mesh.albedo[face], body.mesh.texture[face]
    flip = np.sign(np.einsum("ij,ij->i", normal, directions)) / np.maximum(
        np.sqrt(np.einsum("ij,ij->i", normal, normal)), 1e-12
    )
    return Hits(
        np.where(label > 0, reach, np.inf).astype(np.float32),
        -normal * flip[:, None].astype(np.float32),
        label,
        albedo,
        texture,
    )


@dataclass(frozen=True)
class Window:
    """The static world around a place.

    Attributes:
        origin: (3,) float64 metres, map; rays are relative to it.
        body: everything static, for rays.
        ground, things: samples of the surfaces of each block.
        solids, tagged: see `Mesh` and `Block`.
    """

    origin: np.ndarray
    body: Body
    ground: list[Samples]
    things: list[Samples]
    solids: list
    tagged: list


@dataclass(frozen=True)
class Traveler:
    """A moving object: it repeats every `_LOOP` metres relative to the ego vehicle.

    Attributes:
        start: metres ahead of the ego vehicle at index 0; speed: metres per index along the road, signed.
        offset: metres left of the center line.
    """

    label: int
    mesh: Mesh
    start: float
    speed: float
    offset: float


class World:
    """Everything there is to see in a drive."""

    def __init__(self, road: Road):
        self.road = road
        self.block = lru_cache(maxsize=16)(lambda index: _sampled(Block(road, index)))
        self.window = lru_cache(maxsize=1)(self._window)
        self.travelers = _draw_travelers(road)

    def around(self, s: float) -> Window:
        """The static world around station s."""
        return self.window(int(np.floor((s - VIEW) / BLOCK)), int(np.floor((s + VIEW) / BLOCK)))

    def _window(self, first: int, last: int) -> Window:
        blocks = [self.block(k) for k in range(first, last + 1)]
        mesh = join([block.mesh for block, _, _ in blocks])
        origin = blocks[len(blocks) // 2][1].origin
        return Window(
            origin,
            Body(mesh, origin),
            [ground for _, ground, _ in blocks],
            [things for _, _, things in blocks],
            mesh.solids,
            [tag for block, _, _ in blocks for tag in block.tagged],
        )

    def moving(self, index: int, ego_s: float, ego_speed: float) -> tuple[Mesh, list]:
        """Moving objects at a frame: their mesh in the map frame and (label, map_from_object, bounds, identity)."""
        meshes, tags = [], []
        for identity, one in enumerate(self.travelers):
            ahead = (one.start + (one.speed - ego_speed) * index + _LOOP / 2) % _LOOP - _LOOP / 2
            where = self.road.pose(ego_s + ahead, one.offset, 0.0 if one.speed >= 0 else np.pi)
            meshes.append(one.mesh.moved(where))
            tags.append((one.label, where, np.stack(one.mesh.bounds()), identity))
        return join(meshes), tags


def _sampled(block: Block) -> tuple[Block, Samples, Samples]:
    """A block with the samples of its ground and of what stands on it, as far as a grid can reach."""
    mesh, s = block.mesh, (block.start + block.stop) / 2
    x, y, heading = block.road.to_map(np.float64(s), np.float64(0))
    origin = np.array([x, y, block.road.height(s, 0.0)])
    middle = mesh.triangles.mean(1) - origin
    beside = np.abs(middle[:, 1] * np.cos(heading) - middle[:, 0] * np.sin(heading))
    above = mesh.triangles[:, :, 2].min(1) - origin[2]
    wanted = (beside < _SAMPLED_WIDTH) & (above < _SAMPLED_HEIGHT)
    ground = np.isin(mesh.labels, FLAT_GROUND)
    return block, *(
        sample(mesh.triangles[chosen], mesh.labels[chosen], origin, spacing)
        for chosen, spacing in ((wanted & ground, GROUND_SAMPLE), (wanted & ~ground, SAMPLE))
    )


def _draw_travelers(road: Road) -> list[Traveler]:
    """Vehicles in every lane (one speed a lane, so that nobody collides), walkers and riders at the side."""
    rng, style = np.random.default_rng([road.seed, 6]), road.style
    found = []
    for side in (-1, 1):
        along = 1 if side == style.traffic_side else -1
        for lane in range(style.lanes):
            ego_lane = along == 1 and lane == style.ego_lane
            speed = style.speed if ego_lane else along * style.speed * rng.uniform(0.2, 1.3)
            found += _lane(rng, style.traffic, speed, side * road.lane(lane), 9.0 if ego_lane else 0.0)
        found += _walkers(rng, road, side) + _riders(rng, road, side, along)
    return found


def _walkers(rng: np.random.Generator, road: Road, side: int) -> list[Traveler]:
    """People on the sidewalk or beside the road, most of them near."""
    _, inner, outer = (float(e) for e in road.edges(np.float64(0)))
    found = []
    for _ in range(rng.poisson(2 * road.style.pedestrians)):
        mesh, start = actors.pedestrian(rng), np.clip(rng.normal(0, 35), -90, 90)
        reach = rng.uniform(inner + 0.3, max(outer - 0.2, inner + 0.4))
        speed = rng.choice([-1, 1]) * rng.uniform(0.4, 0.9)
        found.append(Traveler(actors.PEDESTRIAN, mesh, start, speed, side * reach))
    return found


def _riders(rng: np.random.Generator, road: Road, side: int, along: int) -> list[Traveler]:
    """Bicycles and motorcycles at the edge of the outermost lane."""
    found = []
    for _ in range(rng.poisson(2.6 * road.style.cyclists)):
        label = int(rng.choice([actors.BICYCLE, actors.MOTORCYCLE]))
        mesh, start = actors.MAKERS[label](rng, rider=True), np.clip(rng.normal(0, 35), -90, 90)
        found.append(Traveler(label, mesh, start, along * rng.uniform(1, 3), side * (road.carriageway - 0.3)))
    return found


def _lane(rng: np.random.Generator, traffic: float, speed: float, offset: float, keep_clear: float) -> list[Traveler]:
    """Vehicles of one lane; none within `keep_clear` metres of the ego vehicle."""
    found, s = [], -_LOOP / 2 + rng.uniform(0, 30)
    while s < _LOOP / 2 - 16:
        label = int(rng.choice([4, 10, 3, 9, 5, 6, 2], p=[0.6, 0.17, 0.06, 0.04, 0.02, 0.08, 0.03]))
        mesh = actors.MAKERS[label](rng)
        length = mesh.bounds()[1][0] - mesh.bounds()[0][0]
        if abs(s + length / 2) > keep_clear + length / 2 or not keep_clear:
            found.append(Traveler(label, mesh, s + length / 2, speed, offset + rng.normal(0, 0.15)))
        s += length + rng.uniform(2.5, 6) + rng.exponential(6 + 120 * (1 - traffic) ** 2)
    return found
