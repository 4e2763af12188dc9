"""A seeded drive through the procedural world, frame by frame."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.frames import CameraImage, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

from .objects.mesh import Mesh, Paint, box, join
from .sensors.rig import Camera, Rig, nuscenes_rig
from .sensors.sensing import Painter, Sweep, look, sweep
from .world.road import BLOCK, LENGTH, Road
from .world.style import draw_infrared, draw_light, draw_style
from .world.truth import SAMPLE, mark_points, sample, voxelize
from .world.weather import draw_weather
from .world.world import Body, Window, World

GENERATOR_VERSION = 4
"""Of everything that a seed becomes. Prepared frames of another version are not taken for those of this one;
`test/synthetic/test_generator_version.py` fails where frames change under the same version."""
FIRST_STATION = 150.0  # metres; the road exists well before it
_LIFT = 0.12  # metres by which the body of one vehicle stands higher or lower on its wheels than another's


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
        frame: sweep and images in the grid frame (x right, y forward, z up, about 1.84 m above the road).
        semantics: (512, 512, 40) uint8, see `truth`.
        point_labels: (N,) uint8 class of every LiDAR point; 255 for the vehicle itself, ghosts and drops in the air.
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
        self,
        seed: int,
        rig: Rig | None = None,
        image_size: tuple[int, int] | None = None,
        interval: float = 0.5,
        jitter: bool = False,
    ):
        """
        Args:
            seed: of the world, its light and everything in it.
            rig: sensors, nuScenes' by default.
            image_size: (height, width) of the images, None for the rig's own; intrinsics are scaled with it.
            interval: seconds between frames.
            jitter: mount the sensors a little differently in every drive, see `Rig.jittered`.
        """
        self.seed, self.interval, rig = seed, interval, rig or nuscenes_rig()
        self.rig = rig.jittered(np.random.default_rng([seed, 10])) if jitter else rig
        self.cameras = tuple(c.resized(image_size) if image_size else c for c in self.rig.cameras)
        self.world = _world(seed)
        self.style = self.world.road.style
        rng = np.random.default_rng([seed, 7])
        self.weather = draw_weather(np.random.default_rng([seed, 11]))
        self.painter = Painter(draw_light(rng, self.weather), rng)
        self.spec = GridSpec()
        self._infrared = draw_infrared(np.random.default_rng([seed, 12]))
        self._own = join([box(center, size, Paint(IGNORE, (0.3, 0.3, 0.3))) for center, size in self.rig.own_parts])
        self._tilt, self._lift = rng.normal(0, 0.01, 2), rng.uniform(-_LIFT, _LIFT)
        self._offset = self.style.traffic_side * (self.world.road.lane(self.style.ego_lane) + rng.normal(0, 0.25))

    def _station(self, index: float) -> float:
        station = FIRST_STATION + self.style.speed * index * self.interval / 0.5
        if index < 0 or station > LENGTH - 200:
            raise DatasetError(f"frame index: expected 0 to {int((LENGTH - 350) / self.style.speed)}, got {index}")
        return station

    def map_from_base(self, index: float) -> np.ndarray:
        """(4, 4) float64 pose of the vehicle's body: on the road, with its own height and its springs' movements."""
        s, before = self._station(index), int(index)
        movement = self._movement(before)
        if index != before:
            movement += (index - before) * (self._movement(before + 1) - movement)
        beside, turned, roll, pitch, rise = movement
        pose = self.world.road.pose(s, self._offset + beside, turned)
        roll, pitch = self._tilt + (roll, pitch)
        sway = np.array([[1, 0, pitch, 0], [0, 1, -roll, 0], [-pitch, roll, 1, self._lift + rise], [0, 0, 0, 1]])
        left, _, right = np.linalg.svd((pose @ sway)[:3, :3])  # back to a rotation
        pose[:3, 3] = (pose @ sway)[:3, 3]
        pose[:3, :3] = left @ right
        return pose

    def _movement(self, index: int) -> np.ndarray:
        """How the vehicle strays in a frame: metres beside its lane, radians of yaw, roll and pitch, metres of rise."""
        rng = np.random.default_rng([self.seed, 8, index])
        return np.array([rng.normal(0, 0.05), rng.normal(0, 0.01), *rng.normal(0, 0.005, 2), rng.normal(0, 0.02)])

    def frame(self, index: int, images: bool = True) -> SyntheticFrame:
        """Render one frame; without `images` only the sweep and the truth."""
        scene = self._scene(index)
        rng = np.random.default_rng([self.seed, 9, index])
        seen, base, window = self._sweep(scene, rng), scene.base, scene.window
        map_from_grid = base @ self.rig.base_from_frame()
        semantics = self._semantics(window, scene.moving, map_from_grid, seen)
        cameras = tuple(self._photograph(camera, scene, rng) for camera in self.cameras) if images else ()
        boxes = _near_boxes(window.tagged, scene.tags, base[:3, 3])
        origin = self.rig.grid_from_lidar()[None, :3, 3]
        frame = SensorFrame(int(index * self.interval * 1e9), seen.points, cameras, ray_origins=origin)
        return SyntheticFrame(frame, semantics, seen.labels, seen.exact, seen.rings, map_from_grid, base, boxes)

    def sweep(self, index: float) -> tuple[Sweep, np.ndarray]:
        """Only the LiDAR of a frame: the returns of `frame(index)`, in the grid frame, and map_from_grid (4, 4).

        `index` may also lie between two frames: everything has moved on by then.
        """
        scene = self._scene(index)
        draws = [9, int(index)] if index == int(index) else [14, round(index * 1e6)]
        seen = self._sweep(scene, np.random.default_rng([self.seed, *draws]))
        return seen, scene.base @ self.rig.base_from_frame()

    def labeled_images(self, index: int, stride: int) -> list[tuple[CameraImage, np.ndarray]]:
        """Only the cameras of a frame: what `frame(index)` shows but for its grain, and what it is.

        The second of each pair, (h / stride, w / stride) uint8, is the class in the middle of each cell of so many
        pixels: 0 the sky, 255 the vehicle itself.
        """
        scene, rng, found = self._scene(index), np.random.default_rng([self.seed, 13, index]), []
        for camera in self.cameras:
            coarse = camera.resized((camera.size[0] // stride, camera.size[1] // stride))
            local_from_camera = _shifted(scene.base @ camera.base_from_camera, -scene.window.origin)
            classes = look(coarse, scene.bodies, local_from_camera)[0].label.reshape(coarse.size)
            found.append((self._photograph(camera, scene, rng), classes))
        return found

    def _scene(self, index: float) -> "_Scene":
        station = self._station(index)
        window = self.world.around(station)
        mesh, tags = self.world.moving(index * self.interval / 0.5, station, self.style.speed)
        return _Scene(window, mesh, tags, (window.body, Body(mesh, window.origin)), self.map_from_base(index))

    def _sweep(self, scene: "_Scene", rng: np.random.Generator) -> Sweep:
        """The LiDAR's returns in the grid frame."""
        lidar, origin = self.rig.lidar, scene.window.origin
        own = Body(self._own.moved(scene.base), origin)
        local_from_lidar = _shifted(scene.base @ lidar.base_from_lidar, -origin)
        bodies, grass = (*scene.bodies, own), self.style.grass
        seen = sweep(lidar, bodies, local_from_lidar, rng, grass, self.weather, self._infrared, origin)
        return seen if self.rig.base_from_grid is None else seen.moved(self.rig.grid_from_lidar())

    def _semantics(self, window: Window, mesh: Mesh, map_from_grid: np.ndarray, seen: Sweep) -> np.ndarray:
        near = 0.75 * BLOCK + max(self.spec.high) * 2**0.5
        ground, things = (
            [one for one in surfaces if np.linalg.norm((one.origin - map_from_grid[:3, 3])[:2]) < near]
            for surfaces in (window.ground, window.things)
        )
        things.append(sample(mesh.triangles, mesh.labels, window.origin, SAMPLE))
        grid = voxelize(self.spec, np.linalg.inv(map_from_grid), ground, things, window.solids + mesh.solids)
        mark_points(
            grid, self.spec, np.eye(4), seen.exact, seen.labels, only_empty=True
        )  # corners that the samples missed
        return grid

    def _photograph(self, camera: Camera, scene: "_Scene", rng: np.random.Generator) -> CameraImage:
        origin = scene.window.origin
        local_from_camera = _shifted(scene.base @ camera.base_from_camera, -origin)
        image = self.painter.image(camera, scene.bodies, local_from_camera, origin, rng)
        camera_from_grid = np.linalg.inv(camera.base_from_camera) @ self.rig.base_from_frame()
        return CameraImage(camera.name, image, camera.intrinsics.copy(), camera_from_grid, camera.lens)


@dataclass(frozen=True)
class _Scene:
    """The world at one moment: static window, moving objects with their annotations, all for rays, and the vehicle."""

    window: Window
    moving: Mesh
    tags: list
    bodies: tuple[Body, Body]
    base: np.ndarray


def _shifted(pose: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The pose (4, 4) moved by `shift` (3,)."""
    result = pose.copy()
    result[:3, 3] += shift
    return result


def _near_boxes(static: list, moving: list, center: np.ndarray) -> tuple[ObjectBox, ...]:
    boxes = [ObjectBox(label, pose, bounds, "s{:.2f}_{:.2f}".format(*pose[:2, 3])) for label, pose, bounds in static]
    boxes += [ObjectBox(label, pose, bounds, f"m{identity}") for label, pose, bounds, identity in moving]
    return tuple(b for b in boxes if np.linalg.norm(b.map_from_object[:2, 3] - center[:2]) < 60)
