"""Long barriers along a road: concrete walls (class barrier) and guard rails (manmade), tens to hundreds of metres."""

from dataclasses import dataclass

import numpy as np

from ..objects.actors import BARRIER
from ..objects.mesh import Mesh, Paint, box, join
from ..objects.scenery import MANMADE
from .style import Style

ELEMENT = 4.0  # metres; long enough to be cheap, short enough to follow a bend


@dataclass(frozen=True)
class BarrierRun:
    """One barrier between two stations (metres).

    Attributes:
        line: -1 along the right edge of the road, 0 on the median, 1 along the left edge.
        wall: a concrete wall, else a guard rail.
        look: seed of its shape and color.
    """

    first: float
    last: float
    line: int
    wall: bool
    look: int


def draw_runs(rng: np.random.Generator, style: Style, length: float) -> list[BarrierRun]:
    """Barriers of a drive of `length` metres; the lines of a drive that have them have them again and again."""
    runs = []
    for line in (-1, 0, 1) if style.median else (-1, 1):
        wall = rng.uniform() < style.walls * (1.6 if line == 0 else 1.0)
        if not wall and rng.uniform() > style.rails:
            continue
        look, s = int(rng.integers(2**31)), rng.uniform(-100, 60)
        while s < length:
            stop = s + np.exp(rng.uniform(*np.log([25, 400])))
            runs.append(BarrierRun(s, stop, line, wall, look))
            s = stop + rng.exponential(70)
    return runs


def element(run: BarrierRun) -> Mesh:
    """One piece of a barrier, ELEMENT metres along x, origin on the ground at its middle."""
    rng = np.random.default_rng(run.look)
    return _wall(rng) if run.wall else _rail(rng)


def _wall(rng: np.random.Generator) -> Mesh:
    gray = tuple(np.array([0.6, 0.59, 0.56]) * rng.uniform(0.6, 1.3))
    height, base, paint = rng.uniform(0.75, 1.15), rng.uniform(0.45, 0.65), Paint(BARRIER, gray)
    length, foot = ELEMENT - rng.choice([0.02, 0.15]), 0.32
    return join(
        [
            box((0, 0, foot / 2 - 0.05), (length, base, foot + 0.1), paint, taper=(1, 0.6), solid=True),
            box((0, 0, (foot + height) / 2), (length, base * 0.6, height - foot), paint, taper=(1, 0.6), solid=True),
        ]
    )


def _rail(rng: np.random.Generator) -> Mesh:
    steel = Paint(MANMADE, tuple(np.array([0.5, 0.5, 0.52]) * rng.uniform(0.7, 1.3)))
    height = rng.uniform(0.65, 0.85)
    beams = [box((0, 0, height - 0.16), (ELEMENT, 0.09, 0.31), steel)]
    if rng.uniform() < 0.3:
        beams.append(box((0, 0, height + 0.25), (ELEMENT, 0.06, 0.08), steel))
    posts = [box((x, 0, height / 2 - 0.15), (0.12, 0.12, height + 0.3), steel) for x in (-1, 1)]
    return join(beams + posts)
