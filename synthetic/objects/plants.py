"""Trees, bushes, hedges and belts of them: porous, so that rays pass and hits spread through the foliage.

Local frame as in `actors`.
"""

import numpy as np

from occfusion_ros.core.labels import Label

from .mesh import LEAVES, Mesh, Paint, box, cylinder, ellipsoid, join, leaves, pose

VEGETATION = int(Label.VEGETATION)
_BARK = Paint(VEGETATION, (0.24, 0.18, 0.12))


def _foliage(rng: np.random.Generator) -> Paint:
    rgb = np.array([0.16, 0.3, 0.08]) * rng.uniform(0.6, 1.4) + [rng.uniform(0, 0.1), 0, 0]
    return Paint(VEGETATION, tuple(np.clip(rgb, 0.02, 0.9)), LEAVES)


def tree(rng: np.random.Generator) -> Mesh:
    """A trunk under a porous crown of one or more clumps; conifers are tall and narrow, some trees are bare below."""
    height, radius = rng.uniform(3.5, 11), rng.uniform(0.07, 0.28)
    crown, bare = rng.uniform(1.0, 3.2), rng.uniform(0.12, 0.5) * height
    paint = _foliage(rng)
    parts = [cylinder((0, 0, -0.5), radius, bare + 1.5, _BARK, 7, top=0.7)]
    thick = rng.uniform(30, 110)  # leaves for each square metre of crown
    if rng.uniform() < 0.2:
        for z in np.linspace(bare * 0.4, height, 5):
            r = crown * 0.8 * (1.05 - z / height)
            parts.append(leaves(rng, (0, 0, z), (r, r, height / 8), int(thick * 6 * r * r) + 10, 0.24, paint))
        return join(parts)
    for _ in range(rng.integers(1, 5)):
        shift, r = rng.normal(0, 0.3 * crown, 3), crown * rng.uniform(0.6, 1.0)
        low = (bare + height) / 2 + shift[2] * 0.5
        radii = (r, r, max(0.8, (height - bare) / 2 * rng.uniform(0.6, 1)))
        parts.append(leaves(rng, (shift[0], shift[1], low), radii, int(thick * 2 * r * radii[2]) + 20, 0.25, paint))
    parts += [cylinder((0, 0, bare), radius * 0.5, 1.5, _BARK, 5).moved(_leaning(rng, bare)) for _ in range(2)]
    return join(parts)


def _leaning(rng: np.random.Generator, about: float) -> np.ndarray:
    """Tilt about a point at height `about`."""
    a, b = rng.normal(0, 0.4, 2)
    tilt = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = tilt, np.array([0, 0, about]) - tilt @ [0, 0, about]
    return result


def bush(rng: np.random.Generator) -> Mesh:
    """A bush: dense leaves around a closed core, or a loose tuft of tall grass."""
    r, h, paint = rng.uniform(0.3, 1.3), rng.uniform(0.3, 1.6), _foliage(rng)
    if rng.uniform() < 0.3:
        return leaves(rng, (0, 0, h * 0.3), (r, r, h * 0.5), int(60 * r * r) + 10, 0.25, paint)
    cloud = leaves(rng, (0, 0, h * 0.45), (r, r, h * 0.55), int(120 * r * h) + 20, 0.25, paint)
    return join([ellipsoid((0, 0, h * 0.4), (r * 0.8, r * 0.8, h * 0.42), paint, 3, 7), cloud])


def hedge(rng: np.random.Generator, length: float, tall: bool) -> Mesh:
    """A clipped hedge, or with `tall` a wall of vegetation, along x."""
    height, depth = (
        (rng.uniform(2.5, 6), rng.uniform(1.5, 5)) if tall else (rng.uniform(0.6, 2.0), rng.uniform(0.6, 1.3))
    )
    paint = _foliage(rng)
    if not tall:
        core = box((0, 0, height * 0.42), (length * 0.97, depth * 0.7, height * 0.9), paint)
        return join(
            [
                core,
                leaves(
                    rng,
                    (0, 0, height / 2),
                    (length / 2, depth / 2, height / 2),
                    int(25 * length * height),
                    0.22,
                    paint,
                    True,
                ),
            ]
        )
    clumps = []
    for x in np.arange(-length / 2, length / 2, 1.6):
        h = height * rng.uniform(0.6, 1.15)
        radii = (rng.uniform(1.1, 1.8), depth / 2, h / 2)
        clumps.append(
            leaves(rng, (x, rng.normal(0, 0.4), h * 0.47), radii, int(60 * h * rng.uniform(0.6, 1.3)), 0.32, paint)
        )
    return join(clumps)


def belt(rng: np.random.Generator, length: float, depth: float) -> Mesh:
    """A dense belt of trees over undergrowth, `length` along x and `depth` along y, its front at y = 0.

    Rays get a few metres deep, so what stands behind has fewer and larger leaves.
    """
    parts, gap, paint = [], rng.uniform(2.4, 4.0), _foliage(rng)
    for y in np.arange(0.4, depth, gap):
        for x in np.arange(-length / 2 + gap / 2, length / 2, gap):
            where = pose(x + rng.normal(0, 0.25 * gap), y + rng.uniform(0, 0.4 * gap), 0, rng.uniform(0, 6))
            parts.append(_belt_tree(rng, front=y < 4).moved(where))
    for x in np.arange(-length / 2 + 0.6, length / 2, 1.3):
        height, y = rng.uniform(0.4, 2.6) * rng.uniform(0.3, 1), rng.uniform(-0.3, 2.5)
        radii = (rng.uniform(0.5, 1.1), rng.uniform(0.5, 1.2), height / 2)
        parts.append(leaves(rng, (x, y, height * 0.4), radii, int(50 * height * rng.uniform(0.3, 1.3)), 0.3, paint))
    return join(parts)


def _belt_tree(rng: np.random.Generator, front: bool) -> Mesh:
    """A tree among others: a thin trunk and a ragged crown that hangs low where there is light."""
    height, crown = rng.uniform(4, 12), rng.uniform(1.2, 2.6)
    bare = height * rng.uniform(0.05, 0.45)
    size, thick = (0.27, rng.uniform(30, 75)) if front else (0.45, rng.uniform(12, 22))
    paint, parts = _foliage(rng), [cylinder((0, 0, -0.5), rng.uniform(0.06, 0.2), bare + 2, _BARK, 5, top=0.7)]
    for z in np.arange(bare, height, rng.uniform(1.8, 3.0)):
        shift, r = rng.normal(0, 0.35 * crown, 2), crown * rng.uniform(0.5, 1.0)
        rise = rng.uniform(0.8, 1.6)
        parts.append(leaves(rng, (*shift, z + 0.6), (r, r, rise), int(thick * 2 * r * rise), size, paint))
    return join(parts)
