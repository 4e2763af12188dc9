"""What road vehicles are built of: paint, wheels, lamps and lettering."""

import numpy as np

from .mesh import Mesh, Paint, box, cylinder, join

RUBBER, DARK, CHROME, WINDOW = (0.04, 0.04, 0.04), (0.08, 0.08, 0.09), (0.55, 0.55, 0.58), (0.07, 0.09, 0.11)
_BODY_COLORS = (
    (0.8, 0.8, 0.8),
    (0.05, 0.05, 0.06),
    (0.35, 0.36, 0.38),
    (0.55, 0.05, 0.05),
    (0.06, 0.12, 0.4),
    (0.6, 0.58, 0.5),
    (0.1, 0.25, 0.12),
    (0.75, 0.6, 0.1),
)


def body_color(rng: np.random.Generator) -> tuple:
    base = _BODY_COLORS[rng.choice(len(_BODY_COLORS), p=[0.27, 0.2, 0.25, 0.09, 0.09, 0.05, 0.03, 0.02])]
    return tuple(np.clip(np.array(base) * rng.uniform(0.8, 1.2) + rng.normal(0, 0.02, 3), 0.02, 0.95))


def wheels(label: int, stations: list[float], half_width: float, radius: float, width: float = 0.22) -> list[Mesh]:
    paint = Paint(label, RUBBER)
    return [
        cylinder((x, side * half_width - width / 2, radius), radius, width, paint, 10, axis="y")
        for x in stations
        for side in (-1, 1)
    ]


def lettering(rng: np.random.Generator, label: int, length: float, width: float, low: float, high: float) -> list[Mesh]:
    """Painted panels, stripes and rows of letters on the back and the sides of a box, a centimetre thick."""
    colors = [Paint(label, tuple(rng.uniform(0.03, 0.9, 3))) for _ in range(3)]
    reach, parts = high - low, []
    z = low + reach * rng.uniform(0.4, 0.7)
    letters = [
        box((-length / 2, y, z), (0.02, 0.16, 0.32), colors[0])
        for y in np.arange(-width * 0.35, width * 0.35, rng.uniform(0.22, 0.35))
        if rng.uniform() < 0.8
    ]
    doors = [
        box((-length / 2, y, low + reach / 2), (0.03, 0.03, reach * 0.96), Paint(label, DARK))
        for y in (-width * 0.48, 0.0, width * 0.48)
    ]
    parts.append(join(letters + doors))
    for y in (-1, 1):
        if rng.uniform() < 0.6:
            size = (length * rng.uniform(0.2, 0.9), 0.02, reach * rng.uniform(0.1, 0.6))
            parts.append(box((rng.uniform(-0.2, 0.2) * (length - size[0]), y * width / 2, z), size, colors[1]))
            parts += [
                box((x, y * width / 2, z), (0.3, 0.04, 0.4), colors[2])
                for x in np.arange(-size[0] / 2, size[0] / 2, rng.uniform(0.4, 0.7))
                if rng.uniform() < 0.7
            ]
    return parts


def tail_lights(label: int, x: float, width: float, z: float) -> list[Mesh]:
    """Red lamps and a striped bar at the rear."""
    lamps = [box((x, y * width * 0.4, z), (0.1, 0.3, 0.15), Paint(label, (0.6, 0.04, 0.03))) for y in (-1, 1)]
    bar = [
        box((x, y, z - 0.25), (0.08, width / 8, 0.14), Paint(label, c))
        for y, c in zip((np.arange(8) - 3.5) * width / 8, [(0.75, 0.6, 0.1), (0.5, 0.05, 0.04)] * 4)
    ]
    return lamps + bar
