"""LiDARs of all kinds see the same world: beams and heights differ, the grid, the road in it and the truth do not."""

from dataclasses import replace

import numpy as np
import pytest

from occfusion_ros.core.labels import IGNORE
from synthetic import FLEETS, SyntheticDrive, rig_of, seeds
from synthetic.sensors.fleet import varied_rig
from synthetic.sensors.rig import yawed

SEED, INDEX, ROAD = seeds.TESTS[6], 1, (11, 12, 13, 14)


@pytest.fixture(scope="module")
def frames():
    """By height in metres, the frame of one drive and its LiDAR: 16 faint beams at 1.0 m, 64 bright ones at 2.5 m."""
    rig, made = replace(varied_rig(np.random.default_rng(0)), cameras=(), own_parts=()), {}
    for height, beams, reflectance in ((1.0, 16, 0.1), (2.5, 64, 0.3)):
        lidar = replace(
            rig.lidar,
            base_from_lidar=yawed((0.8, 0.1, height), 0.7),
            elevations=tuple(np.linspace(-20, 15, beams)),
            azimuth_steps=900,
            reflectance=reflectance,
            ghosts=0.0,
        )
        made[height] = SyntheticDrive(SEED, replace(rig, lidar=lidar)).frame(INDEX), lidar
    return made


def test_drives_of_a_fleet_have_lidars_of_every_kind_and_the_grid_at_one_height():
    rigs = [rig_of("varied", seed) for seed in seeds.TRAINING[:200]]
    beams, heights, reflectances = np.array(
        [(len(rig.lidar.elevations), rig.lidar.base_from_lidar[2, 3], rig.lidar.reflectance) for rig in rigs]
    ).T
    assert set(beams) == {16, 32, 64, 128} and min(np.bincount(beams.astype(int))[[16, 32, 64, 128]]) > 15
    assert 1.0 <= heights.min() < 1.1 and 2.4 < heights.max() <= 2.5
    assert reflectances.max() / reflectances.min() > 6
    assert all(rig.base_from_frame()[2, 3] == 1.84 for rig in rigs)
    assert all(np.all(np.diff(rig.lidar.elevations) > 0) for rig in rigs)
    assert all(1.0 < camera.base_from_camera[2, 3] < 2.3 for rig in rigs for camera in rig.cameras)


def test_the_sensors_of_a_drive_depend_on_its_fleet_and_seed_alone():
    first, again, other = (rig_of("varied", seed).lidar for seed in (5, 5, 6))
    assert np.array_equal(first.base_from_lidar, again.base_from_lidar) and first.elevations == again.elevations
    assert not np.array_equal(first.base_from_lidar, other.base_from_lidar)
    kinds = [len(rig_of("mixed", seed).lidar.elevations) for seed in range(0, 800, 2)]
    assert set(kinds) == {32}, "every second drive has nuScenes' sensors"
    names = [rig_of("mixed", seed).lidar.name for seed in range(800)]
    assert names.count("LIDAR_ROOF") == 100, "and every eighth the van's"
    assert set(FLEETS) == {"nuscenes", "van", "varied", "mixed"}


@pytest.mark.parametrize("height", [1.0, 2.5])
def test_the_road_lies_below_the_grid_whatever_the_height_of_the_lidar(height, frames):
    frame, _ = frames[height]
    points, origin = frame.exact_points, frame.frame.ray_origins[0]
    near = (frame.point_labels == 11) & (np.abs(points[:, 1]) < 12)
    assert near.sum() > 200 and abs(np.median(points[near, 2]) + 1.84) < 0.2
    assert origin[2] == pytest.approx(height - 1.84)


@pytest.mark.parametrize("height", [1.0, 2.5])
def test_returns_lie_on_the_beams_of_the_lidar(height, frames):
    frame, lidar = frames[height]
    known = frame.point_labels != IGNORE
    away = frame.exact_points[known] - frame.frame.ray_origins[0]
    elevation = np.degrees(np.arctan2(away[:, 2], np.hypot(away[:, 0], away[:, 1])))
    assert np.abs(elevation - np.array(lidar.elevations)[frame.rings[known]]).max() < 0.05
    assert len(np.unique(frame.rings)) > 0.8 * len(lidar.elevations)


def test_a_lidar_that_reports_brighter_returns_does_so_everywhere(frames):
    faint, bright = (
        np.median(frame.frame.points[np.isin(frame.point_labels, ROAD), 3]) for frame, _ in frames.values()
    )
    assert bright / faint == pytest.approx(3, rel=0.35)


def test_the_truth_is_of_the_world_and_not_of_the_lidar(frames):
    (low, _), (high, _) = frames.values()
    assert np.array_equal(low.map_from_grid, high.map_from_grid)
    different = low.semantics != high.semantics
    assert different.sum() < 1e-3 * ((low.semantics > 0) & (low.semantics != IGNORE)).sum()
    for frame in (low, high):
        voxels, inside = SyntheticDrive(SEED).spec.indices(frame.exact_points)
        mine = inside & (frame.point_labels != IGNORE)
        assert mine.sum() > 5000
        assert (frame.semantics[tuple(voxels[mine].T)] == frame.point_labels[mine]).mean() > 0.92
