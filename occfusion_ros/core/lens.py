"""What a lens does to an image: from directions to the pixels of the distorted image, in closed form.

The formulas are those of OpenCV, "Camera Calibration and 3D Reconstruction" and "Fisheye camera model", which ROS'
CameraInfo refers to; distorted images are resampled through them, so they never have to be inverted.
"""

from dataclasses import dataclass

import numpy as np

BROWN, FISHEYE = "brown", "fisheye"
MOST_COEFFICIENTS = {BROWN: 14, FISHEYE: 4}
_STEPS = 1000  # at which the radius of the image is looked at along a growing angle
_WIDEST = 0.98 * np.pi / 2  # no pinhole image shows more to one side


@dataclass(frozen=True)
class Lens:
    """A distorting camera; hashable, and equal where the numbers are.

    Attributes:
        model: BROWN: radial, tangential, thin prism and tilt, in OpenCV's order k1, k2, p1, p2, k3, k4, k5, k6, s1, s2,
            s3, s4, tau_x, tau_y, of which the last ones may be left out; FISHEYE: k1..k4 of the equidistant projection.
        matrix: nine numbers, rows of the pinhole matrix of the distorted image, pixels.
        coefficients: up to 14 or 4.
        rotation: nine numbers, rows of ``ideal_from_lens``: how the ideal camera is turned against the lens.
    """

    model: str
    matrix: tuple[float, ...]
    coefficients: tuple[float, ...]
    rotation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.model not in MOST_COEFFICIENTS or len(self.coefficients) > MOST_COEFFICIENTS[self.model]:
            raise ValueError(
                f"expected up to 14 coefficients of {BROWN} or 4 of {FISHEYE}, got "
                f"{len(self.coefficients)} of {self.model!r}"
            )

    def pixels(self, rays: np.ndarray) -> np.ndarray:
        """Where the ideal camera's directions (..., 3) lie in the distorted image: (..., 2) float64 pixels (u, v).

        NaN behind the lens, and where the model turns back on itself: no light comes to those pixels from there.
        """
        matrix = np.reshape(self.matrix, (3, 3))[:2]
        rays = np.asarray(rays, np.float64) @ np.reshape(self.rotation, (3, 3))  # lens_from_ideal, transposed
        with np.errstate(all="ignore"):
            plane = rays[..., :2] / np.where(rays[..., 2:] > 1e-9, rays[..., 2:], np.nan)
            plane = np.where(np.hypot(*np.moveaxis(plane, -1, 0))[..., None] < np.tan(self._widest), plane, np.nan)
            return self._distort(plane) @ matrix[:, :2].T + matrix[:, 2]

    def _distort(self, plane: np.ndarray) -> np.ndarray:
        """Coordinates (..., 2) in the plane one metre ahead to distorted ones."""
        if self.model == FISHEYE:
            return plane * self._radial(np.hypot(plane[..., 0], plane[..., 1]))[..., None]
        _, _, p1, p2, *_, s1, s2, s3, s4, tau_x, tau_y = self._filled
        x, y = plane[..., 0], plane[..., 1]
        square = x * x + y * y
        radial = self._radial(np.sqrt(square))
        bent = np.stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x) + s1 * square + s2 * square**2,
                y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y + s3 * square + s4 * square**2,
            ],
            -1,
        )
        return _tilted(bent, tau_x, tau_y) if tau_x or tau_y else bent

    def _radial(self, radius: np.ndarray) -> np.ndarray:
        """Factor by which a point at a distance from the axis, in the plane one metre ahead, moves outwards."""
        if self.model == FISHEYE:
            angle = np.arctan(radius)
            bent = angle * (1 + sum(k * angle ** (2 * i) for i, k in enumerate(self._filled, start=1)))
            return np.where(radius > 1e-9, bent / np.maximum(radius, 1e-9), 1.0)
        k1, k2, _, _, k3, k4, k5, k6, *_ = self._filled
        square = radius * radius
        return (1 + square * (k1 + square * (k2 + square * k3))) / (1 + square * (k4 + square * (k5 + square * k6)))

    @property
    def _filled(self) -> tuple[float, ...]:
        return (*self.coefficients, *(0.0,) * (MOST_COEFFICIENTS[self.model] - len(self.coefficients)))

    @property
    def _widest(self) -> float:
        """Radians from the axis up to which the image's radius grows, as that of a lens does."""
        angles = np.linspace(0, _WIDEST, _STEPS)
        radius = np.tan(angles) * self._radial(np.tan(angles))
        falls = np.flatnonzero(~(np.diff(radius) > 0))  # True for NaN
        return angles[falls[0]] if len(falls) else _WIDEST


def _tilted(bent: np.ndarray, tau_x: float, tau_y: float) -> np.ndarray:
    """The image plane tilted against the lens by two angles in radians."""
    cx, sx, cy, sy = np.cos(tau_x), np.sin(tau_x), np.cos(tau_y), np.sin(tau_y)
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    onto = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]]) @ turn
    homogeneous = bent @ onto[:, :2].T + onto[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]
