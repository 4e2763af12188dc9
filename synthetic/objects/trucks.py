"""Trucks: pickups, and heavy trucks with one of several bodies. Frame as in `actors`."""

import numpy as np

from occfusion_ros.core.labels import Label

from .mesh import GLASS, Mesh, Paint, box, cylinder, join, pose
from .vehicle_parts import DARK, WINDOW, body_color, lettering, tail_lights, wheels

TRUCK = int(Label.TRUCK)


def truck(rng: np.random.Generator) -> Mesh:
    """Pickup, delivery van that one walks in, box truck with a bonnet, or a heavy truck with one of several bodies."""
    kind = str(rng.choice([*_LIGHT, *_CARGO], p=[0.27, 0.1, 0.15, 0.17, 0.09, 0.08, 0.09, 0.05]))
    return _LIGHT[kind](rng) if kind in _LIGHT else _heavy_truck(rng, kind)


def _pickup(rng: np.random.Generator) -> Mesh:
    """A bonnet, a cab with one or two rows of seats, and a bed that is open, loaded or under a cap."""
    paint, glass = Paint(TRUCK, body_color(rng)), Paint(TRUCK, WINDOW, GLASS)
    length, width, height = rng.uniform(5.2, 6.2), rng.uniform(1.85, 2.05), rng.uniform(1.75, 1.98)
    cab, waist, front = rng.uniform(0.26, 0.42) * length, rng.uniform(1.08, 1.2), 0.25 * length
    bed, middle = length / 2 + front - cab, (front - cab - length / 2) / 2
    parts = [
        box((0, 0, 0.6), (length, width, 0.5), paint, solid=True),
        box(((length / 2 + front) / 2, 0, 0.95), (length / 2 - front, width * 0.95, 0.25), paint, solid=True),
        box((front - cab / 2, 0, (0.85 + waist) / 2), (cab, width, waist - 0.85), paint, solid=True),
        box(
            (front - cab / 2, 0, (waist + height) / 2),
            (cab, width * 0.92, height - waist),
            glass,
            0,
            (0.72, 0.85),
            True,
        ),
        box((front - cab / 2, 0, height), (cab * 0.72, width * 0.78, 0.06), paint),
        box((-length / 2 + 0.04, 0, 1.0), (0.08, width, 0.4), paint),
    ]
    parts += [box((middle, y * width * 0.47, 1.0), (bed, 0.08, 0.4), paint) for y in (-1, 1)]
    load = rng.uniform()
    if load < 0.2:
        parts.append(
            box((middle, 0, (1.15 + height) / 2), (bed, width * 0.95, height - 1.15), paint, 0, (1, 0.9), True)
        )
    elif load < 0.4:
        goods, high = Paint(TRUCK, tuple(rng.uniform(0.1, 0.6, 3))), rng.uniform(0.3, 0.9)
        parts.append(box((middle, 0, 0.85 + high / 2), (bed * 0.8, width * 0.7, high), goods, 0, (0.8, 0.8), True))
    parts += tail_lights(TRUCK, -length / 2 - 0.01, width, 0.95)[:2]
    return join(parts + wheels(TRUCK, [-0.3 * length, 0.32 * length], width / 2 - 0.12, 0.4))


def _delivery_van(rng: np.random.Generator) -> Mesh:
    """A box from bumper to bumper, with windows only in front."""
    paint, glass = Paint(TRUCK, body_color(rng)), Paint(TRUCK, WINDOW, GLASS)
    length, width, height = rng.uniform(5.8, 8.0), rng.uniform(2.05, 2.4), rng.uniform(2.6, 3.1)
    body = length - 0.7
    parts = [
        box((-0.35, 0, (0.5 + height) / 2), (body, width, height - 0.5), paint, solid=True),
        box((body / 2, 0, 0.9), (0.7, width * 0.96, 0.8), paint, solid=True),
        box((body / 2 - 0.35, 0, 1.95), (0.5, width * 0.9, 0.9), glass),
    ]
    parts += [box((body / 2 - 1.0, y * width / 2, 1.9), (0.8, 0.03, 0.8), glass) for y in (-1, 1)]
    parts += [part.moved(pose(-0.35, 0, 0)) for part in lettering(rng, TRUCK, body, width, 0.5, height)]
    parts += tail_lights(TRUCK, -length / 2 - 0.01, width, 0.8)
    return join(parts + wheels(TRUCK, [-0.27 * length, 0.33 * length], width / 2 - 0.15, 0.4))


def _bonneted_box(rng: np.random.Generator) -> Mesh:
    """A van's bonnet and cab before a box that is wider and higher and often reaches over the cab."""
    paint, glass = Paint(TRUCK, body_color(rng)), Paint(TRUCK, WINDOW, GLASS)
    length, width, height = rng.uniform(5.8, 8.0), rng.uniform(2.1, 2.45), rng.uniform(2.7, 3.4)
    cargo = Paint(TRUCK, (0.85, 0.85, 0.83) if rng.uniform() < 0.6 else body_color(rng))
    front, load = length / 2, length - 2.4
    parts = [
        box((front - 0.5, 0, 0.8), (1.0, 1.95, 0.7), paint, taper=(0.9, 0.95), solid=True),
        box((front - 1.6, 0, 0.85), (1.6, 2.0, 0.8), paint, solid=True),
        box((front - 1.6, 0, 1.65), (1.6, 1.95, 0.8), glass, taper=(0.7, 0.85), solid=True),
        box((front - 1.7, 0, 2.05), (1.1, 1.65, 0.06), paint),
        box((-front + load / 2, 0, (0.9 + height) / 2), (load, width, height - 0.9), cargo, solid=True),
        box((-0.6, 0, 0.65), (length - 1.6, 0.9, 0.3), Paint(TRUCK, DARK), solid=True),
    ]
    if rng.uniform() < 0.5:
        parts.append(box((front - 1.9, 0, (2.15 + height) / 2), (1.0, width, height - 2.15), cargo, solid=True))
    parts += [part.moved(pose(-front + load / 2, 0, 0)) for part in lettering(rng, TRUCK, load, width, 0.9, height)]
    parts += tail_lights(TRUCK, -length / 2 - 0.01, width, 0.75)
    return join(parts + wheels(TRUCK, [-0.28 * length, 0.5 * length - 0.95], width / 2 - 0.15, 0.4))


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


_LIGHT = {"pickup": _pickup, "delivery": _delivery_van, "bonneted": _bonneted_box}
_CARGO = {"box": _box_body, "curtain": _curtain_body, "flat": _flat_body, "tipper": _tipper_body, "tank": _tank_body}
"""Bodies of heavy trucks by name: (rng, length, width, height, paint) to parts, the middle of the bed's floor at 0."""
