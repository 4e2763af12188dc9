"""What the sensors of a rig see of a world: LiDAR returns and camera images, by ray casting."""

from dataclasses import dataclass, replace

import numpy as np

from occfusion_ros.core.labels import IGNORE

from ..objects.mesh import FACADE, GLASS, GRASS, GROUND, LEAVES
from ..world.style import VISIBLE, Light
from ..world.weather import CLEAR, Weather, air_returns, lost_share, wet_brightness
from ..world.world import Body, Hits, cast
from .lens import lens_rays
from .rig import Camera, Lidar

_SHADOW_STEP = 2  # one shadow ray for this many pixels along each axis
_NOISE_SIZE = 512
_MAP = np.zeros(3)
_LEAF_SHARE = (0.15, 1.0)  # of a beam that one leaf catches: beams are wider than leaves


@dataclass(frozen=True)
class Sweep:
    """LiDAR returns.

    Attributes:
        points: (N, 4) float32 x, y, z in metres in the LiDAR frame and intensity 0..1.
        labels: (N,) uint8 class; 255 for the vehicle itself, ghosts and drops in the air.
        exact: (N, 3) float32, the points without range noise.
        rings: (N,) uint8 beam.
    """

    points: np.ndarray
    labels: np.ndarray
    exact: np.ndarray
    rings: np.ndarray

    def moved(self, target_from_lidar: np.ndarray) -> "Sweep":
        """The returns in another frame; (4, 4) rigid transform, metres."""
        rotation, shift = target_from_lidar[:3, :3].T, target_from_lidar[:3, 3]
        points = np.c_[self.points[:, :3] @ rotation + shift, self.points[:, 3]].astype(np.float32)
        return Sweep(points, self.labels, (self.exact @ rotation + shift).astype(np.float32), self.rings)


def lidar_directions(lidar: Lidar, start: float = 0.0) -> np.ndarray:
    """(beams * steps, 3) float64 unit directions in the LiDAR frame, beam by beam, from azimuth `start` (radians)."""
    elevation = np.radians(lidar.elevations)[:, None]
    azimuth = start + np.linspace(0, 2 * np.pi, lidar.azimuth_steps, endpoint=False)[None]
    flat = np.broadcast_arrays(
        np.cos(elevation) * np.sin(azimuth), np.cos(elevation) * np.cos(azimuth), np.sin(elevation)
    )
    return np.stack(flat, -1).reshape(-1, 3)


def sweep(
    lidar: Lidar,
    bodies: tuple[Body, ...],
    local_from_lidar: np.ndarray,
    rng: np.random.Generator,
    grass: float = 0.0,
    weather: Weather = CLEAR,
    infrared: np.ndarray = VISIBLE,
    origin: np.ndarray = _MAP,
) -> Sweep:
    """One turn of the LiDAR.

    Args:
        local_from_lidar: (4, 4), to the frame of the bodies.
        grass: metres above the ground within which rays are caught by grass.
        infrared: see `draw_infrared`.
        origin: (3,) metres, map position of the bodies' frame, which the windows of facades are anchored to.
    """
    directions = lidar_directions(lidar, rng.uniform(0, 2 * np.pi))
    turned = (directions @ local_from_lidar[:3, :3].T).astype(np.float32)
    start = local_from_lidar[:3, 3].astype(np.float32)
    hits = _glazed(cast(bodies, np.tile(start, (len(turned), 1)), turned), start, turned, origin)
    bright = wet_brightness(weather, _brightness(hits, turned, infrared), hits.normal)
    bright = np.where(hits.texture == LEAVES, bright * rng.uniform(*_LEAF_SHARE, len(bright)), bright)
    lost = _lost(lidar, hits, bright, weather)
    seen = (hits.distance < lidar.max_range) & (hits.distance > lidar.min_range) & (rng.uniform(size=len(lost)) > lost)
    air, air_distance = air_returns(weather, hits.distance, rng)
    seen[air] = False
    blade = grass * rng.beta(1, 2, len(turned)) * (hits.texture == GRASS)
    distance = (hits.distance - np.minimum(blade / np.maximum(-turned[:, 2], 0.05), 0.8))[seen]
    exact = directions[seen] * distance[:, None]
    noisy = directions[seen] * (distance + rng.normal(0, lidar.range_noise, len(distance)))[:, None]
    intensity = np.clip(lidar.reflectance * bright[seen] * rng.lognormal(0, 0.35, len(distance)), 0, 1)
    silent = ~seen
    silent[air] = False
    ghosts = rng.uniform(size=len(seen)) < lidar.ghosts * silent
    near = rng.uniform((-0.05, -0.6, -0.05), (0.05, 0.1, 0.02), (ghosts.sum(), 3))
    drops = directions[air] * air_distance[:, None]
    glint = rng.uniform(0, np.repeat((0.5, 0.08), (len(near), len(drops))))
    false = np.c_[np.concatenate([near, drops]), glint]
    ring = np.arange(len(directions)) // lidar.azimuth_steps
    return Sweep(
        points=np.concatenate([np.c_[noisy, intensity], false]).astype(np.float32),
        labels=np.concatenate([hits.label[seen], np.full(len(false), IGNORE, np.uint8)]),
        exact=np.concatenate([exact, false[:, :3]]).astype(np.float32),
        rings=np.concatenate([ring[seen], ring[ghosts], ring[air]]).astype(np.uint8),
    )


def _glazed(hits: Hits, start: np.ndarray, rays: np.ndarray, origin: np.ndarray) -> Hits:
    """The hits of rays (N, 3) from `start` (3,), those in the windows of facades on glass."""
    texture = hits.texture.copy()
    wall = np.flatnonzero(texture == FACADE)
    position = start + rays[wall] * hits.distance[wall, None]
    texture[wall[_panes(texture[wall], position, hits.normal[wall], origin)]] = GLASS
    return replace(hits, texture=texture)


def _panes(texture: np.ndarray, position: np.ndarray, normal: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Indices of the points (N, 3) that lie in windows of a facade, which stay where they are on the map; metres.

    Args:
        origin: (3,) float64, map position of the frame of the points.
    """
    wall = np.flatnonzero((texture == FACADE) & (np.abs(normal[:, 2]) < 0.5))
    x, y, z = (position[wall] + np.asarray(origin, np.float64)).T  # single precision tells no millimetres far out
    along = normal[wall, 0] * y - normal[wall, 1] * x
    return wall[(np.abs(along / 2.6 % 1 - 0.5) < 0.27) & (np.abs(z / 3.0 % 1 - 0.55) < 0.27)]


def _lost(lidar: Lidar, hits: Hits, bright: np.ndarray, weather: Weather) -> np.ndarray:
    """Probability (N,) that a ray does not come back: dark, grazed and far surfaces return too little light."""
    lost = lidar.dropout + 0.25 * np.clip(hits.distance / lidar.max_range, 0, 1) ** 2 / (0.2 + 3 * bright)
    lost = np.where(hits.texture == GLASS, np.maximum(lost, 0.35), lost)
    return np.maximum(lost, lost_share(weather, hits.distance))


def _brightness(hits: Hits, rays: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Share of the light of each ray that its surface throws back."""
    facing = np.abs(np.einsum("ij,ij->i", hits.normal, rays))
    albedo = np.minimum(hits.albedo.mean(1) * infrared[hits.label], 0.9)
    return np.where(hits.texture == GLASS, 0.02, albedo * (0.25 + 0.75 * facing))


def camera_directions(camera: Camera, step: int = 1) -> np.ndarray:
    """(H, W, 3) float32 unit directions through pixel centers in the camera frame, every `step` pixels."""
    if camera.lens:
        rays = lens_rays(camera.lens, camera.size)[::step, ::step].astype(np.float32)
        return rays / np.sqrt((rays**2).sum(-1, keepdims=True))
    v, u = np.mgrid[0 : camera.size[0] : step, 0 : camera.size[1] : step].astype(np.float32)
    k = camera.intrinsics
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1).astype(np.float32)
    return rays / np.sqrt((rays**2).sum(-1, keepdims=True))


def look(camera: Camera, bodies: tuple[Body, ...], local_from_camera: np.ndarray) -> tuple[Hits, np.ndarray]:
    """First hits of all pixels (row by row) and their unit directions (N, 3) float32 in the frame of the bodies."""
    turned = np.ascontiguousarray(
        camera_directions(camera).reshape(-1, 3) @ local_from_camera[:3, :3].T.astype(np.float32)
    )
    origins = np.tile(local_from_camera[:3, 3].astype(np.float32), (len(turned), 1))
    return cast(bodies, origins, turned), turned


class Painter:
    """Turns hits into images under the light of a drive."""

    def __init__(self, light: Light, rng: np.random.Generator):
        self.light = light
        self.noise = _tileable_noise(rng)

    def image(
        self,
        camera: Camera,
        bodies: tuple[Body, ...],
        local_from_camera: np.ndarray,
        origin: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """(H, W, 3) uint8 RGB; `origin` (3,): map position of the bodies' frame, which textures are anchored to."""
        hits, rays = look(camera, bodies, local_from_camera)
        hit = hits.label > 0
        color = self._sky(rays)
        solid = self._lit(hits, rays, hit, bodies, local_from_camera, origin, camera.size)
        fade = np.exp(-self.light.haze * hits.distance[hit])[:, None]
        color[hit] = solid * fade + self.light.sky_low.astype(np.float32) * (1 - fade)
        color *= self.light.gain.astype(np.float32)
        color = np.clip(color, 0, 1) ** np.float32(self.light.tone / 2.0)
        grain = rng.standard_normal(len(color), np.float32) * np.float32(self.light.noise)
        return (np.clip(color + grain[:, None], 0, 1) * 255).astype(np.uint8).reshape(*camera.size, 3)

    def _sky(self, rays: np.ndarray) -> np.ndarray:
        up = np.clip(rays[:, 2:], 0, 1) ** np.float32(0.6)
        return self.light.sky_low.astype(np.float32) * (1 - up) + self.light.sky_high.astype(np.float32) * up

    def _lit(
        self,
        hits: Hits,
        rays: np.ndarray,
        hit: np.ndarray,
        bodies: tuple[Body, ...],
        local_from_camera: np.ndarray,
        origin: np.ndarray,
        size: tuple[int, int],
    ) -> np.ndarray:
        """Light leaving the surfaces that were hit, (N, 3) float32."""
        position = rays[hit] * hits.distance[hit][:, None] + local_from_camera[:3, 3].astype(np.float32)
        normal, sun = hits.normal[hit], self.light.sun.astype(np.float32)
        albedo = self._textured(hits.albedo[hit], hits.texture[hit], position, normal, origin)
        facing = normal @ sun
        facing = np.where(hits.texture[hit] == LEAVES, 0.35 + 0.4 * np.abs(facing), np.maximum(facing, 0))
        lit = np.zeros(len(rays), np.float32)
        lit[hit] = facing
        direct = self._sunlit(lit, position, normal, hit, bodies, size) * np.float32(self.light.sun_strength)
        sky = np.float32(self.light.ambient) * (0.7 + 0.3 * normal[:, 2])
        return albedo * (direct * facing + sky)[:, None]

    def _sunlit(
        self,
        lit: np.ndarray,
        position: np.ndarray,
        normal: np.ndarray,
        hit: np.ndarray,
        bodies: tuple[Body, ...],
        size: tuple[int, int],
    ) -> np.ndarray:
        """1 in the sun, 0 in shadow, for the pixels hit; cast for one pixel in each small square of them."""
        if self.light.sun_strength < 0.3:
            return np.ones(len(position), np.float32)
        row, column = np.divmod(np.arange(hit.size), size[1])
        coarse = (row // _SHADOW_STEP) * (size[1] // _SHADOW_STEP + 1) + column // _SHADOW_STEP
        probe = hit & (lit > 0) & (row % _SHADOW_STEP == 0) & (column % _SHADOW_STEP == 0)
        among_hit = np.flatnonzero(probe[hit])
        origins = position[among_hit] + normal[among_hit] * np.float32(0.03)
        towards = np.tile(self.light.sun.astype(np.float32), (len(origins), 1))
        sunny = np.ones(coarse.max() + 1, np.float32)
        for body in bodies:
            shaded = body.scene.run(origins, towards, query="OCCLUDED") == 0
            sunny[coarse[probe][shaded]] = 0
        return sunny[coarse[hit]]

    def _textured(
        self, albedo: np.ndarray, texture: np.ndarray, position: np.ndarray, normal: np.ndarray, origin: np.ndarray
    ) -> np.ndarray:
        """Albedo (N, 3) with the pattern of its texture kind, anchored in the map."""
        x, y, z = (position + (origin % 1024).astype(np.float32)).T  # the noise repeats there
        wavy = texture >= GROUND
        scale = np.choose(texture, np.float32([0, 0.35, 0.6, 0.15, 0.3, 0]))
        u, v = np.where(texture == FACADE, x + y, x), np.where(texture == FACADE, z, y)
        pattern = self._lookup(u * 30, v * 30) * 0.5 + self._lookup(u * 4, v * 4) * 0.5
        shaded = albedo * (1 + np.where(wavy, scale, 0) * pattern)[:, None].astype(np.float32)
        pane = _panes(texture, position, normal, origin)
        shaded[pane] = shaded[pane] * 0.15 + np.float32([0.1, 0.13, 0.17])
        return shaded

    def _lookup(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self.noise[u.astype(np.int32) % _NOISE_SIZE, v.astype(np.int32) % _NOISE_SIZE]


def _tileable_noise(rng: np.random.Generator) -> np.ndarray:
    """(512, 512) float32 noise of several scales, about unit standard deviation, periodic."""
    spectrum = np.fft.rfft2(rng.normal(size=(_NOISE_SIZE, _NOISE_SIZE)))
    frequency = np.hypot(np.fft.fftfreq(_NOISE_SIZE)[:, None], np.fft.rfftfreq(_NOISE_SIZE)[None])
    noise = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / _NOISE_SIZE) ** 0.6)
    return np.clip(noise / noise.std(), -1.5, 1.5).astype(np.float32)
