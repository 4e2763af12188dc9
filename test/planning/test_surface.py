"""What blocks is decided by steps, slopes and heights above the road, not by the class alone."""

import numpy as np
import pytest

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import FLAT_GROUND, IGNORE, Label
from occfusion_ros.planning.surface import Passable, Surface, costs, obstacles

SPEC = GridSpec((-4.0, -4.0, -2.0), 0.2, (40, 40, 20))
ROAD, WALL, LAWN = int(Label.DRIVEABLE_SURFACE), int(Label.MANMADE), int(Label.TERRAIN)


def passable(**changes) -> Passable:
    by_label = np.full(256, 100, np.uint8)
    by_label[[0, *FLAT_GROUND]] = 0
    by_label[LAWN] = 60
    return Passable(**({"step_m": 0.3, "slope": 0.4, "band_m": (0.3, 2.0), "costs": by_label} | changes))


def road(level=lambda x, y: 3) -> np.ndarray:
    labels = np.zeros(SPEC.size, np.uint8)
    for x in range(SPEC.size[0]):
        for y in range(SPEC.size[1]):
            labels[x, y, level(x, y)] = ROAD
    return labels


def found(labels, **changes) -> tuple[set, np.ndarray]:
    surface = Surface.of(labels, SPEC)
    blocking = obstacles(surface, passable(**changes))
    return set(map(tuple, blocking.tolist())), costs(surface, blocking, passable(**changes))


def test_a_level_road_is_free_and_its_height_is_its_top():
    labels = road()
    blocking, cost = found(labels)
    assert not blocking and (cost == 0).all()
    assert Surface.of(labels, SPEC).heights() == pytest.approx(-2.0 + 4 * 0.2)


def test_what_stands_within_the_band_blocks():
    labels = road()
    labels[10, 10, 4:9] = WALL  # centers at 0.1, 0.3, ... 0.9 m above the road
    labels[20, 20, 16] = WALL  # at 2.5 m: a branch
    blocking, cost = found(labels)
    assert blocking == {(10, 10, z) for z in range(5, 9)}
    assert cost[10, 10] == 100 and np.count_nonzero(cost) == 1


def test_the_band_is_above_the_nearest_surface_where_there_is_none_below():
    labels = road(lambda x, _: 3 if x < 20 else 8)
    labels[30, 30, 8] = 0
    labels[30, 30, 10] = WALL  # 0.3 m above the road around it, 1.3 above the other one
    assert (30, 30, 10) in found(labels)[0]
    assert (30, 30, 10) not in found(labels, band_m=(0.5, 2.0))[0]


def test_a_step_blocks_where_it_is_too_high_and_not_where_it_is_a_curb():
    curb, stairs = road(lambda x, _: 3 + (x >= 20)), road(lambda x, _: 3 + 2 * (x >= 20))
    assert not found(curb)[0]
    assert {x for x, _, _ in found(stairs)[0]} == {19, 20}
    assert not found(stairs, step_m=0.4, slope=1.0)[0], "0.4 m may be climbed"


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slope_blocks_where_it_is_too_steep(axis):
    labels = road(lambda x, y: 1 + (x, y)[axis] * 2 // 5)  # 2 voxels in 5: 40 %
    assert not found(labels, slope=0.45)[0]
    steep = found(labels, slope=0.35)[0]
    assert len(steep) > 0.7 * SPEC.size[0] * SPEC.size[1]


def test_the_road_under_a_bridge_is_the_surface():
    labels = road()
    labels[:, 15:25, 16:18] = ROAD
    blocking, cost = found(labels)
    assert not blocking and (cost == 0).all()


def test_a_thick_road_is_as_high_as_its_top():
    labels = road()
    labels[5:10, :, 2] = ROAD
    assert not found(labels)[0] and len(np.unique(Surface.of(labels, SPEC).heights())) == 1
    labels[:, :, :] = ROAD
    assert (Surface.of(labels, SPEC).level == SPEC.size[2] - 1).all()


def test_what_is_not_seen_is_unknown_and_blocks_nothing():
    labels = road()
    labels[:10], labels[10:12] = 0, IGNORE
    blocking, cost = found(labels)
    assert not blocking and (cost[:12] == -1).all() and (cost[12:] == 0).all()


def test_without_any_surface_all_that_may_block_does():
    labels = np.zeros(SPEC.size, np.uint8)
    labels[3, 4, 19] = WALL
    blocking, cost = found(labels)
    assert blocking == {(3, 4, 19)} and cost[3, 4] == 100 and (cost == -1).sum() == cost.size - 1


def test_ground_costs_what_its_class_does():
    labels = road()
    labels[:, :7, 3] = LAWN
    assert (found(labels)[1][:, :7] == 60).all() and (found(labels)[1][:, 7:] == 0).all()
