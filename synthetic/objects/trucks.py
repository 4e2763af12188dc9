"""Trucks: pickups, and heavy trucks with one of several bodies. Frame as in `actors`."""

import numpy as np

from occfusion_ros.core.labels import Label

from .mesh import GLASS, Mesh, Paint, box, cylinder, join, pose
from .vehicle_parts import DARK, WINDOW, body_color, lettering, tail_lights, wheels

TRUCK = int(Label.TRUCK)


def truck(rng: np.random.Generator) -> Mesh:
    """Box truck, curtain-sided truck, flatbed, tipper, tanker or pickup."""
    kind = str(rng.choice(["pickup", *_CARGO], p=[0.2, 0.3, 0.15, 0.12, 0.15, 0.08]))
    return _pickup(rng) if kind == "pickup" else _heavy_truck(rng, kind)


def _pickup(rng: np.random.Generator) -> Mesh:
    paint, glass = Paint(TRUCK, body_color(rng)), Paint(TRUCK, WINDOW, GLASS)
    length, width, height = rng.uniform(5.2, 6.0), rng.uniform(1.9, 2.05), rng.uniform(1.75, 1.95)
    parts = [
        box((0, 0, 0.65), (length, width, 0.7), paint, solid=True),
        box(
            (0.08 * length, 0, (1.0 + height) / 2),
            (0.38 * length, width * 0.92, height - 1.0),
            glass,
            taper=(0.75, 0.85),
            solid=True,
        ),
    ]
    parts += [box((-0.31 * length, y * width * 0.47, 1.12), (0.36 * length, 0.08, 0.28), paint) for y in (-1, 1)]
    return join(parts + wheels(TRUCK, [-0.3 * length, 0.32 * length], width / 2 - 0.12, 0.4))


def _heavy_truck(rng: np.random.Generator, kind: str) -> Mesh:
    """A cab and, behind it, one of `_CARGO`."""
    paint, glass = Paint(TRUCK, body_color(rng)), Paint(TRUCK, WINDOW, GLASS)
    length, width, height = rng.uniform(6, 11), rng.uniform(2.2, 2.55), rng.uniform(2.7, 3.8)
    cab, top = rng.uniform(1.7, 2.3), height * rng.uniform(0.75, 0.98)
    bed = length - cab - 0.15
    front = length / 2 - cab / 2
    parts = [
        box((front, 0, (0.5 + top * 0.62) / 2), (cab, width * 0.95, top * 0.62 - 0.5), paint, solid=True),
        box((front, 0, top * 0.8), (cab, width * 0.93, top * 0.36), glass, taper=(0.8, 0.95), solid=True),
        box((-0.3, 0, 0.8), (length - 0.6, width * 0.5, 0.35), Paint(TRUCK, DARK), solid=True),
    ]
    cargo_paint = Paint(TRUCK, (0.85, 0.85, 0.83) if rng.uniform() < 0.5 else body_color(rng))
    cargo = _CARGO[kind](rng, bed, width, height - 1, cargo_paint)
    parts += [part.moved(pose(-cab / 2 - 0.08, 0, 1.0)) for part in cargo]
    parts += tail_lights(TRUCK, -length / 2 + 0.05, width, 0.85)
    return join(parts + wheels(TRUCK, [length * 0.33, -length * 0.28, -length * 0.4], width / 2 - 0.15, 0.48, 0.3))


def _box_body(rng: np.random.Generator, length: float, width: float, height: float, paint: Paint) -> list[Mesh]:
    return [
        box((0, 0, height / 2), (length, width, height), paint, solid=True),
        *lettering(rng, paint.label, length, width, 0.05, height),
    ]


def _curtain_body(rng: np.random.Generator, length: float, width: float, height: float, paint: Paint) -> list[Mesh]:
    """Floor, roof, ends and posts; between them goods, or a curtain that is drawn in part."""
    parts = [
        box((0, 0, 0.1), (length, width, 0.2), paint, solid=True),
        box((0, 0, height - 0.08), (length, width, 0.16), Paint(paint.label, (0.6, 0.6, 0.6)), solid=True),
    ]
    parts += [box((x * (length / 2 - 0.05), 0, height / 2), (0.1, width, height), paint, solid=True) for x in (-1, 1)]
    parts += [
        box((x, y * (width / 2 - 0.05), height / 2), (0.08, 0.1, height), paint)
        for x in np.linspace(-length / 2, length / 2, 5)[1:-1]
        for y in (-1, 1)
    ]
    start, drawn = rng.uniform(-0.5, 0.2, 2) * length, rng.uniform(0.0, 0.7, 2) * length
    parts += [
        box((x + reach / 2, y * (width / 2 - 0.02), height / 2), (reach, 0.03, height * 0.95), paint)
        for y, x, reach in zip((-1, 1), start, np.minimum(drawn, length / 2 - start))
    ]
    for x in np.arange(-length / 2 + 0.8, length / 2 - 0.6, 1.3):
        high = rng.uniform(0.1, 0.8) * height
        if rng.uniform() < 0.7:
            goods = Paint(paint.label, tuple(rng.uniform(0.15, 0.7, 3)))
            parts.append(box((x, 0, 0.2 + high / 2), (1.15, width * 0.85, high), goods, solid=True))
    return parts + lettering(rng, paint.label, length, width, 0.05, height)[:1]


def _flat_body(rng: np.random.Generator, length: float, width: float, height: float, paint: Paint) -> list[Mesh]:
    return [
        box((0, 0, 0.08), (length, width, 0.15), paint, solid=True),
        box((length / 2 - 0.05, 0, 0.5), (0.1, width, 1.0), paint),
    ]


def _tipper_body(rng: np.random.Generator, length: float, width: float, height: float, paint: Paint) -> list[Mesh]:
    load, goods = rng.uniform(0.4, 1.0), Paint(paint.label, tuple(rng.uniform(0.15, 0.6, 3)))
    return [
        box((0, 0, 0.45), (length, width, 0.9), paint, taper=(1.0, 1.05), solid=True),
        box(
            (rng.uniform(-0.1, 0.1) * length, 0, 0.9 + load / 2),
            (length * 0.7, width * 0.7, load),
            goods,
            taper=(0.6, 0.5),
            solid=True,
        ),
    ]


def _tank_body(rng: np.random.Generator, length: float, width: float, height: float, paint: Paint) -> list[Mesh]:
    radius = min(width, height) / 2
    inside = box((0, 0, radius), (length, radius * 1.4, radius * 1.4), paint, solid=True)
    return [cylinder((-length / 2, 0, radius), radius, length, paint, 12, axis="x"), inside]


_CARGO = {"box": _box_body, "curtain": _curtain_body, "flat": _flat_body, "tipper": _tipper_body, "tank": _tank_body}
"""Bodies of heavy trucks by name: (rng, length, width, height, paint) to parts, the middle of the bed's floor at 0."""
