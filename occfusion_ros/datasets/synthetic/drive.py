"""A seeded drive through the procedural world, frame by frame."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

from .mesh import Mesh, Paint, box, join
from .rig import Rig, nuscenes_rig
from .road import BLOCK, LENGTH, Road
from .sensing import Painter, Sweep, sweep
from .style import draw_light, draw_style
from .truth import SAMPLE, mark_points, sample, voxelise
from .world import Body, Window, World

FIRST_STATION = 150.0  # metres; the road exists well before it


@dataclass(frozen=True)
class ObjectBox:
    """An annotated object.

    Attributes:
        label: class.
        map_from_object: (4, 4) float64; x forward, z up, origin on the ground.
        bounds: (2, 3) metres, low and high corner in the object's frame.
        identity: stable name of the object within its drive.
    """

    label: int
    map_from_object: np.ndarray
    bounds: np.ndarray
    identity: str


@dataclass(frozen=True)
class SyntheticFrame:
    """A sensor frame with its truth.

    Attributes:
        frame: sweep and images in the grid frame (x right, y forward, z up, 1.84 m above the road).
        semantics: (512, 512, 40) uint8, see `truth`.
        point_labels: (N,) uint8 class of every LiDAR point; 255 for the vehicle itself and for ghosts.
        exact_points: (N, 3) float32 metres, grid frame, the points without range noise.
        rings: (N,) uint8 beam of every point.
        map_from_grid: (4, 4) float64; map_from_base: (4, 4) float64.
        boxes: objects within 60 m.
    """

    frame: SensorFrame
    semantics: np.ndarray
    point_labels: np.ndarray
    exact_points: np.ndarray
    rings: np.ndarray
    map_from_grid: np.ndarray
    map_from_base: np.ndarray
    boxes: tuple[ObjectBox, ...]


@lru_cache(maxsize=1)
def _world(seed: int) -> World:
    """The world of a seed; the last one is kept, because the frames of a drive are mostly made one after another."""
    return World(Road(seed, draw_style(np.random.default_rng([seed, 0]))))


class SyntheticDrive:
    """A drive: `frame(0)`, `frame(1)` ... are 0.5 s and some 3 to 6 m apart. The same seed gives the same frames."""

    def __init__(
        self, seed: int, rig: Rig | None = None, image_size: tuple[int, int] | None = None, interval: float = 0.5
    ):
        """
        Args:
            seed: of the world, its light and everything in it.
            rig: sensors, nuScenes' by default.
            image_size: (height, width) of the images, None for the rig's own; intrinsics are scaled with it.
            interval: seconds between frames.
        """
        self.seed, self.rig, self.interval = seed, rig or nuscenes_rig(), interval
        self.cameras = tuple(c.resized(image_size) if image_size else c for c in self.rig.cameras)
        self.world = _world(seed)
        self.style = self.world.road.style
        rng = np.random.default_rng([seed, 7])
        self.painter = Painter(draw_light(rng), rng)
        self.spec = GridSpec()
        self._own = join([box(centre, size, Paint(IGNORE, (0.3, 0.3, 0.3))) for centre, size in self.rig.own_parts])
        self._tilt = rng.normal(0, 0.008, 2)
        self._offset = self.style.traffic_side * (0.5 * self.style.lane_width + rng.normal(0, 0.25))

    def _station(self, index: int) -> float:
        station = FIRST_STATION + self.style.speed * index * self.interval / 0.5
        if index < 0 or station > LENGTH - 200:
            raise DatasetError(f"frame index: expected 0 to {int((LENGTH - 350) / self.style.speed)}, got {index}")
        return station

    def map_from_base(self, index: int) -> np.ndarray:
        """(4, 4) float64 pose of the vehicle: on the road, with the small movements of its springs."""
        s = self._station(index)
        rng = np.random.default_rng([self.seed, 8, index])
        pose = self.world.road.pose(s, self._offset + rng.normal(0, 0.05), rng.normal(0, 0.01))
        roll, pitch = self._tilt + rng.normal(0, 0.005, 2)
        sway = np.array([[1, 0, pitch, 0], [0, 1, -roll, 0], [-pitch, roll, 1, rng.normal(0, 0.02)], [0, 0, 0, 1]])
        left, _, right = np.linalg.svd((pose @ sway)[:3, :3])  # back to a rotation
        pose[:3, 3] = (pose @ sway)[:3, 3]
        pose[:3, :3] = left @ right
        return pose

    def frame(self, index: int, images: bool = True) -> SyntheticFrame:
        """Render one frame; without `images` only the sweep and the truth."""
        station = self._station(index)
        rng = np.random.default_rng([self.seed, 9, index])
        window = self.world.around(station)
        mesh, tags = self.world.moving(index * self.interval / 0.5, station, self.style.speed)
        bodies = (window.body, Body(mesh, window.origin))
        base = self.map_from_base(index)
        lidar = self.rig.lidar
        map_from_grid = base @ lidar.base_from_lidar
        own = Body(self._own.moved(base), window.origin)
        seen = sweep(lidar, (*bodies, own), _shifted(map_from_grid, -window.origin), rng, self.style.grass)
        semantics = self._semantics(window, mesh, map_from_grid, seen)
        cameras = tuple(self._photograph(c, bodies, base, window.origin, rng) for c in self.cameras) if images else ()
        boxes = _near_boxes(window.tagged, tags, base[:3, 3])
        frame = SensorFrame(int(index * self.interval * 1e9), seen.points, cameras)
        return SyntheticFrame(frame, semantics, seen.labels, seen.exact, seen.rings, map_from_grid, base, boxes)

    def _semantics(self, window: Window, mesh: Mesh, map_from_grid: np.ndarray, seen: Sweep) -> np.ndarray:
        near = 0.75 * BLOCK + max(self.spec.high) * 2**0.5
        ground, things = (
            [one for one in surfaces if np.linalg.norm((one.origin - map_from_grid[:3, 3])[:2]) < near]
            for surfaces in (window.ground, window.things)
        )
        things.append(sample(mesh.triangles, mesh.labels, window.origin, SAMPLE))
        grid = voxelise(self.spec, np.linalg.inv(map_from_grid), ground, things, window.solids + mesh.solids)
        mark_points(
            grid, self.spec, np.eye(4), seen.exact, seen.labels, only_empty=True
        )  # corners that the samples missed
        return grid

    def _photograph(
        self, camera, bodies, base: np.ndarray, origin: np.ndarray, rng: np.random.Generator
    ) -> CameraImage:
        local_from_camera = _shifted(base @ camera.base_from_camera, -origin)
        image = self.painter.image(camera, bodies, local_from_camera, origin, rng)
        camera_from_grid = np.linalg.inv(camera.base_from_camera) @ self.rig.lidar.base_from_lidar
        return CameraImage(camera.name, image, camera.intrinsics.copy(), camera_from_grid)


def _shifted(pose: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The pose (4, 4) moved by `shift` (3,)."""
    result = pose.copy()
    result[:3, 3] += shift
    return result


def _near_boxes(static: list, moving: list, centre: np.ndarray) -> tuple[ObjectBox, ...]:
    boxes = [ObjectBox(label, pose, bounds, "s{:.2f}_{:.2f}".format(*pose[:2, 3])) for label, pose, bounds in static]
    boxes += [ObjectBox(label, pose, bounds, f"m{identity}") for label, pose, bounds, identity in moving]
    return tuple(b for b in boxes if np.linalg.norm(b.map_from_object[:2, 3] - centre[:2]) < 60)
