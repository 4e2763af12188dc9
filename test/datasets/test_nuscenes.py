"""The nuScenes reader, on a root whose numbers are known by hand and on real recordings against the devkit."""

import shutil

import numpy as np
import pytest
from helpers.tiny_nuscenes import (
    FRONT_ROTATION,
    LIDAR_MOUNT,
    SAMPLE_US,
    SCENE,
    SIZE,
    START_US,
    SWEEP_US,
    TinyRoot,
    landmark_in_front_image,
    landmark_in_lidar,
    sweep,
)

from occfusion_ros.core.camera import project, projection_matrix
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.datasets.nuscenes import GRID_FROM_VEHICLE, NuScenesReader, read_jpeg, read_sweep


@pytest.fixture
def tiny(tmp_path) -> TinyRoot:
    return TinyRoot(tmp_path / "root")


def _pixels(frame, camera):
    image_from_grid = projection_matrix(camera.intrinsics, camera.camera_from_grid)
    return project(frame.points[:, :3].astype(np.float64), image_from_grid)


def test_frame_holds_the_sweep_and_each_camera_at_its_own_stamp(tiny):
    reader = NuScenesReader(tiny.root)
    assert reader.scenes() == [SCENE]
    assert list(reader.samples()) == list(reader.samples(SCENE)) == ["sample0", "sample1"]
    frame = reader.frame("sample1")
    stamp = START_US + SAMPLE_US
    assert frame.stamp_ns == stamp * 1000
    assert frame.frame_id == "lidar_top"
    np.testing.assert_array_equal(frame.points[:, :3], sweep(stamp)[:, :3])
    np.testing.assert_allclose(frame.points[:, 3], [0.2, 1, 1, 1, 1])
    assert [camera.name for camera in frame.cameras] == ["cam_front", "cam_back"]
    front, back = frame.cameras
    pixels, depth = _pixels(frame, front)
    np.testing.assert_allclose(pixels[0], landmark_in_front_image(stamp - 35_000), atol=1e-3)
    assert depth[0] > 0 > _pixels(frame, back)[1][0]


def test_what_is_no_return_is_no_point_wherever_the_sensor_stands(tiny):
    reader = NuScenesReader(tiny.root)
    path = reader.lidar_record("sample0").path
    raw = read_sweep(path).copy()
    raw[1, :3], raw[3, :3] = 0, (0.05, 0, -0.03)
    raw.tofile(path)
    for matrix in (None, GRID_FROM_VEHICLE):
        points = reader.frame("sample0", matrix).points
        assert np.isfinite(points).all(axis=1).tolist() == [True, False, True, False, True]


def test_images_are_rgb(tiny):
    import cv2

    red = np.zeros((*SIZE, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(tiny.path("CAM_FRONT")), red)
    image = NuScenesReader(tiny.root).frame("sample0").cameras[0].image
    assert image.shape == (*SIZE, 3) and image[..., 0].min() > 250 and image[..., 1:].max() < 5


def test_grid_from_lidar_moves_points_and_cameras_alike(tiny):
    reader = NuScenesReader(tiny.root)
    plain, moved = reader.frame("sample0"), reader.frame("sample0", GRID_FROM_VEHICLE, intensity_max=510.0)
    x, y, z = landmark_in_lidar(START_US)
    np.testing.assert_allclose(moved.points[0], [-y, x, z - 1.84, 0.1], rtol=1e-5)
    for before, after in zip(plain.cameras, moved.cameras):
        np.testing.assert_allclose(_pixels(moved, after)[0], _pixels(plain, before)[0], atol=1e-2)


def test_vehicle_frame_becomes_the_grid_frame():
    ahead, left, road = (GRID_FROM_VEHICLE @ [*point, 1] for point in ([10, 0, 0], [0, 10, 0], [0, 0, 0]))
    np.testing.assert_allclose(ahead, [0, 10, -1.84, 1])
    np.testing.assert_allclose(left, [-10, 0, -1.84, 1])
    np.testing.assert_allclose(road, [0, 0, -1.84, 1])


def test_records_are_in_time_order_and_sweeps_are_optional(tiny):
    reader = NuScenesReader(tiny.root)
    keys, every = reader.records(SCENE), reader.records(SCENE, sweeps=True)
    assert len(keys) == 6 and len(every) == 7, "radar is left out"
    stamps = [record.stamp_ns for record in every]
    assert stamps == sorted(stamps)
    between = {record.token for record in every} - {record.token for record in keys}
    assert between == {f"LIDAR_TOP{START_US + SWEEP_US}"}
    lidar = next(record for record in keys if record.modality == "lidar")
    np.testing.assert_allclose(lidar.map_from_sensor[:3, 3], [10.0 + LIDAR_MOUNT[0], 0.0, LIDAR_MOUNT[2]])
    np.testing.assert_allclose(lidar.map_from_sensor @ [*landmark_in_lidar(START_US), 1], [40.0, 2.0, 1.5, 1.0])
    front = next(record for record in keys if record.channel == "CAM_FRONT")
    assert front.base_from_sensor.rotation == tuple(FRONT_ROTATION)


def test_boxes_and_point_labels(tiny):
    reader = NuScenesReader(tiny.root)
    (box,) = reader.boxes("sample0")
    np.testing.assert_allclose(box.center, landmark_in_lidar(START_US), atol=1e-9)
    assert box.name == "vehicle.car"
    assert reader.lidarseg("sample0").tolist() == [4, 11, 11, 11, 255]
    (tiny.root / "lidarseg/v1.0-mini" / f"LIDAR_TOP{START_US}_lidarseg.bin").write_bytes(bytes(3))
    with pytest.raises(DatasetError, match="expected 5 labels, one for each point, got 3"):
        reader.lidarseg("sample0")


def test_occupancy_in_either_layout(tiny):
    reader = NuScenesReader(tiny.root)
    assert reader.occupancy("sample0") is None
    rows = tiny.root / "scene_scene/occupancy" / f"LIDAR_TOP{START_US}.npy"
    rows.parent.mkdir(parents=True)
    np.save(rows, np.array([[39, 511, 0, 16], [1, 2, 3, 0], [4, 5, 6, 11]]))  # z, y, x, class
    labels = reader.occupancy("sample0")
    assert labels[0, 511, 39] == 16 and labels[3, 2, 1] == 255 and np.count_nonzero(labels) == 3
    dense = tiny.root / "occupancy" / f"LIDAR_TOP{START_US}.npz"
    dense.parent.mkdir()
    np.savez_compressed(dense, semantics=labels)
    rows.unlink()
    np.testing.assert_array_equal(reader.occupancy("sample0"), labels)
    dense.write_bytes(dense.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="cannot read"):
        reader.occupancy("sample0")
    np.savez(dense, semantics=labels[:200])
    with pytest.raises(DatasetError, match=r"expected uint8 \(512, 512, 40\), got uint8 \(200"):
        reader.occupancy("sample0")


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    "channel, damage, message",
    [
        ("LIDAR_TOP", _truncate, "is truncated: expected rows of 5 float32"),
        ("CAM_BACK", _truncate, "is not a whole JPEG file"),
        ("CAM_BACK", lambda path: path.unlink(), "does not exist, but the tables name it"),
        (
            "CAM_BACK",
            lambda path: path.write_bytes(b"\xff\xd8 rubbish \xff\xd9"),
            "is not a whole JPEG file.*no pixels",
        ),
        ("CAM_BACK", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "is not a whole JPEG file"),
    ],
)
def test_damaged_files_are_named(tiny, channel, damage, message):
    damage(tiny.path(channel))
    with pytest.raises(DatasetError, match=message) as error:
        NuScenesReader(tiny.root).frame("sample0")
    assert str(tiny.path(channel)) in str(error.value)


def test_image_of_another_size_is_refused(tiny):
    import cv2

    cv2.imwrite(str(tiny.path("CAM_BACK")), np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"\(120, 160\), got \(60, 80\)"):
        NuScenesReader(tiny.root).frame("sample0")


def test_wrong_roots_scenes_and_sensors_are_named(tiny, tmp_path):
    with pytest.raises(DatasetError, match="tables of one version.*got none"):
        NuScenesReader(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="v1.0-test"):
        NuScenesReader(tiny.root, "v1.0-test")
    with pytest.raises(DatasetError, match="no scene 'other'.*scene-0001"):
        NuScenesReader(tiny.root).records("other")
    with pytest.raises(DatasetError, match="expected a LIDAR_LEFT key frame"):
        NuScenesReader(tiny.root, lidar="LIDAR_LEFT").frame("sample0")
    (tiny.root / "v1.0-trainval").mkdir()
    (tiny.root / "v1.0-trainval/sample_data.json").write_text("[]")
    with pytest.raises(DatasetError, match="got .'v1.0-mini', 'v1.0-trainval'."):
        NuScenesReader(tiny.root)
    assert NuScenesReader(tiny.root, "v1.0-mini").scenes() == [SCENE]


def test_whatever_follows_a_whole_jpeg_is_allowed(tiny):
    path = tiny.path("CAM_BACK")
    whole = path.read_bytes()
    for after in (bytes(6000), whole, b"\xff\xd8"):
        path.write_bytes(whole + after)
        assert read_jpeg(path) == whole + after
        assert NuScenesReader(tiny.root).frame("sample0").cameras


@pytest.fixture(scope="module")
def real(nuscenes_sample) -> NuScenesReader:
    return NuScenesReader(nuscenes_sample)


@pytest.mark.parametrize("scene", ["nus-scene0061", "ddad-scene-02"])
def test_real_points_land_where_the_devkit_puts_them(real, scene):
    sample = next(real.samples(scene))
    grid = {"ddad-scene-02": dict(grid_from_lidar=GRID_FROM_VEHICLE, intensity_max=1.0)}.get(scene, {})
    frame = real.frame(sample, **grid)
    data = real.tables.get("sample", sample)["data"]
    compared = 0
    for camera in frame.cameras:
        expected, depth, _ = real.tables.explorer.map_pointcloud_to_image(data["LIDAR_TOP"], data[camera.name.upper()])
        assert expected.shape[1] > 500
        pixels, ours = _pixels(frame, camera)
        (height, width), (u, v) = camera.image.shape[:2], pixels.T
        seen = (ours > 1) & (u > 1) & (u < width - 1) & (v > 1) & (v < height - 1)
        assert abs(seen.sum() - expected.shape[1]) <= 2, "the devkit transforms in float32, so the border may differ"
        if seen.sum() == expected.shape[1]:
            compared += 1
            np.testing.assert_allclose(pixels[seen], expected[:2].T, atol=0.2)
            np.testing.assert_allclose(ours[seen], depth, atol=1e-3)
    assert compared >= 5


def test_real_road_is_where_the_grid_wants_it(real):
    for scene, grid in [("nus-scene0061", {}), ("ddad-scene-02", dict(grid_from_lidar=GRID_FROM_VEHICLE))]:
        points = real.frame(next(real.samples(scene)), **grid).points
        ahead = points[(np.abs(points[:, 0]) < 2) & (points[:, 1] > 4) & (points[:, 1] < 12)]
        assert len(ahead) > 50 and abs(np.median(ahead[:, 2]) + 1.84) < 0.25, scene


def test_real_labels(real):
    for sample in real.samples("nus-lidar-drive"):
        frame, occupancy, labels = real.frame(sample), real.occupancy(sample), real.lidarseg(sample)
        assert frame.cameras == () and len(labels) == len(frame.points)
        assert 0.8 < (occupancy == 255).mean() < 0.95
        road = frame.points[labels == 11]
        assert len(road) > 1000 and abs(np.median(road[:, 2]) + 1.84) < 0.3
    assert real.occupancy(next(real.samples("nus-scene0061"))) is None
    assert real.lidarseg(next(real.samples("nus-scene0061"))) is None


def test_real_jpegs_are_whole(real):
    for scene in ("nus-scene0061", "ddad-scene-02"):
        assert all(read_jpeg(record.path) for record in real.records(scene) if record.modality == "camera")


SIDE_TABLES = ["attribute", "visibility", "map", "log", "instance", "category", "sample_annotation", "lidarseg"]


@pytest.mark.parametrize("missing", [[name] for name in SIDE_TABLES] + [SIDE_TABLES])
def test_frames_need_no_table_of_labels_or_maps(tiny, caplog, missing):
    expected = NuScenesReader(tiny.root).frame("sample0")
    shutil.rmtree(tiny.root / "lidarseg")
    shutil.rmtree(tiny.root / "maps")
    for name in missing:
        (tiny.root / f"v1.0-mini/{name}.json").unlink()
    reader = NuScenesReader(tiny.root)
    np.testing.assert_array_equal(reader.frame("sample0").points, expected.points)
    assert len(reader.records(SCENE)) == 6
    if "instance" in missing or "category" in missing or "sample_annotation" in missing:
        assert reader.boxes("sample0") == []
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == bool(wanted := set(missing) - {"map", "log", "lidarseg"})
    assert all(str(tiny.root / f"v1.0-mini/{name}.json") in caplog.text for name in wanted)


def test_labels_that_are_missing_are_named_where_they_are_needed(tiny):
    shutil.rmtree(tiny.root / "lidarseg")
    with pytest.raises(DatasetError, match=f"{tiny.root}/lidarseg/v1.0-mini/.*_lidarseg.bin does not exist"):
        NuScenesReader(tiny.root).lidarseg("sample0")
    (tiny.root / "v1.0-mini/lidarseg.json").unlink()
    assert NuScenesReader(tiny.root).lidarseg("sample0") is None


def test_labels_need_the_categories(tiny):
    (tiny.root / "v1.0-mini/category.json").unlink()
    with pytest.raises(DatasetError, match="category.json as it comes with nuScenes-lidarseg"):
        NuScenesReader(tiny.root).lidarseg("sample0")


@pytest.mark.parametrize("name", ["sensor", "calibrated_sensor", "ego_pose", "scene", "sample"])
def test_a_needed_table_that_is_missing_or_damaged_is_named(tiny, name):
    path = tiny.root / f"v1.0-mini/{name}.json"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DatasetError, match=str(path)):
        NuScenesReader(tiny.root)
    path.unlink()
    with pytest.raises(DatasetError, match=f"missing: {path}"):
        NuScenesReader(tiny.root)
