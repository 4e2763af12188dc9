"""Labeled, painted triangle meshes and the primitives that everything in the world is built from."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

PLAIN, GROUND, GRASS, FACADE, LEAVES, GLASS = range(6)  # texture kinds


@dataclass(frozen=True)
class Paint:
    """What a surface is and looks like: class label, albedo (RGB, 0..1) and texture kind."""

    label: int
    rgb: tuple[float, float, float]
    texture: int = PLAIN


@dataclass
class Mesh:
    """A triangle soup with solid boxes inside it.

    Attributes:
        triangles: (F, 3, 3) float32 corners, metres.
        labels: (F,) uint8 class.
        albedo: (F, 3) float32, 0..1.
        texture: (F,) uint8 texture kind.
        solids: list of (mesh_from_box (4, 4), half extents (3,), label) of volumes that are not empty inside.
    """

    triangles: np.ndarray
    labels: np.ndarray
    albedo: np.ndarray
    texture: np.ndarray
    solids: list[tuple[np.ndarray, np.ndarray, int]] = field(default_factory=list)

    @staticmethod
    def painted(triangles: np.ndarray, paint: Paint, shade: np.ndarray | float = 1.0) -> "Mesh":
        """Triangles (F, 3, 3) of one paint; `shade` scalar or (F,) scales the albedo."""
        count = len(triangles)
        albedo = np.broadcast_to(np.reshape(shade, (-1, 1)) * np.float32(paint.rgb), (count, 3)).astype(np.float32)
        return Mesh(
            np.asarray(triangles, np.float32).reshape(-1, 3, 3),
            np.full(count, paint.label, np.uint8),
            albedo,
            np.full(count, paint.texture, np.uint8),
        )

    def moved(self, target_from_mesh: np.ndarray) -> "Mesh":
        """The mesh in another frame; (4, 4) rigid transform."""
        rotation, shift = target_from_mesh[:3, :3], target_from_mesh[:3, 3]
        triangles = (self.triangles.reshape(-1, 3) @ rotation.T + shift).astype(np.float32).reshape(-1, 3, 3)
        solids = [(target_from_mesh @ pose, half, label) for pose, half, label in self.solids]
        return Mesh(triangles, self.labels, self.albedo, self.texture, solids)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Low and high corner (3,), metres."""
        points = self.triangles.reshape(-1, 3)
        return points.min(0), points.max(0)


def join(meshes: list[Mesh]) -> Mesh:
    """All meshes as one."""
    if not meshes:
        return Mesh.painted(np.zeros((0, 3, 3), np.float32), Paint(0, (0, 0, 0)))
    return Mesh(
        *(np.concatenate([getattr(m, name) for m in meshes]) for name in ("triangles", "labels", "albedo", "texture")),
        [solid for m in meshes for solid in m.solids],
    )


def pose(x: float, y: float, z: float, yaw: float = 0.0) -> np.ndarray:
    """(4, 4) transform: rotation by `yaw` radians about z, then translation in metres."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
_QUADS = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
_CUBE_FACES = np.array([[q[i] for i in t] for q in _QUADS for t in ((0, 1, 2), (0, 2, 3))])


def box(
    center: tuple,
    size: tuple,
    paint: Paint,
    yaw: float = 0.0,
    taper: tuple = (1.0, 1.0),
    solid: bool = False,
    shift: float = 0.0,
) -> Mesh:
    """A box; its top is scaled by `taper` along x and y and moved by `shift` metres along x."""
    corners = _CUBE * (np.asarray(size, np.float32) / 2)
    top = corners[:, 2] > 0
    corners = np.where(top[:, None], corners * np.float32([taper[0], taper[1], 1]) + np.float32([shift, 0, 0]), corners)
    mesh = Mesh.painted(corners[_CUBE_FACES], paint)
    if solid:
        inside = np.asarray(size) / 2 * [(1 + min(1, taper[0])) / 2, (1 + min(1, taper[1])) / 2, 1]
        mesh.solids.append((np.eye(4), inside, paint.label))
    return mesh.moved(pose(*center, yaw))


@lru_cache(maxsize=16)
def _unit_cylinder(sides: int) -> np.ndarray:
    """(4 * sides, 3, 3) triangles of a capped cylinder: radius 1, z in 0..1."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides + 1)], 1)
    a, b, up = ring[:-1], ring[1:], np.array([0, 0, 1.0])
    hub = np.zeros_like(a)
    parts = [(a, b, b + up), (a, b + up, a + up), (hub, b, a), (hub + up, a + up, b + up)]
    return np.concatenate([np.stack(p, 1) for p in parts]).astype(np.float32)


def cylinder(
    base: tuple, radius: float, height: float, paint: Paint, sides: int = 8, top: float = 1.0, axis: str = "z"
) -> Mesh:
    """A capped cylinder from `base` along `axis`; `top` scales the far radius (0 makes a cone)."""
    points = _unit_cylinder(sides).copy()
    points[..., :2] *= radius * np.where(points[..., 2:] > 0.5, top, 1.0)
    points[..., 2] *= height
    order = {"z": (0, 1, 2), "y": (0, 2, 1), "x": (2, 1, 0)}[axis]
    return Mesh.painted(points[..., order] + np.float32(base), paint)


def ellipsoid(center: tuple, radii: tuple, paint: Paint, rings: int = 4, sides: int = 8) -> Mesh:
    """A closed ellipsoid of `rings` x `sides` quads."""
    polar, angle = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, sides + 1)
    points = (
        np.stack(
            [
                np.outer(np.sin(polar), np.cos(angle)),
                np.outer(np.sin(polar), np.sin(angle)),
                np.outer(np.cos(polar), np.ones(sides + 1)),
            ],
            -1,
        )
        * radii
        + center
    )
    return Mesh.painted(lattice_triangles(points), paint)


def lattice_triangles(points: np.ndarray) -> np.ndarray:
    """Two triangles a cell: (M, N, 3) points to (2 * (M - 1) * (N - 1), 3, 3); the halves of the result pair up."""
    a, b, c, d = points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]
    return np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 3), np.stack([a, c, d], 2).reshape(-1, 3, 3)])


def leaves(
    rng: np.random.Generator, center: tuple, radii: tuple, count: int, size: float, paint: Paint, boxy: bool = False
) -> Mesh:
    """A porous cloud of small random triangles, denser towards its skin (an ellipsoid, or a box when `boxy`)."""
    direction = rng.normal(size=(count, 3))
    norm = np.abs(direction).max(1) if boxy else np.linalg.norm(direction, axis=1)
    where = direction / norm[:, None] * rng.uniform(0.15, 1, (count, 1)) ** 0.5 * radii + center
    corners = where[:, None] + rng.normal(0, size / 2, (count, 3, 3))
    return Mesh.painted(corners, paint, rng.uniform(0.6, 1.25, count).astype(np.float32))


def surface_samples(triangles: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Points on triangles on a lattice at most `spacing` metres apart, edges and corners included.

    Args:
        triangles: (F, 3, 3) float, metres.

    Returns:
        points (N, 3) float32 and the triangle of each (N,) int64.
    """
    corners = np.asarray(triangles, np.float32)
    lengths = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)  # edge i runs from corner i to i + 1
    turn = (lengths.argmax(1)[:, None] + np.arange(3)) % 3  # the longest edge first
    start, end, apex = np.take_along_axis(corners, turn[:, :, None], 1).transpose(1, 0, 2)
    longest = lengths.max(1)
    height = np.linalg.norm(np.cross(end - start, apex - start), axis=1) / np.maximum(longest, 1e-9)
    rows = np.ceil(height / spacing).astype(np.int64) + 1
    triangle = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows, rows)
    t = (row / np.maximum(rows - 1, 1)[triangle]).astype(np.float32)
    columns = np.ceil(longest[triangle] * (1 - t) / spacing).astype(np.int64) + 1
    line = np.repeat(np.arange(len(triangle)), columns)
    column = np.arange(len(line)) - np.repeat(np.cumsum(columns) - columns, columns)
    u = (column / np.maximum(columns - 1, 1)[line]).astype(np.float32)[:, None]
    left = start[triangle] + (apex - start)[triangle] * t[:, None]
    across = (end - start)[triangle] * (1 - t[:, None])
    return left[line] + across[line] * u, triangle[line]
