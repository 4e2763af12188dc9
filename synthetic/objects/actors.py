"""The ten object classes as multi-part meshes: x forward, y left, z up, metres, origin on the ground at the center."""

from collections.abc import Callable

import numpy as np

from occfusion_ros.core.labels import THINGS

from .mesh import GLASS, Mesh, Paint, box, cylinder, ellipsoid, join, pose
from .trucks import TRUCK, truck
from .vehicle_parts import CHROME, DARK, RUBBER, WINDOW, body_color, lettering, tail_lights, wheels

BARRIER, BICYCLE, BUS, CAR, CONSTRUCTION, MOTORCYCLE, PEDESTRIAN, CONE, TRAILER = map(int, THINGS[:9])


def car(rng: np.random.Generator) -> Mesh:
    """Saloon, hatchback, estate, SUV, van or tall van."""
    kind = rng.choice(["saloon", "hatch", "suv", "van", "tall"], p=[0.36, 0.22, 0.25, 0.1, 0.07])
    if kind == "tall":
        return _tall_van(rng)
    length = {"saloon": 4.6, "hatch": 4.0, "suv": 4.7, "van": 4.9}[kind] * rng.uniform(0.94, 1.08)
    width, height = rng.uniform(1.7, 1.98), {"saloon": 1.45, "hatch": 1.5, "suv": 1.75, "van": 1.95}[kind]
    height *= rng.uniform(0.96, 1.05)
    waist, floor = height * 0.6, rng.uniform(0.16, 0.28)
    paint, glass = Paint(CAR, body_color(rng)), Paint(CAR, WINDOW, GLASS)
    cabin = {"saloon": 0.56, "hatch": 0.66, "suv": 0.68, "van": 0.78}[kind] * length
    back = {"saloon": -0.05, "hatch": -0.13, "suv": -0.12, "van": -0.08}[kind] * length
    parts = [
        box((0, 0, (floor + waist) / 2), (length, width, waist - floor), paint, taper=(0.97, 0.96), solid=True),
        box(
            (back, 0, (waist + height) / 2),
            (cabin, width * 0.93, height - waist - 0.04),
            glass,
            taper=(0.68, 0.8),
            solid=True,
            shift=-0.06 * cabin,
        ),
        box((back - 0.06 * cabin, 0, height - 0.03), (cabin * 0.68, width * 0.76, 0.06), paint),
    ]
    for end, color in ((1, (0.8, 0.8, 0.75)), (-1, (0.5, 0.03, 0.03))):
        parts += [
            box((end * length * 0.492, y * width * 0.36, waist * 0.8), (0.1, width * 0.2, 0.14), Paint(CAR, color))
            for y in (-1, 1)
        ]
    mirrors = [box((0.16 * length, y * (width / 2 + 0.08), waist + 0.06), (0.12, 0.2, 0.14), paint) for y in (-1, 1)]
    return join(parts + mirrors + wheels(CAR, [-0.29 * length, 0.31 * length], width / 2 - 0.1, rng.uniform(0.3, 0.36)))


def _tall_van(rng: np.random.Generator) -> Mesh:
    """A van with a roof to stand under, for people or goods: short bonnet, sides closed or with windows."""
    paint, glass = Paint(CAR, body_color(rng)), Paint(CAR, WINDOW, GLASS)
    length, width, height = rng.uniform(5.0, 6.0), rng.uniform(1.95, 2.05), rng.uniform(2.1, 2.7)
    body, sides = length - 1.0, paint if rng.uniform() < 0.6 else glass
    parts = [
        box((0, 0, 0.7), (length, width, 0.8), paint, taper=(0.97, 1.0), solid=True),
        box(
            (-0.5, 0, (1.1 + height) / 2), (body, width * 0.98, height - 1.1), paint, 0, (0.86, 0.9), True, -0.07 * body
        ),
        box((body / 2 - 0.75, 0, 1.55), (0.9, width * 0.985, 0.6), glass, taper=(0.6, 0.96), shift=-0.15),
    ]
    parts += [box((-0.9, y * width * 0.475, 1.5), (body * 0.55, 0.06, 0.5), sides) for y in (-1, 1)]
    parts += tail_lights(CAR, -length / 2 - 0.01, width, 1.0)[:2]
    return join(parts + wheels(CAR, [-0.3 * length, 0.32 * length], width / 2 - 0.1, 0.35))


def bus(rng: np.random.Generator) -> Mesh:
    """City bus or coach, sometimes articulated."""
    length, width, height = rng.uniform(9, 13), rng.uniform(2.45, 2.6), rng.uniform(2.9, 3.6)
    paint, glass = Paint(BUS, body_color(rng)), Paint(BUS, WINDOW, GLASS)
    parts = [
        box((0, 0, 0.85), (length, width, 1.1), paint, solid=True),
        box((0, 0, 1.4 + (height - 1.7) / 2), (length * 0.99, width * 0.98, height - 1.7), glass, solid=True),
        box((0, 0, height - 0.16), (length * 0.98, width * 0.96, 0.3), paint, solid=True),
    ]
    for x in np.arange(-0.45, 0.46, 0.18) * length:
        parts += [box((x, y * width / 2, 1.4 + (height - 1.7) / 2), (0.18, 0.04, height - 1.7), paint) for y in (-1, 1)]
    if rng.uniform() < 0.4:
        parts.append(
            box((rng.uniform(-0.2, 0.2) * length, 0, height + 0.12), (2.2, width * 0.7, 0.25), paint, solid=True)
        )
    parts += _advertising(rng, length, width) + tail_lights(BUS, -length / 2 - 0.02, width, 0.75)
    return join(parts + wheels(BUS, [0.3 * length, -0.27 * length], width / 2 - 0.14, 0.48, 0.28))


def _advertising(rng: np.random.Generator, length: float, width: float) -> list[Mesh]:
    """Now and then a picture along the lower side of a bus."""
    if rng.uniform() < 0.5:
        return []
    colors = [Paint(BUS, tuple(rng.uniform(0.03, 0.9, 3))) for _ in range(4)]
    return [
        box((x, y * width / 2, 0.9), (length * 0.16, 0.03, rng.uniform(0.4, 0.95)), colors[rng.integers(4)])
        for y in (-1, 1)
        for x in np.arange(-0.35, 0.3, 0.16) * length
    ]


def trailer(rng: np.random.Generator) -> Mesh:
    """Box trailer, container chassis or flatbed, on legs and rear axles."""
    length, width, height = rng.uniform(5, 13), rng.uniform(2.2, 2.55), rng.uniform(3.0, 4.0)
    flat = rng.uniform() < 0.3
    paint = Paint(TRAILER, (0.8, 0.8, 0.78) if rng.uniform() < 0.4 else body_color(rng))
    load = rng.uniform(0.15, 0.9) if flat else height - 1.2
    parts = [
        box((0, 0, 1.15 + load / 2), (length, width, load), paint, solid=True),
        box((0, 0, 1.0), (length * 0.96, width * 0.4, 0.3), Paint(TRAILER, DARK), solid=True),
    ]
    parts += [box((0.3 * length, y * 0.6, 0.45), (0.15, 0.15, 0.9), Paint(TRAILER, DARK)) for y in (-1, 1)]
    parts += tail_lights(TRAILER, -length / 2 - 0.02, width, 1.0)
    if not flat:
        parts += [part.moved(pose(0, 0, 1.15)) for part in lettering(rng, TRAILER, length, width, 0.05, load)]
    return join(parts + wheels(TRAILER, [-0.28 * length, -0.4 * length], width / 2 - 0.15, 0.48, 0.3))


def construction_vehicle(rng: np.random.Generator) -> Mesh:
    """Excavator, wheel loader or roller."""
    kind = rng.choice(["excavator", "loader", "roller"], p=[0.5, 0.35, 0.15])
    paint = Paint(
        CONSTRUCTION, tuple(np.array([(0.8, 0.55, 0.05), (0.75, 0.3, 0.05)][rng.integers(2)]) * rng.uniform(0.8, 1.1))
    )
    dark, glass = Paint(CONSTRUCTION, DARK), Paint(CONSTRUCTION, WINDOW, GLASS)
    if kind == "roller":
        drums = [cylinder((x, -0.85, 0.65), 0.65, 1.7, Paint(CONSTRUCTION, CHROME), 12, axis="y") for x in (-1.5, 1.5)]
        return join(
            drums
            + [
                box((0, 0, 1.1), (2.4, 1.5, 0.8), paint, solid=True),
                box((0, 0, 2.1), (1.2, 1.3, 1.2), glass, solid=True),
            ]
        )
    if kind == "loader":
        body = [
            box((-1.2, 0, 1.5), (2.8, 2.0, 1.1), paint, solid=True),
            box((0.2, 0, 2.5), (1.4, 1.4, 1.5), glass, solid=True),
            box((1.5, 0, 1.1), (1.8, 1.2, 0.7), paint, solid=True),
        ]
        bucket = box((3.4, 0, rng.uniform(0.5, 1.3)), (1.0, 2.6, 0.9), paint, taper=(0.6, 1.0), solid=True)
        arms = [box((2.4, y * 0.7, 1.2), (1.6, 0.2, 0.35), paint) for y in (-1, 1)]
        return join(body + arms + [bucket] + wheels(CONSTRUCTION, [-1.3, 1.3], 1.05, 0.75, 0.5))
    tracks = [box((0, y * 1.1, 0.45), (3.8, 0.55, 0.9), dark, taper=(0.8, 1.0), solid=True) for y in (-1, 1)]
    house = [
        box((-0.5, 0, 1.6), (3.0, 2.5, 1.1), paint, solid=True),
        box((0.4, 0.7, 2.4), (1.5, 0.95, 1.3), glass, solid=True),
    ]
    reach, angle = rng.uniform(2.2, 3.2), rng.uniform(0.3, 0.9)
    boom = box((0, 0, 0), (2 * reach, 0.35, 0.5), paint, solid=True).moved(_pitched((0.9, -0.3, 1.9), -angle, reach))
    elbow = np.array([0.9 + 2 * reach * np.cos(angle), -0.3, 1.9 + 2 * reach * np.sin(angle)])
    stick = box((0, 0, 0), (reach * 1.3, 0.28, 0.4), paint, solid=True).moved(
        _pitched(elbow, rng.uniform(1.0, 1.5), reach * 0.65)
    )
    return join(tracks + [join(house + [boom, stick]).moved(pose(0, 0, 0, rng.uniform(-0.7, 0.7)))])


def _pitched(base: tuple, pitch: float, forward: float) -> np.ndarray:
    """Transform to `base` turned by `pitch` radians about y (positive noses down), then `forward` metres along x."""
    c, s = np.cos(pitch), np.sin(pitch)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation, np.asarray(base) + rotation @ [forward, 0, 0]
    return result


def pedestrian(rng: np.random.Generator) -> Mesh:
    """A standing or walking adult or child."""
    height = rng.uniform(1.5, 1.9) if rng.uniform() < 0.88 else rng.uniform(1.0, 1.4)
    return _person(rng, PEDESTRIAN, height, rng.uniform(0, 0.35), 0.0)


def _person(rng: np.random.Generator, label: int, height: float, stride: float, seat: float) -> Mesh:
    """A person; `stride` radians between the legs, raised by `seat` metres (riders)."""
    top, legs = Paint(label, tuple(rng.uniform(0.05, 0.8, 3))), Paint(label, tuple(rng.uniform(0.04, 0.35, 3)))
    skin = Paint(label, tuple(np.array([0.65, 0.45, 0.35]) * rng.uniform(0.4, 1.2)))
    h = height
    parts = [
        box((0, 0, 0.68 * h), (0.24, 0.42, 0.36 * h), top, taper=(0.9, 0.95), solid=True),
        ellipsoid((0, 0, 0.93 * h), (0.1, 0.09, 0.13), skin),
    ]
    for side in (-1, 1):
        leg = box((0, side * 0.1, 0), (0.15, 0.15, 0.5 * h), legs, solid=True)
        arm = box((0, side * 0.26, 0), (0.1, 0.1, 0.38 * h), top)
        parts.append(leg.moved(_pitched((0, 0, 0.26 * h), side * stride, side * stride * 0.2)))
        parts.append(arm.moved(_pitched((0, 0, 0.66 * h), -side * stride, 0)))
    return join(parts).moved(pose(0, 0, seat))


def _two_wheeler(rng: np.random.Generator, label: int, length: float, radius: float, bulk: float) -> list[Mesh]:
    frame, tire = Paint(label, body_color(rng)), Paint(label, RUBBER)
    axle = length / 2 - radius
    parts = [
        cylinder((x, -0.04 - bulk / 8, radius), radius, 0.08 + bulk / 4, tire, 10, axis="y") for x in (-axle, axle)
    ]
    parts += [
        box((0, 0, radius + 0.22), (axle * 1.5, 0.06 + bulk, 0.12 + 1.2 * bulk), frame),
        box((axle * 0.8, 0, radius + 0.45), (0.08, 0.06, 0.7), frame),
        box((axle * 0.7, 0, radius + 0.72), (0.08, 0.6, 0.06), frame),
        box((-0.25 * axle, 0, radius + 0.5), (0.35 + 2 * bulk, 0.16 + bulk / 2, 0.1), Paint(label, DARK)),
    ]
    return parts


def bicycle(rng: np.random.Generator, rider: bool | None = None) -> Mesh:
    """A bicycle, with a rider or parked."""
    parts = _two_wheeler(rng, BICYCLE, rng.uniform(1.6, 1.85), 0.34, 0.02)
    if rng.uniform() < 0.5 if rider is None else rider:
        parts.append(_person(rng, BICYCLE, rng.uniform(1.45, 1.7), 0.4, 0.3))
    return join(parts)


def motorcycle(rng: np.random.Generator, rider: bool | None = None) -> Mesh:
    """A motorcycle or scooter, with a rider or parked."""
    parts = _two_wheeler(rng, MOTORCYCLE, rng.uniform(1.8, 2.25), 0.31, 0.24)
    if rng.uniform() < 0.5 if rider is None else rider:
        parts.append(_person(rng, MOTORCYCLE, rng.uniform(1.4, 1.6), 0.5, 0.3))
    return join(parts)


def traffic_cone(rng: np.random.Generator) -> Mesh:
    """A cone or a delineator post."""
    height, orange = rng.uniform(0.5, 1.05), Paint(CONE, (0.85, 0.25, 0.04))
    wide = rng.uniform(0.13, 0.2) if rng.uniform() < 0.75 else 0.07
    white = cylinder((0, 0, height * 0.45), wide * 0.68, height * 0.2, Paint(CONE, (0.85, 0.85, 0.85)), 8, top=0.75)
    return join(
        [box((0, 0, 0.03), (0.38, 0.38, 0.06), orange), cylinder((0, 0, 0.04), wide, height, orange, 8, top=0.2), white]
    )


def barrier(rng: np.random.Generator) -> Mesh:
    """One element of a barrier row: concrete, plastic or a board on feet; long along x."""
    kind, length = rng.choice(["concrete", "plastic", "board"]), rng.uniform(1.5, 3.0)
    if kind == "board":
        red = Paint(BARRIER, (0.8, 0.15, 0.08))
        boards = [
            box((0, 0, z), (length, 0.05, 0.28), Paint(BARRIER, c))
            for z, c in ((0.85, red.rgb), (0.45, (0.85, 0.85, 0.85)))
        ]
        return join(boards + [box((x * length, 0, 0.5), (0.08, 0.5, 1.0), red, taper=(1, 0.2)) for x in (-0.4, 0.4)])
    color = (
        (0.6, 0.6, 0.57)
        if kind == "concrete"
        else [(0.8, 0.3, 0.05), (0.85, 0.85, 0.85), (0.75, 0.1, 0.08)][rng.integers(3)]
    )
    height, paint = rng.uniform(0.8, 1.1), Paint(BARRIER, color)
    return join(
        [
            box((0, 0, 0.18), (length, 0.55, 0.36), paint, taper=(1, 0.7), solid=True),
            box((0, 0, (0.36 + height) / 2), (length, 0.36, height - 0.36), paint, taper=(1, 0.55), solid=True),
        ]
    )


MAKERS: dict[int, Callable[[np.random.Generator], Mesh]] = {
    BARRIER: barrier,
    BICYCLE: bicycle,
    BUS: bus,
    CAR: car,
    CONSTRUCTION: construction_vehicle,
    MOTORCYCLE: motorcycle,
    PEDESTRIAN: pedestrian,
    CONE: traffic_cone,
    TRAILER: trailer,
    TRUCK: truck,
}
