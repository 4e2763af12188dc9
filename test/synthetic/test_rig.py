"""Rigs: whatever the sensors and however they are mounted, frames come out in the grid frame and agree."""

import numpy as np
import pytest

from occfusion_ros.core.camera import project, projection_matrix
from occfusion_ros.core.labels import IGNORE
from synthetic import RIGS, SyntheticDrive
from synthetic.sensors.sensing import look

SEED, INDEX, SIZE = 4, 1, (150, 200)


@pytest.fixture(scope="module")
def drives():
    return {name: SyntheticDrive(SEED, make(), SIZE, jitter=True) for name, make in RIGS.items()}


@pytest.fixture(scope="module")
def frames(drives):
    return {name: drive.frame(INDEX) for name, drive in drives.items()}


@pytest.mark.parametrize("name", RIGS)
def test_frames_are_in_the_grid_frame(name, drives, frames):
    frame, drive = frames[name], drives[name]
    points = frame.exact_points
    near = np.isin(frame.point_labels, (11, 12, 13, 14)) & (np.linalg.norm(points[:, :2], axis=1) < 9)
    assert -2.2 < np.median(points[near, 2]) < -1.5
    ahead = np.linalg.inv(frame.map_from_grid) @ drive.map_from_base(INDEX + 1) @ drive.rig.base_from_frame()
    assert ahead[1, 3] > 2.5 and abs(ahead[0, 3]) < 1  # the vehicle drives along y
    assert len(frame.frame.cameras) == len(drive.rig.cameras)


@pytest.mark.parametrize("name", RIGS)
def test_sweep_is_the_sweep_of_the_frame(name, drives, frames):
    frame, (seen, map_from_grid) = frames[name], drives[name].sweep(INDEX)
    assert np.array_equal(seen.points, frame.frame.points) and np.array_equal(seen.labels, frame.point_labels)
    assert np.array_equal(seen.exact, frame.exact_points) and np.array_equal(seen.rings, frame.rings)
    assert np.array_equal(map_from_grid, frame.map_from_grid)


@pytest.mark.parametrize("name", RIGS)
def test_a_return_from_an_actor_lands_on_a_pixel_of_that_actor(name, drives, frames):
    """Rays of the renderer through the pixels where returns project must end on the same object, and as far away."""
    drive, frame = drives[name], frames[name]
    scene, agreed, total = drive._scene(INDEX), 0, 0
    on_actor = (frame.point_labels >= 1) & (frame.point_labels <= 10)
    points, labels = frame.exact_points[on_actor].astype(np.float64), frame.point_labels[on_actor]
    for camera, image in zip(drive.cameras, frame.frame.cameras):
        pose = scene.base @ camera.base_from_camera
        pose[:3, 3] -= scene.window.origin
        hits, _ = look(camera, scene.bodies, pose)
        pixels, depth = project(points, projection_matrix(image.intrinsics, image.camera_from_grid))
        column, row = np.round(pixels).astype(int).T
        ok = (depth > 1) & (column >= 0) & (column < SIZE[1]) & (row >= 0) & (row < SIZE[0])
        flat = row[ok] * SIZE[1] + column[ok]
        reach = np.linalg.norm(points[ok] @ image.camera_from_grid[:3, :3].T + image.camera_from_grid[:3, 3], axis=1)
        same_place = np.abs(hits.distance[flat] - reach) < 0.5
        hidden = hits.distance[flat] < reach - 0.5  # by something that the LiDAR sees over
        agreed += (same_place & (hits.label[flat] == labels[ok]))[~hidden].sum()
        total += (~hidden).sum()
    assert total > 200
    assert agreed / total > 0.85  # the rest are silhouettes, half a pixel wide


@pytest.mark.parametrize("name", RIGS)
def test_returns_lie_in_voxels_of_their_class(name, drives, frames):
    frame = frames[name]
    index, inside = drives[name].spec.indices(frame.exact_points)
    mine = inside & (frame.point_labels != IGNORE)
    there = frame.semantics[tuple(index[mine].T)]
    assert mine.sum() > 10_000 and (there == frame.point_labels[mine]).mean() > 0.92


@pytest.mark.parametrize("name", RIGS)
def test_jitter_is_small_repeatable_and_different_in_every_drive(name):
    rig = RIGS[name]()
    one, again, other = (rig.jittered(np.random.default_rng(seed)) for seed in (1, 1, 2))
    for camera, moved, same, another in zip(rig.cameras, one.cameras, again.cameras, other.cameras):
        assert np.array_equal(moved.base_from_camera, same.base_from_camera)
        assert not np.allclose(moved.base_from_camera, another.base_from_camera)
        step = np.linalg.inv(camera.base_from_camera) @ moved.base_from_camera
        assert np.abs(step[:3, 3]).max() < 0.09
        assert 0 < np.degrees(np.arccos((np.trace(step[:3, :3]) - 1) / 2)) < 1.5 * 3**0.5 + 0.1
        ratio = moved.intrinsics[0, 0] / camera.intrinsics[0, 0]
        assert 0.97 <= ratio <= 1.03 and ratio != 1
        assert moved.intrinsics[1, 1] / camera.intrinsics[1, 1] == pytest.approx(ratio)


def test_the_grid_follows_a_jittered_lidar_only_where_it_is_the_lidar_frame():
    for name, make in RIGS.items():
        rig, moved = make(), make().jittered(np.random.default_rng(3))
        assert np.allclose(rig.base_from_frame(), moved.base_from_frame()) == (name == "van")
    assert np.array_equal(RIGS["nuscenes"]().grid_from_lidar(), np.eye(4))
    forward = RIGS["van"]().grid_from_lidar() @ [1.0, 0, 0, 0]
    assert np.allclose(forward, [0, 1, 0, 0])  # that LiDAR looks along its x axis, the grid along y


def test_jitter_leaves_the_world_and_the_path_alone():
    plain, jittered = (SyntheticDrive(SEED, jitter=jitter) for jitter in (False, True))
    assert np.array_equal(plain.map_from_base(3), jittered.map_from_base(3))
    assert plain.world is jittered.world
    assert not np.allclose(plain.rig.cameras[0].base_from_camera, jittered.rig.cameras[0].base_from_camera)
