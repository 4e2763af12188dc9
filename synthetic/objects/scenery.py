"""Things that stand along a road: buildings, walls, fences and posts. Local frame as in `actors`."""

import numpy as np

from occfusion_ros.core.labels import IGNORE, Label

from .mesh import FACADE, Mesh, Paint, box, cylinder, join, pose

MANMADE, IGNORED_INSIDE = int(Label.MANMADE), IGNORE
_WALLS = (
    (0.62, 0.36, 0.28),
    (0.75, 0.7, 0.6),
    (0.55, 0.55, 0.55),
    (0.8, 0.78, 0.72),
    (0.45, 0.38, 0.33),
    (0.66, 0.6, 0.45),
    (0.3, 0.33, 0.38),
)
_SKIN = 0.6  # metres of a building behind its wall that are known to be inside


def _wall_paint(rng: np.random.Generator, texture: int = FACADE) -> Paint:
    return Paint(
        MANMADE, tuple(np.clip(np.array(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.75, 1.15), 0, 1)), texture
    )


def building(rng: np.random.Generator, length: float, depth: float, storeys: float) -> Mesh:
    """A building `length` along x and `depth` along -y from its front at y = 0; walls reach 3 m below the ground."""
    height = max(2.6, storeys * rng.uniform(2.7, 3.6))
    paint = _wall_paint(rng)
    body = box((0, -depth / 2, height / 2 - 1.5), (length, depth, height + 3), paint)
    body.solids.append(
        (
            pose(0, -depth / 2, height / 2 - 1.5),
            np.array([length / 2 - _SKIN, depth / 2 - _SKIN, height / 2 + 1.5]),
            IGNORED_INSIDE,
        )
    )
    parts = [body] + _facade_relief(rng, length, height, paint)
    if rng.uniform() < 0.4 and storeys < 4:
        roof = Paint(MANMADE, tuple(np.array([0.4, 0.2, 0.15]) * rng.uniform(0.6, 1.3)))
        parts.append(box((0, -depth / 2, height + 1.1), (length + 0.8, depth + 0.8, 2.2), roof, taper=(0.9, 0.05)))
    else:
        parts.append(box((0, -depth / 2, height + 0.2), (length + 0.2, depth + 0.2, 0.5), paint))
    return join(parts)


def _facade_relief(rng: np.random.Generator, length: float, height: float, paint: Paint) -> list[Mesh]:
    """What stands out of a front: pilasters, a canopy, balconies, steps."""
    trim = Paint(MANMADE, tuple(np.array(paint.rgb) * 0.8))
    parts = []
    if rng.uniform() < 0.4:
        for x in np.arange(-length / 2 + 0.5, length / 2, rng.uniform(2.5, 5)):
            parts.append(box((x, 0.15, height / 2 - 0.5), (0.4, 0.35, height + 1), trim))
    if rng.uniform() < 0.35:
        parts.append(
            box(
                (rng.uniform(-0.2, 0.2) * length, 0.7, rng.uniform(2.4, 3.2)),
                (length * rng.uniform(0.2, 0.9), 1.5, 0.15),
                trim,
            )
        )
    if rng.uniform() < 0.25 and height > 5:
        parts += [
            box((x, 0.6, z), (2.4, 1.2, 1.0), trim)
            for z in np.arange(3.2, height - 1, 3.0)
            for x in np.arange(-length / 2 + 2, length / 2 - 1, 4.5)
        ]
    if rng.uniform() < 0.3:
        parts.append(box((rng.uniform(-0.3, 0.3) * length, 0.5, 0.1), (2.0, 1.0, 0.8), trim))
    return parts


def wall(rng: np.random.Generator, length: float) -> Mesh:
    """A free-standing wall along x."""
    return box((0, 0, rng.uniform(0.2, 0.7)), (length, 0.25, rng.uniform(1.6, 3.4)), _wall_paint(rng, 0))


def fence(rng: np.random.Generator, length: float) -> Mesh:
    """A fence along x: rails or bars between posts, seen through by most rays, or boards."""
    height, paint = rng.uniform(0.9, 2.2), Paint(MANMADE, tuple(np.array([0.4, 0.36, 0.3]) * rng.uniform(0.4, 1.6)))
    posts = [
        box((x, 0, height / 2 - 0.2), (0.1, 0.1, height + 0.4), paint)
        for x in np.arange(-length / 2, length / 2 + 0.1, 2.5)
    ]
    kind = rng.integers(3)
    if kind == 0:
        return join(posts + [box((0, 0, height / 2), (length, 0.04, height - 0.1), paint)])
    if kind == 1:
        return join(posts + [box((0, 0, z), (length, 0.05, 0.1), paint) for z in np.arange(0.3, height, 0.4)])
    bars = [box((x, 0, height / 2), (0.03, 0.03, height), paint) for x in np.arange(-length / 2, length / 2, 0.16)]
    return join(posts + bars + [box((0, 0, height - 0.1), (length, 0.05, 0.06), paint)])


def pole(rng: np.random.Generator) -> Mesh:
    """A street light or utility pole; the arm points along +y."""
    height, radius = rng.uniform(5, 10), rng.uniform(0.06, 0.16)
    paint = Paint(MANMADE, (0.35, 0.35, 0.36) if rng.uniform() < 0.6 else (0.35, 0.25, 0.17))
    parts = [
        cylinder((0, 0, -0.5), radius, height + 0.5, paint, 8, top=0.7),
        cylinder((0, 0, 0), radius * 1.7, 0.5, paint, 8),
    ]
    if rng.uniform() < 0.7:
        parts += [
            box((0, 0.9, height - 0.1), (0.08, 1.9, 0.08), paint),
            box((0, 1.8, height - 0.12), (0.25, 0.7, 0.12), paint),
        ]
    return join(parts)


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign facing along x."""
    post, color = (
        Paint(MANMADE, (0.5, 0.5, 0.5)),
        [(0.75, 0.08, 0.08), (0.08, 0.2, 0.6), (0.85, 0.85, 0.85), (0.1, 0.4, 0.2)],
    )
    height, size = rng.uniform(2.0, 2.9), rng.uniform(0.5, 0.95)
    plate = box((0.05, 0, height), (0.03, size, size * rng.uniform(0.7, 1.4)), Paint(MANMADE, color[rng.integers(4)]))
    return join([cylinder((0, 0, -0.3), 0.04, height + 0.5, post, 6), plate])


def traffic_light(rng: np.random.Generator) -> Mesh:
    """A signal on a post, sometimes with an arm over the road (+y)."""
    metal, black = Paint(MANMADE, (0.3, 0.3, 0.3)), Paint(MANMADE, (0.05, 0.05, 0.05))
    lamp = Paint(MANMADE, [(0.9, 0.1, 0.05), (0.9, 0.6, 0.1), (0.1, 0.8, 0.3)][rng.integers(3)])
    heads, reach = [(0.0, 2.8)], rng.uniform(3, 6)
    parts = [cylinder((0, 0, -0.3), 0.09, 6.0, metal, 8)]
    if rng.uniform() < 0.6:
        parts.append(box((0, reach / 2, 5.6), (0.1, reach, 0.1), metal))
        heads.append((reach, 5.4))
    for y, z in heads:
        parts += [
            box((0.1, y, z), (0.25, 0.35, 1.0), black),
            box((-0.03, y, z + rng.choice([-0.3, 0, 0.3])), (0.04, 0.2, 0.2), lamp),
        ]
    return join(parts)


def shelter(rng: np.random.Generator) -> Mesh:
    """A bus shelter, long along x and open towards +y."""
    length, paint, pane = rng.uniform(2.5, 4.5), Paint(MANMADE, (0.3, 0.32, 0.34)), Paint(MANMADE, (0.35, 0.42, 0.45))
    parts = [
        box((0, 0, 2.5), (length, 1.6, 0.12), paint),
        box((0, -0.75, 1.25), (length, 0.05, 2.2), pane),
        box((0, -0.4, 0.5), (length * 0.7, 0.4, 0.1), paint),
    ]
    parts += [box((x * length / 2, y, 1.25), (0.1, 0.1, 2.5), paint) for x in (-1, 1) for y in (-0.7, 0.7)]
    return join(parts)


def street_box(rng: np.random.Generator) -> Mesh:
    """A bin, cabinet, bollard or bench."""
    paint = Paint(MANMADE, tuple(rng.uniform(0.1, 0.5, 3)))
    kind = rng.integers(4)
    if kind == 0:
        return cylinder((0, 0, -0.1), 0.28, rng.uniform(0.8, 1.1), paint, 10)
    if kind == 1:
        return box((0, 0, 0.55), (rng.uniform(0.5, 1.4), 0.45, rng.uniform(1.0, 1.5)), paint)
    if kind == 2:
        return cylinder((0, 0, -0.1), 0.09, 1.0, paint, 8)
    return join(
        [box((0, 0, 0.45), (1.6, 0.45, 0.08), paint), box((0, -0.2, 0.75), (1.6, 0.06, 0.4), paint)]
        + [box((x, 0, 0.2), (0.08, 0.4, 0.45), paint) for x in (-0.7, 0.7)]
    )
