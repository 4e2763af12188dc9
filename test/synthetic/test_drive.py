"""The synthetic world: repeatable, and its truth, its LiDAR and its cameras agree."""

import json

import numpy as np
import pytest

from occfusion_ros.core.camera import project, projection_matrix
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.core.returns import are_returns
from synthetic import Recording, SyntheticDrive, nuscenes_rig, write_nuscenes_root
from synthetic.__main__ import main
from synthetic.objects.actors import CAR, MAKERS
from synthetic.objects.mesh import Mesh, Paint, box, surface_samples
from synthetic.recording.tables import quaternion
from synthetic.sensors.sensing import look
from synthetic.world.truth import SAMPLE, mark_points, sample, voxelize
from synthetic.world.world import Body

SIZE = (112, 200)
SEED = 4  # a dense street with many classes


@pytest.fixture(scope="module")
def drive():
    return SyntheticDrive(SEED, image_size=SIZE)


@pytest.fixture(scope="module")
def frame(drive):
    return drive.frame(1)


def test_same_seed_gives_the_same_frame_whatever_was_made_before(frame):
    different = SyntheticDrive(SEED + 1).frame(1, images=False)  # the world of SEED has to be made anew after it
    assert len(different.frame.points) != len(frame.frame.points)
    again = SyntheticDrive(SEED, image_size=SIZE).frame(1)
    assert np.array_equal(frame.frame.points, again.frame.points)
    assert np.array_equal(frame.semantics, again.semantics)
    assert np.array_equal(frame.map_from_grid, again.map_from_grid)
    for one, other in zip(frame.frame.cameras, again.frame.cameras):
        assert np.array_equal(one.image, other.image)


def test_frame_is_in_nuscenes_lidar_axes(frame):
    points, ground = frame.frame.points, np.isin(frame.point_labels, (11, 12, 13, 14))
    near = ground & (np.linalg.norm(points[:, :2], axis=1) < 6)
    assert -2.1 < np.median(points[near, 2]) < -1.6
    front = frame.frame.cameras[0]
    pixels, depth = project(
        np.array([[0.0, 20.0, 0.0], [2.0, 20.0, 0.0]]), projection_matrix(front.intrinsics, front.camera_from_grid)
    )
    assert (depth > 15).all() and pixels[1, 0] > pixels[0, 0]  # y is forward, x to the right
    assert abs(pixels[0, 0] - SIZE[1] / 2) < 2


def test_between_two_frames_vehicle_and_traffic_are_between_their_places(drive):
    places = [drive.map_from_base(index)[:3, 3] for index in (1, 1.25, 1.5, 2)]
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert np.allclose(steps, np.array([1, 1, 2]) * steps.sum() / 4, rtol=0.02)
    for one, between, other in zip(*(drive._scene(index).tags for index in (1, 1.5, 2))):
        if np.linalg.norm(other[1][:2, 3] - one[1][:2, 3]) < 30:  # traffic comes again after a while
            assert np.allclose(between[1][:3, 3], (one[1][:3, 3] + other[1][:3, 3]) / 2, atol=0.2)
    (whole, pose), (same, _), (half, halfway) = (drive.sweep(index) for index in (1, 1.0, 1.5))
    assert np.array_equal(whole.points, same.points) and len(half.points) != len(whole.points)
    assert np.linalg.norm(halfway[:3, 3] - pose[:3, 3]) > 1 and not np.array_equal(half.points[:99], whole.points[:99])


def test_vehicle_moves_along_the_road(drive):
    first, second = (drive.map_from_base(i) for i in (0, 1))
    step = np.linalg.inv(first) @ second
    assert 2.5 < step[0, 3] < 6.5 and abs(step[1, 3]) < 1
    assert np.allclose(first[:3, :3] @ first[:3, :3].T, np.eye(3), atol=1e-9)
    with pytest.raises(DatasetError, match="frame index"):
        drive.frame(-1)


def test_every_return_lies_in_a_voxel_of_its_class(frame):
    labels = frame.point_labels
    index, inside = GridSpec().indices(frame.exact_points)
    there = frame.semantics[tuple(index.T)]
    mine = inside & (labels != IGNORE)
    assert mine.sum() > 10_000
    assert ((there[mine] > 0) & (there[mine] < IGNORE)).all()
    assert (there[mine] == labels[mine]).mean() > 0.93  # two classes may share a voxel
    objects = mine & (labels <= 10)
    assert (there[objects] == labels[objects]).mean() > 0.97


def test_surface_samples_alone_cover_nearly_every_return(drive, frame):
    window = drive.world.around(drive._station(1))
    mesh, _ = drive.world.moving(1, drive._station(1), drive.style.speed)
    moving = sample(mesh.triangles, mesh.labels, window.origin, SAMPLE)
    grid = voxelize(drive.spec, np.linalg.inv(frame.map_from_grid), window.ground, [*window.things, moving], [])
    solid = np.isin(frame.point_labels, (11, 12, 13, 15, 4, 10))  # grass catches rays above the surface of terrain
    index, inside = drive.spec.indices(frame.exact_points)
    there = grid[tuple(index[inside & solid].T)]
    assert ((there > 0) & (there < IGNORE)).mean() > 0.98


def test_space_before_a_return_is_free(frame):
    rng = np.random.default_rng(0)
    seen = frame.exact_points[frame.point_labels != IGNORE]
    length = np.linalg.norm(seen, axis=1)
    share = rng.uniform(0.1, 1, len(seen)) * (length - 0.6) / length
    index, inside = GridSpec().indices(seen * share[:, None])
    there = frame.semantics[tuple(index[inside].T)]
    assert ((there > 0) & (there < IGNORE)).mean() < 0.03  # grazing rays enter voxels that the ground is in, too


def test_points_project_on_pixels_of_the_same_class(drive, frame):
    window = drive.world.around(drive._station(1))
    mesh, _ = drive.world.moving(1, drive._station(1), drive.style.speed)
    bodies = window.body, Body(mesh, window.origin)
    agreed = total = 0
    for camera, image in zip(drive.cameras, frame.frame.cameras):
        pose = frame.map_from_base @ camera.base_from_camera
        pose[:3, 3] -= window.origin
        hits, _ = look(camera, bodies, pose)
        labels, distance = hits.label.reshape(SIZE), hits.distance.reshape(SIZE)
        pixels, depth = project(
            frame.exact_points.astype(np.float64), projection_matrix(image.intrinsics, image.camera_from_grid)
        )
        column, row = np.round(pixels).astype(int).T
        ok = (
            (depth > 1)
            & (column >= 1)
            & (column < SIZE[1] - 1)
            & (row >= 1)
            & (row < SIZE[0] - 1)
            & (frame.point_labels != IGNORE)
        )
        column, row, mine = column[ok], row[ok], frame.point_labels[ok]
        flat = np.all(
            [labels[row + i, column + j] == labels[row, column] for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0
        )
        reach = np.linalg.norm(frame.exact_points[ok] - np.linalg.inv(image.camera_from_grid)[:3, 3], axis=1)
        visible = flat & (
            distance[row, column] > reach * 0.93
        )  # the LiDAR sees over things that hide a point from the camera
        agreed, total = agreed + (labels[row, column] == mine)[visible].sum(), total + visible.sum()
    assert total > 3000
    assert agreed / total > 0.97


def test_resized_camera_sees_the_same_rays():
    camera = nuscenes_rig().cameras[0]
    small = camera.resized((450, 800))
    full, half = (c.intrinsics @ np.array([0.3, -0.2, 1.0]) for c in (camera, small))
    assert np.allclose((full[:2] + 0.5) / 2, half[:2] + 0.5)


def test_box_lands_in_the_voxels_of_the_half_open_rule():
    spec = GridSpec((0.0, 0.0, 0.0), 0.2, (10, 10, 10))
    mesh = box(
        (0.7, 0.9, 0.3), (0.58, 0.18, 0.18), Paint(CAR, (1, 1, 1)), solid=True
    )  # 0.41-0.99, 0.81-0.99, 0.21-0.39
    surface = sample(mesh.triangles, mesh.labels, np.zeros(3), SAMPLE)
    grid = voxelize(spec, np.eye(4), [], [surface], mesh.solids)
    expected = np.zeros(spec.size, np.uint8)
    expected[2:5, 4:5, 1:2] = CAR
    assert np.array_equal(grid, expected)


def test_rare_classes_win_over_the_ground_and_below_the_ground_is_unknown():
    spec = GridSpec((0.0, 0.0, 0.0), 0.2, (4, 4, 4))
    square = np.array([[[0, 0, 0.5], [0.8, 0, 0.5], [0.8, 0.8, 0.5]], [[0, 0, 0.5], [0.8, 0.8, 0.5], [0, 0.8, 0.5]]])
    ground = sample(square, np.full(2, 11, np.uint8), np.zeros(3), SAMPLE)
    cone = box((0.3, 0.3, 0.5), (0.1, 0.1, 0.1), Paint(8, (1, 1, 1)))
    grid = voxelize(spec, np.eye(4), [ground], [sample(cone.triangles, cone.labels, np.zeros(3), SAMPLE)], [])
    assert grid[1, 1, 2] == 8 and grid[0, 0, 2] == 11
    assert grid[0, 0, 1] == IGNORE and grid[0, 0, 0] == 0 and grid[0, 0, 3] == 0


def test_points_beyond_the_grid_are_left_out():
    spec = GridSpec((0.0, 0.0, 0.0), 0.2, (2, 2, 2))
    grid = np.zeros(spec.size, np.uint8)
    points = np.array([[-0.01, 0.1, 0.1], [0.41, 0.1, 0.1], [0.39, 0.39, 0.39]], np.float32)
    mark_points(grid, spec, np.eye(4), points, np.array([1, 2, 3], np.uint8))
    assert grid[1, 1, 1] == 3 and np.count_nonzero(grid) == 1


def test_surface_samples_leave_no_gap():
    rng = np.random.default_rng(1)
    triangles = rng.uniform(-1, 1, (20, 3, 3))
    points, triangle = surface_samples(triangles, 0.1)
    weights = rng.dirichlet((1, 1, 1), 200)
    for i, corners in enumerate(triangles):
        mine = points[triangle == i]
        gap = np.linalg.norm((weights @ corners)[:, None] - mine[None], axis=2).min(1)
        assert gap.max() < 0.1


@pytest.mark.parametrize("label", sorted(MAKERS))
def test_objects_have_their_class_stand_on_the_ground_and_have_plausible_sizes(label):
    largest = {1: 3.2, 2: 2.2, 3: 14, 4: 6, 5: 12, 6: 2.6, 7: 2, 8: 1.2, 9: 14, 10: 12}[label]
    for seed in range(5):
        mesh: Mesh = MAKERS[label](np.random.default_rng(seed))
        low, high = mesh.bounds()
        assert (mesh.labels == label).all()
        assert -0.35 < low[2] < 0.35 and 0.4 < high[2] < 9
        assert 0.2 < (high - low)[0] < largest * 1.05


def test_quaternion_turns_back_into_the_rotation():
    rng = np.random.default_rng(2)
    for _ in range(20):
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        rotation *= np.sign(np.linalg.det(rotation))
        transform = np.eye(4)
        transform[:3, :3] = rotation
        w, x, y, z = quaternion(transform)
        back = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        assert np.allclose(back, rotation)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic")
    write_nuscenes_root(out, scenes=1, frames=1, seed=SEED, recording=Recording(image_scale=0.1), progress=False)
    return out


def test_root_has_every_table_and_every_file(root):
    tables = {path.stem: json.loads(path.read_text()) for path in (root / "v1.0-mini").glob("*.json")}
    assert {
        "attribute",
        "calibrated_sensor",
        "category",
        "ego_pose",
        "instance",
        "log",
        "map",
        "sample",
        "sample_annotation",
        "sample_data",
        "scene",
        "sensor",
        "visibility",
    } <= set(tables)
    assert len(tables["sample"]) == 1 and len(tables["sample_data"]) == 7
    assert all(
        (root / row["filename"]).is_file() for name in ("sample_data", "lidarseg", "map") for row in tables[name]
    )
    tokens = {row["token"] for rows in tables.values() for row in rows}
    links = [row[key] for rows in tables.values() for row in rows for key in row if key.endswith("_token")]
    assert links and set(links) <= tokens


def test_root_reads_back_as_the_frame(root):
    from occfusion_ros.datasets.nuscenes import NuScenesReader

    reader = NuScenesReader(root)
    (token,) = reader.samples()
    read, made = reader.frame(token), Recording(image_scale=0.1).drive(SEED).frame(0)
    returns = are_returns(made.frame.points[:, :3])  # the others are no returns to the reader, as to the node
    assert np.array_equal(np.isfinite(read.points[:, :3]).all(1), returns) and not returns.all()
    assert np.array_equal(read.points[returns, :3], made.frame.points[returns, :3])
    assert np.abs(read.points[:, 3] - made.frame.points[:, 3]).max() < 0.003
    assert np.array_equal(reader.occupancy(token), made.semantics)
    assert np.array_equal(reader.lidarseg(token), made.point_labels)
    by_name = {camera.name: camera for camera in read.cameras}
    for camera in made.frame.cameras:
        again = by_name[camera.name.lower()]
        assert np.allclose(again.camera_from_grid, camera.camera_from_grid) and np.allclose(
            again.intrinsics, camera.intrinsics
        )
        assert np.abs(again.image.astype(int) - camera.image).mean() < 12


def test_a_root_is_continued_and_not_made_again(root):
    before = {path: path.stat().st_mtime_ns for path in root.glob("samples/**/*.*")}
    write_nuscenes_root(root, scenes=1, frames=2, seed=SEED, recording=Recording(image_scale=0.1), progress=False)
    assert len(json.loads((root / "v1.0-mini" / "sample.json").read_text())) == 2
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_command_refuses_to_mix_recordings(root, capsys):
    assert main([str(root), "--scenes", "1", "--frames", "1", "--image-scale", "0.2", "--quiet"]) == 1
    assert "image_scale" in capsys.readouterr().err
    assert main([str(root / "new"), "--scenes", "0"]) == 1
