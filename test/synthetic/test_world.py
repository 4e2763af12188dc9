"""What the synthetic world is made of: cross-sections, crossings, barriers, vegetation, weather."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from synthetic.objects.mesh import FACADE, LEAVES, Mesh, Paint, box
from synthetic.objects.plants import VEGETATION, belt
from synthetic.objects.surfaces import DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN
from synthetic.sensors.rig import nuscenes_rig
from synthetic.sensors.sensing import _panes, sweep
from synthetic.world.barriers import ELEMENT, BarrierRun
from synthetic.world.block import Block
from synthetic.world.ground import _GROUND_RGB
from synthetic.world.road import BLOCK, BlockPlan, Road
from synthetic.world.style import VISIBLE, draw_infrared, draw_light, draw_style
from synthetic.world.truth import voxelize
from synthetic.world.weather import CLEAR, Weather, air_returns, draw_weather
from synthetic.world.world import Body, _sampled, cast

BARRIER = 1
QUIET = dict(
    bend=0.0,
    grade=0.0,
    bank=0.0,
    crown=0.0,
    hills=0.0,
    ditch=0.0,
    works=0.0,
    parked=0.0,
    cyclists=0.0,
    pedestrians=0.0,
    urban=0.0,
    walk=0.0,
    verge=0.0,
    curb=0.15,
    parking=0.0,
    shoulder=0.5,
    roughness=0.01,
    lanes=2,
    lane_width=3.5,
    median_plants=0.0,
    belt=0.0,
    furniture=0.0,
    fences=0.0,
)


def divided_road(**changes) -> Road:
    """A straight and level divided road with a median of 4 m of terrain."""
    style = draw_style(np.random.default_rng(0))
    return Road(5, replace(style, **QUIET | dict(median=4.0, median_label=TERRAIN, openings=0.0) | changes))


def block_truth(road: Road, index: int, spec: GridSpec) -> np.ndarray:
    """Complete truth of one block in a frame with y along the road and the origin 1.84 m above its middle."""
    block, ground, things = _sampled(Block(road, index))
    forward = road.pose((index + 0.5) * BLOCK, 0.0, -np.pi / 2, follow=False)
    forward[2, 3] += 1.84
    return voxelize(spec, np.linalg.inv(forward), [ground], [things], block.mesh.solids)


def top_class(grid: np.ndarray, spec: GridSpec, x: float, y: float) -> int:
    """Class of the highest occupied voxel over (x, y)."""
    ((i, j, _),) = spec.indices(np.array([[x, y, 0.0]]))[0]
    column = grid[i, j]
    return int(column[np.flatnonzero((column > 0) & (column < 255)).max()])


def test_a_median_lies_between_the_carriageways_in_the_truth():
    road, spec = divided_road(), GridSpec()
    road.barriers.clear()
    grid = block_truth(road, 8, spec)
    for y in (-12.0, 0.0, 12.0):
        assert [top_class(grid, spec, x, y) for x in (-5.0, -1.0, 1.0, 5.0)] == [DRIVEABLE, TERRAIN, TERRAIN, DRIVEABLE]
    s = np.full(2, 8.5 * BLOCK)
    on, beside = road.height(s, np.array([1.5, 4.0]))
    assert on - beside == pytest.approx(0.15, abs=0.05)
    assert [road.lane(k) for k in (0, 1)] == [3.75, 7.25]


def test_a_barrier_wall_is_a_closed_row_of_its_class():
    road, spec = divided_road(), GridSpec()
    road.barriers[:] = [BarrierRun(0.0, 600.0, line, True, 3) for line in (0, 1)]
    grid = block_truth(road, 8, spec)
    edge = float(road.half_width(np.float64(8.5 * BLOCK))) + 0.5
    for x in (0.0, -edge):
        classes = [top_class(grid, spec, x, y) for y in np.arange(-14, 14, 0.4)]
        assert np.mean(np.array(classes) == BARRIER) > 0.95
    assert len([1 for label, _, _ in Block(road, 8).tagged if label == BARRIER]) == 2 * BLOCK / ELEMENT
    occupied = (grid == BARRIER).sum(2)
    assert 3 <= np.median(occupied[occupied > 0]) <= 6  # a metre high, filled


def crossing_block(road: Road) -> tuple[int, BlockPlan]:
    return next((k, road.plan(k)) for k in range(5, 60) if road.plan(k).crossing)


def test_a_crossing_road_cuts_median_barriers_and_curb_and_has_round_corners():
    road = divided_road(openings=1.0, crossings=1.0)
    road.barriers[:] = [BarrierRun(0.0, 6000.0, 0, True, 3)]
    index, plan = crossing_block(road)
    at = np.array([plan.opening, plan.opening])
    assert (road.surface(at, np.array([0.0, 60.0])) == DRIVEABLE).all()
    for label, pose, _ in Block(road, index).tagged:
        if label == BARRIER:
            x, y, _ = road.to_map(np.float64(plan.opening), np.float64(0.0))
            assert np.hypot(x - pose[0, 3], y - pose[1, 3]) > plan.opening_half + plan.radius
    curb = float(road.half_width(np.float64(plan.opening)))
    corner = np.array([plan.opening + plan.opening_half + 0.15 * plan.radius])
    near, far = np.array([curb + 0.15 * plan.radius]), np.array([curb + plan.radius + 1.0])
    assert road.surface(corner, near)[0] == DRIVEABLE and road.surface(corner, far)[0] != DRIVEABLE


def test_lattice_lines_keep_their_order_around_a_curved_curb():
    plan = BlockPlan(16.0, 4.0, (True, True), 3.0, ("green", "green"), (TERRAIN, TERRAIN), (TERRAIN, TERRAIN))
    s = np.linspace(0, 32, 65)
    for beyond in (-1.0, 0.0, 0.7, 2.0, 3.0, 10.0):
        bent = plan.bent(s, np.full(65, beyond))
        assert (np.diff(bent) > 0).all() and bent[[0, -1]] == pytest.approx([0, 32])
        assert bent[24] == pytest.approx(16 - plan.half_at(np.array(beyond)))  # s = 12 lies on the straight edge
    assert plan.half_at(np.array([-1.0, 0.0, 3.0, 9.0])) == pytest.approx([7, 7, 4, 4])


def test_drives_are_of_many_kinds():
    styles = [draw_style(np.random.default_rng([seed, 0])) for seed in range(300)]
    divided = [style for style in styles if style.median]
    assert 0.28 < len(divided) / 300 < 0.44
    assert {style.median_label for style in divided} == {TERRAIN, OTHER_FLAT, SIDEWALK}
    assert all(0.6 <= style.median <= 8.0 for style in divided)
    assert 0.3 < np.mean([style.walls > 0 for style in styles]) < 0.55
    assert 0.4 < np.mean([style.belt > 0 for style in styles]) < 0.6
    assert all(style.curb or style.verge for style in styles if style.walk)  # a sidewalk is set off from the road
    assert 0.25 < np.mean([style.walk == 0 for style in styles]) < 0.5
    assert all(style.ego_lane < style.lanes for style in styles)


def test_yards_are_of_every_flat_class():
    road = Road(1, replace(draw_style(np.random.default_rng(0)), buildings=9.0, belt=0.0))
    yards = np.array([road.plan(k).yards for k in range(150)]).ravel()
    shares = {label: np.mean(yards == label) for label in (DRIVEABLE, OTHER_FLAT, SIDEWALK, TERRAIN)}
    assert min(shares.values()) > 0.1 and max(shares.values()) < 0.5


def test_terrain_is_rougher_than_the_road():
    road = divided_road(roughness=0.08, median=0.0)
    s = np.arange(200, 400, 0.5)
    lane, meadow = road.height(s, np.full_like(s, 3.0)), road.height(s, np.full_like(s, 20.0))
    bumps = [np.abs(np.diff(heights, 2)).mean() for heights in (lane, meadow)]
    assert bumps[1] > 5 * bumps[0]


def test_some_terrain_is_mown_and_grass_is_brighter_to_a_lidar_than_to_the_eye():
    roughness = np.array([draw_style(np.random.default_rng([seed, 0])).roughness for seed in range(200)])
    assert 0.3 < (roughness < 0.03).mean() < 0.5
    gains = np.array([draw_infrared(np.random.default_rng(seed)) for seed in range(200)])
    assert (gains[:, TERRAIN] >= 1.2).all() and np.median(gains[:, TERRAIN] / gains[:, DRIVEABLE]) > 1.8
    assert (gains[:, 4] == 1).all()
    lawn = Body(
        Mesh.painted(np.array([[[-50, -50, -2], [50, -50, -2], [0, 90, -2]]]), Paint(TERRAIN, (0.2, 0.2, 0.2))),
        np.zeros(3),
    )
    dark, bright = (
        sweep(nuscenes_rig().lidar, (lawn,), np.eye(4), np.random.default_rng(0), infrared=gain * VISIBLE)
        for gain in (np.float32(1), np.float32(3))
    )
    means = [seen.points[seen.labels == TERRAIN, 3].mean() for seen in (dark, bright)]
    assert means[1] == pytest.approx(3 * means[0], rel=0.1)


def test_a_lidar_sees_concrete_between_asphalt_and_lawns():
    gains = np.array([draw_infrared(np.random.default_rng(seed)) for seed in range(200)])
    asphalt, concrete, lawn = (
        gains[:, label] * np.mean(_GROUND_RGB[label]) for label in (DRIVEABLE, SIDEWALK, TERRAIN)
    )
    assert 1.5 < np.median(concrete / asphalt) < 2.2 < np.median(lawn / asphalt) < 4
    assert 0.6 < (concrete < lawn).mean() < 0.95, "mostly, but not so that brightness tells"


def _wall_of(texture: int) -> np.ndarray:
    """Intensities (N,) of a gray wall 8 m ahead, of a texture kind."""
    wall = box((0, 8.5, 0), (30, 1, 20), Paint(15, (0.5, 0.5, 0.5), texture))
    seen = sweep(nuscenes_rig().lidar, (Body(wall, np.zeros(3)),), np.eye(4), np.random.default_rng(0))
    return seen.points[seen.labels == 15, 3]


def test_windows_are_dark_to_a_lidar():
    plain, front = _wall_of(0), _wall_of(FACADE)
    dark = 0.25 * np.median(plain)
    assert (plain < dark).mean() < 0.01 and 0.12 < (front < dark).mean() < 0.35
    assert len(front) < len(plain)  # some of what meets glass does not come back


@pytest.mark.parametrize("degrees", [0, 45, 100, 200])
def test_windows_lie_alike_in_walls_of_any_direction_and_stay_where_they_are(degrees):
    angle = np.radians(degrees)
    along, up = np.random.default_rng(0).uniform((0, 0), (26, 30), (20000, 2)).T
    normal = np.tile([np.cos(angle), np.sin(angle), 0.0], (len(up), 1))
    position = np.stack([-np.sin(angle) * along, np.cos(angle) * along, up], 1)
    facade, origin = np.full(len(up), FACADE), np.array([1023.0, -2050.5, -0.7])
    glass = _panes(facade, position, normal, np.zeros(3))
    assert len(glass) / len(up) == pytest.approx(0.54**2, abs=0.01)
    assert np.array_equal(glass, _panes(facade, position - origin, normal, origin))
    assert len(_panes(facade, position, np.tile([0.0, 0, 1], (len(up), 1)), np.zeros(3))) == 0, "a roof has none"


def test_leaves_catch_part_of_a_beam():
    wall, leaf = _wall_of(0), _wall_of(LEAVES)
    spread = [np.subtract(*np.percentile(np.log(np.maximum(seen, 1e-4)), (90, 10))) for seen in (wall, leaf)]
    assert spread[1] > 1.3 * spread[0] and np.median(leaf) < 0.8 * np.median(wall)


def test_rays_get_into_a_belt_and_some_through_it():
    mesh = belt(np.random.default_rng(2), 8.0, 8.0)
    assert (mesh.labels == VEGETATION).all()
    body = Body(mesh, np.zeros(3))
    x, z = (a.ravel() for a in np.meshgrid(np.arange(-3.5, 3.5, 0.1), np.arange(1.0, 6.0, 0.1)))
    origins = np.stack([x, np.full_like(x, -6), z], 1).astype(np.float32)
    hits = cast((body,), origins, np.tile(np.float32([0, 1, 0]), (len(x), 1)))
    depth = hits.distance[np.isfinite(hits.distance)] - 6
    assert 0.5 < len(depth) / len(x) < 0.999
    assert np.diff(np.percentile(depth, (10, 90)))[0] > 1.5


def _wall_ahead(weather: Weather) -> tuple[np.ndarray, np.ndarray]:
    """Labels and ranges of a sweep on an asphalt plane with walls 40 m away on two sides."""
    asphalt = Paint(DRIVEABLE, (0.3, 0.3, 0.3))
    bodies = tuple(
        Body(mesh, np.zeros(3))
        for mesh in (
            box((0, 0, -2), (200, 200, 0.2), asphalt),
            box((0, 40, 5), (80, 1, 20), Paint(15, (0.5, 0.5, 0.5))),
            box((0, -40, 5), (80, 1, 20), Paint(15, (0.5, 0.5, 0.5))),
        )
    )
    seen = sweep(nuscenes_rig().lidar, bodies, np.eye(4), np.random.default_rng(0), weather=weather)
    return seen.labels, seen.points


def test_rain_and_fog_lose_far_returns_and_add_false_ones():
    clear_labels, clear = _wall_ahead(CLEAR)
    fog_labels, fog = _wall_ahead(Weather(fog=0.02))
    wet_labels, wet = _wall_ahead(Weather(wet=1.0))
    assert (fog_labels == 15).sum() < 0.4 * (clear_labels == 15).sum()
    drops = (fog_labels == 255) & (np.linalg.norm(fog[:, :3], axis=1) > 1)
    assert drops.sum() > 200 and not ((clear_labels == 255) & (np.linalg.norm(clear[:, :3], axis=1) > 1)).any()
    dry, damp = (
        np.median(points[labels == DRIVEABLE, 3]) for labels, points in ((clear_labels, clear), (wet_labels, wet))
    )
    assert damp < 0.6 * dry


def test_false_returns_lie_before_the_first_surface():
    reach = np.where(np.arange(5000) % 2 == 0, 4.0, np.inf)
    rays, distance = air_returns(Weather(wet=1.0, fog=0.1), reach, np.random.default_rng(0))
    assert len(rays) > 100 and (distance < reach[rays] - 0.5).all() and (distance >= 1.0).all()
    assert len(air_returns(CLEAR, reach, np.random.default_rng(0))[0]) == 0


def test_most_drives_are_dry_and_by_day_and_dark_ones_are_dark():
    drawn = [draw_weather(np.random.default_rng([seed, 11])) for seed in range(600)]
    assert 0.11 < np.mean([w.wet > 0 or w.fog > 0 for w in drawn]) < 0.19
    assert 0.07 < np.mean([w.darkness > 0 for w in drawn]) < 0.13
    day, night = (draw_light(np.random.default_rng(3), Weather(darkness=dark)) for dark in (0.0, 0.9))
    assert night.ambient < 0.2 * day.ambient and night.sky_high.max() < 0.1 and night.noise > day.noise


def test_without_embreex_the_world_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "embreex", None)
    monkeypatch.setitem(sys.modules, "embreex.mesh_construction", None)
    with pytest.raises(DatasetError, match="pip install embreex"):
        Body(box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), Paint(BARRIER, (0.5, 0.5, 0.5))), np.zeros(3))
