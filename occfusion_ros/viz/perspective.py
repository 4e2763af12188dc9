"""A shaded three-dimensional view of an occupancy grid, ray-traced on the CPU with Intel Embree."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..core.errors import OccFusionError, one_line
from ..core.frames import OccupancyGrid
from ..core.labels import SemanticClass
from .voxels import box_faces, color_table, exposed_faces, triangles

SKY_TOP, SKY_BOTTOM = np.array([205, 217, 232.0]), np.array([244, 246, 249.0])
SUN = np.array([-0.45, -0.35, 0.82], np.float32)  # direction towards the light, grid frame
FACE_LIGHT = np.array([0.80, 0.88, 1.0], np.float32)  # brightness of faces looking along x, y and z
SHADOW = 0.62  # brightness left where the sun does not reach
EDGE_WIDTH, EDGE_LIGHT = 0.07, 0.82  # darkened rim of a voxel face: share of its edge, brightness
EGO_RGB = (34, 38, 46)
EGO_BOXES = (((-0.95, -2.1, -1.55), (0.95, 2.5, -0.85)), ((-0.8, -1.7, -0.85), (0.8, 0.9, -0.25)))
SAMPLES = 2  # rays per pixel along each axis


@dataclass(frozen=True)
class View:
    """Where the picture is taken from.

    Attributes:
        eye, target: metres, grid frame; the camera stands at `eye`, looks at `target`, and z is up.
        field_of_view: degrees, horizontal.
        fog: metres at which colors have faded by 63 % into the background.
    """

    eye: tuple[float, float, float] = (-13.0, -31.0, 21.0)
    target: tuple[float, float, float] = (1.5, 4.0, -2.5)
    field_of_view: float = 62.0
    fog: float = 140.0


def unavailable_reason() -> str:
    """Why there is no 3D view here; empty where there is."""
    try:
        import embreex  # noqa: F401
    except ImportError as error:
        return f"the 3D view needs embreex ({one_line(error)}), on x86-64: pip install embreex"
    return ""


def perspective_view(
    grid: OccupancyGrid,
    classes: tuple[SemanticClass, ...],
    size: tuple[int, int] = (720, 1280),
    view: View = View(),
    ego: bool = True,
) -> np.ndarray:
    """Draw the occupied voxels in their class colors.

    Args:
        grid: what to draw; empty (0) and unknown (255) voxels are left out.
        classes: names and colors of the labels.
        size: (height, width) pixels of the picture.
        view: camera position and lens.
        ego: whether to draw the vehicle that carries the sensors, at the origin of the grid frame.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        OccFusionError: there is no ray caster (see `unavailable_reason`).
    """
    if reason := unavailable_reason():
        raise OccFusionError(reason)
    faces = exposed_faces(grid)
    voxels = np.full((len(faces.labels), 3), grid.spec.voxel_size, np.float32)
    parts = [(faces.corners, faces.normals, color_table(classes)[faces.labels], voxels)]
    for low, high in EGO_BOXES if ego else ():
        edges = np.tile(np.float32(np.subtract(high, low)), (6, 1))
        parts.append((*box_faces(low, high), np.full((6, 3), EGO_RGB, np.uint8), edges))
    surface = _Surface(*_turned_to([np.concatenate(arrays) for arrays in zip(*parts)], view.eye))
    sampled = (size[0] * SAMPLES, size[1] * SAMPLES)
    origin, rays = _camera_rays(view, sampled)
    image = _background(sampled).reshape(-1, 3)
    if len(surface.colors):
        _shade(image, surface, origin, rays, view.fog)
    image = image.reshape(size[0], SAMPLES, size[1], SAMPLES, 3).mean(axis=(1, 3))
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _turned_to(parts: list[np.ndarray], eye: tuple[float, float, float]) -> list[np.ndarray]:
    """The faces, arguments of `_Surface`, that look at the eye or the sun: of closed bodies no others are hit first."""
    corners, normals = parts[:2]
    seen = ((np.asarray(eye, np.float32) - corners[:, 0]) * normals).sum(1) > 0
    kept = np.flatnonzero(seen | (normals @ SUN > 0))
    return [part[kept] for part in parts]


class _Surface:
    """Faces that rays can be cast at.

    Args:
        corners: (N, 4, 3) metres. normals: (N, 3). colors: (N, 3) uint8.
        cells: (N, 3) metres, edges of the voxels that a face is made of, from its low corner on.
    """

    def __init__(self, corners: np.ndarray, normals: np.ndarray, colors: np.ndarray, cells: np.ndarray) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.normals, self.colors, self.cells = normals, colors, cells
        self.low = corners.min(axis=1)
        self.light = np.abs(normals) @ FACE_LIGHT
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, triangles(corners)) if len(corners) else None

    def first_hit(self, origin: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Face index (-1 for none) and distance in metres along each unit ray (N, 3) from one origin (3,)."""
        hit = self._scene.run(np.broadcast_to(origin, rays.shape).copy(), rays, output=1)
        return np.where(hit["primID"] < 0, -1, hit["primID"] // 2), hit["tfar"]

    def blocked(self, points: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """(N,) bool: something lies in `direction` (3,) from the points (N, 3)."""
        return self._scene.run(points, np.broadcast_to(direction, points.shape).copy(), query="OCCLUDED") >= 0


def _shade(image: np.ndarray, surface: _Surface, origin: np.ndarray, rays: np.ndarray, fog: float) -> None:
    """Write the colors of the surface into `image` (N, 3) float, in place, where a ray meets it."""
    face, distance = surface.first_hit(origin, rays)
    met = np.flatnonzero(face >= 0)
    face, distance = face[met], distance[met]
    points = origin + rays[met] * distance[:, None]
    light = surface.light[face] * _rim(surface, face, points, distance)
    sun = SUN / np.linalg.norm(SUN)
    shadow = (surface.normals @ sun <= 0)[face]
    lit = np.flatnonzero(~shadow)
    shadow[lit] = surface.blocked(points[lit] + np.float32(2e-3) * surface.normals[face[lit]], sun)
    light[shadow] *= SHADOW
    clear = np.exp(-((distance / np.float32(fog)) ** 2))[:, None]
    image[met] = surface.colors[face] * (light[:, None] * clear) + image[met] * (1 - clear)


def _rim(surface: _Surface, face: np.ndarray, points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Brightness (N,) that darkens the edges of faces, so that voxels can be told apart; fades with distance."""
    place = (points - surface.low[face]) / surface.cells[face]
    place -= np.floor(place)
    inside = np.minimum(place, 1 - place)
    inside[np.abs(surface.normals[face]) > 0.5] = 1  # across the face
    across = np.minimum(np.minimum(inside[:, 0], inside[:, 1]), inside[:, 2])
    strength = np.float32(1 - EDGE_LIGHT) * np.clip(np.float32(1.6) - distance / 40, 0, 1)
    return 1 - strength * (across < EDGE_WIDTH)


@lru_cache(maxsize=1)  # picture after picture is taken from one place
def _camera_rays(view: View, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) float32 and unit directions (H * W, 3) float32 of a pinhole camera, row by row."""
    forward = np.subtract(view.target, view.eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    focal = size[1] / 2 / np.tan(np.radians(view.field_of_view) / 2)
    u = (np.arange(size[1]) + 0.5 - size[1] / 2) / focal
    v = (size[0] / 2 - np.arange(size[0]) - 0.5) / focal
    rays = forward + u[None, :, None] * right + v[:, None, None] * up
    rays = (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3).astype(np.float32)  # (H * W, 3)
    rays.flags.writeable = False
    return np.asarray(view.eye, np.float32), rays


def _background(size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) float32 vertical gradient."""
    blend = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    return np.broadcast_to(SKY_TOP * (1 - blend) + SKY_BOTTOM * blend, (*size, 3)).astype(np.float32)
