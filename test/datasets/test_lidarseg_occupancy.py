"""Occupancy from labeled sweeps: a scene known by hand, files in nuScenes' format, and the real drive."""

import json

import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, START_US, TinyRoot, landmark_in_lidar

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.ground import height_corrections
from occfusion_ros.datasets.lidarseg_occupancy import (
    LabeledSweep,
    ObjectBox,
    aggregate,
    load_sweeps,
    main,
)
from occfusion_ros.datasets.nuscenes import NuScenesReader
from synthetic import SyntheticDrive, SyntheticFrame

REAL_DRIVE = "nus-lidar-drive"
CAR, CONE, PEDESTRIAN, ROAD, WALL = 4, 8, 7, 11, 15
GRID = GridSpec()


def _pose(x=0.0, y=0.0, z=0.0, yaw=0.0) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def _sweep(y: float, returns: list, boxes: dict | None = None) -> LabeledSweep:
    """A sweep from (0, y, 0) of the map, looking along the map's axes; returns are (x, y, z, label) in the map."""
    array = np.array(returns, float)
    points = array[:, :3] - [0, y, 0]
    made = {name: ObjectBox(_pose(0, -y) @ pose, np.array(half)) for name, (pose, half) in (boxes or {}).items()}
    return LabeledSweep(points, array[:, 3].astype(np.uint8), _pose(0, y), made)


def _label(truth: np.ndarray, *points) -> list[int]:
    index, _ = GRID.indices(np.array(points))
    return truth[tuple(index.T)].tolist()


def test_static_classes_add_up_over_the_window_and_space_that_rays_passed_is_free():
    sweeps = {
        f"s{i}": _sweep(y, [(x, 20.1, 0.1, label)])
        for i, (y, x, label) in enumerate(
            [(0.1, 0.1, WALL), (0.1, 4.1, CONE), (0.1, 8.1, PEDESTRIAN), (0.1, -4.1, WALL)]
        )
    }
    seen = (0.1, 20.0, 0.1), (4.1, 20.0, 0.1), (8.1, 20.0, 0.1), (-4.1, 20.0, 0.1)
    assert _label(aggregate(sweeps, "s0", 0), *seen) == [WALL, 255, 255, 255]
    assert _label(aggregate(sweeps, "s0", 1), *seen) == [WALL, CONE, 255, 255]
    assert _label(aggregate(sweeps, "s0", 9), *seen) == [WALL, CONE, 255, WALL], "no one knows where people went"
    assert _label(aggregate(sweeps, "s2", 9), *seen) == [WALL, CONE, PEDESTRIAN, WALL]
    on_the_ray, behind, above = (0.1, 10.0, 0.1), (0.1, 20.5, 0.1), (0.1, 10.0, 0.5)
    assert _label(aggregate(sweeps, "s0", 0), on_the_ray, behind, above) == [0, 255, 255]
    with pytest.raises(DatasetError, match="labeled key frame and a window of 0 or more, got s9 and 1"):
        aggregate(sweeps, "s9", 1)
    with pytest.raises(DatasetError, match="window"):
        aggregate(sweeps, "s0", -1)


def test_sweeps_are_placed_by_their_poses():
    sweeps = {"near": _sweep(0, [(0.1, 20.1, 0.1, WALL)]), "far": _sweep(6, [(3.1, 30.1, 0.1, WALL)])}
    assert _label(aggregate(sweeps, "near", 1), (0.1, 20.1, 0.1), (3.1, 30.1, 0.1)) == [WALL, WALL]
    assert _label(aggregate(sweeps, "far", 1), (0.1, 14.1, 0.1), (3.1, 24.1, 0.1)) == [WALL, WALL]


def test_a_voxel_has_the_class_of_most_of_its_returns_and_noise_makes_it_unknown():
    wall, noise = [(0.1, 20.1, 0.1, WALL)] * 2, [(4.1, 20.1, 0.1, 255)]
    sweeps = {"one": _sweep(0, [*wall, (0.12, 20.1, 0.1, CONE), *noise]), "other": _sweep(0, [(4.1, 30.1, 0.1, WALL)])}
    passed = 4.1 / 30.1 * 20.1
    truth = aggregate(sweeps, "one", 1)
    assert _label(truth, (0.1, 20.1, 0.1), (4.1, 20.1, 0.1), (passed, 20.1, 0.1)) == [WALL, 255, 0]


def test_moving_objects_follow_their_boxes_and_what_they_hide_is_unknown():
    half = [2.2, 1.0, 0.9]
    now, before = _pose(0.1, 16.1), _pose(6.1, 26.1, yaw=np.pi / 2)
    side = before @ [1.0, 0.9, 0.3, 1]  # a return of the car's left side, measured when it stood elsewhere
    sweeps = {
        "now": _sweep(0, [(0.1, 15.3, 0.1, CAR)], {"car": (now, half)}),
        "before": _sweep(0, [(*side[:3], CAR), (0.1, 24.1, 0.1, WALL)], {"car": (before, half)}),
    }
    truth = aggregate(sweeps, "now", 1)
    moved = (now @ [1.0, 0.9, 0.3, 1])[:3]
    assert _label(truth, (0.1, 15.3, 0.1), moved, side[:3]) == [CAR, CAR, 255], "it is not where it was then"
    assert _label(truth, (0.1, 10.1, 0.1), (0.1, 16.1, 0.1), (0.1, 20.1, 0.1)) == [0, 255, 0]
    without = {"now": _sweep(0, [(0.1, 15.3, 0.1, CAR)]), "before": sweeps["before"]}
    assert _label(aggregate(without, "now", 1), moved) == [255]


def test_near_the_ground_only_returns_count():
    road = [(x, y, -1.85, ROAD) for x in (-8.1, 0.1, 8.1) for y in (8.1, 16.1, 24.1)]
    truth = aggregate({"one": _sweep(0, [*road, (0.1, 30.1, -1.75, WALL)])}, "one", 0)
    assert _label(truth, road[0][:3], road[4][:3]) == [ROAD, ROAD]
    grazing = -1.75 * 29.0 / 30.1
    assert _label(truth, (0.1, 29.0, grazing)) == [255], "the road may be in it, between two rings"
    assert _label(truth, (0.1, 15.0, -0.87)) == [0]


@pytest.fixture
def tiny(tmp_path) -> TinyRoot:
    """Two key frames of one parked car, annotated as one instance."""
    root = TinyRoot(tmp_path / "root")
    for annotation in root.tables["sample_annotation"]:
        annotation["instance_token"] = "car0"
    root.save()
    return root


def test_scenes_are_read_from_files(tiny):
    reader = NuScenesReader(tiny.root)
    first, second = load_sweeps(reader, SCENE).values()
    assert first.labels.tolist() == [CAR, ROAD, ROAD, ROAD, 255]
    assert first.boxes.keys() == second.boxes.keys() == {"car0"}
    assert first.boxes["car0"].contains(first.points).tolist() == [True, False, False, False, False]
    np.testing.assert_allclose(first.boxes["car0"].half, [1.1, 0.6, 1.6])
    truth = aggregate(load_sweeps(reader, SCENE), "sample0", 1)
    assert _label(truth, landmark_in_lidar(START_US), (-3.0, 5.0, -1.84), (3.0, 5.0, -1.84)) == [CAR, ROAD, 255]
    assert _label(truth, (-3.0, 6.0, -1.84)) == [ROAD], "the second sweep's, from 1 m farther on"


def test_command_writes_what_the_reader_reads_and_keeps_what_is_there(tiny, tmp_path, capsys):
    out, arguments = tmp_path / "out", [str(tiny.root), str(tmp_path / "out"), "--window", "1", "--quiet"]
    assert main(arguments) == 0
    assert "2 files written" in capsys.readouterr().out
    reader = NuScenesReader(tiny.root, occupancy_root=out)
    np.testing.assert_array_equal(reader.occupancy("sample1"), aggregate(load_sweeps(reader, SCENE), "sample1", 1))
    first, second = sorted(out.rglob("*.*"))
    kept = first.stat().st_mtime_ns
    second.unlink()
    assert main([*arguments, "--workers", "2", "--scenes", SCENE]) == 0
    assert "1 files written" in capsys.readouterr().out
    assert first.stat().st_mtime_ns == kept and second.is_file() and len(list(out.rglob("*.*"))) == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_labels_that_cannot_be_written_are_one_sentence(tiny, tmp_path, capsys, workers):
    (tmp_path / "file").write_text("no folder")
    assert main([str(tiny.root), str(tmp_path / "file"), "--quiet", "--workers", workers]) == 1
    assert f"cannot write {tmp_path / 'file' / 'occupancy'}" in capsys.readouterr().err


def test_command_says_what_is_wrong(tiny, tmp_path, capsys):
    arguments = [str(tiny.root), str(tmp_path / "out")]
    assert main([*arguments, "--scenes", "other"]) == 1 and "no scene 'other'" in capsys.readouterr().err
    assert main([*arguments, "--workers", "0"]) == 1 and "at least 1 worker" in capsys.readouterr().err
    (tiny.root / "v1.0-mini/lidarseg.json").unlink()
    assert main(arguments) == 1 and "has lidarseg labels" in capsys.readouterr().err


@pytest.fixture(scope="module")
def climb() -> list[SyntheticFrame]:
    """Two frames of a synthetic drive on a grade: the road climbs or falls by more than 0.2 m between them."""
    drive, first = next(
        (drive, index)
        for drive in map(SyntheticDrive, range(100))
        for index in range(6)
        if abs(drive.map_from_base(index + 1)[2, 3] - drive.map_from_base(index)[2, 3]) > 0.2
    )
    return [drive.frame(index, images=False) for index in (first, first + 1)]


def test_flattened_synthetic_drive_becomes_hilly_again(climb):
    flat = [frame.map_from_grid.copy() for frame in climb]
    flat[1][2, 3] = flat[0][2, 3]
    ground = [frame.frame.points[np.isin(frame.point_labels, (11, 12, 13, 14)), :3] for frame in climb]
    one, other = height_corrections(flat, ground)
    assert abs(other - one - (climb[1].map_from_grid[2, 3] - flat[1][2, 3])) < 0.02


def test_what_sweeps_of_a_synthetic_drive_show_is_true(climb):
    boxes = [{box.identity: _annotated(box, frame) for box in frame.boxes} for frame in climb]
    sweeps = {
        str(index): LabeledSweep(
            frame.frame.points[:, :3].astype(float), frame.point_labels, frame.map_from_grid, boxes[index]
        )
        for index, frame in enumerate(climb)
    }
    seen, true = aggregate(sweeps, "0", 1), climb[0].semantics
    occupied, truly = (seen > 0) & (seen < 255), (true > 0) & (true < 255)
    assert occupied.sum() > 15_000 and (seen == 0).sum() > 500_000
    assert truly[occupied].mean() > 0.85, "range noise moves some returns to a voxel beside the surface's"
    assert (seen == true)[occupied & truly].mean() > 0.95, "two classes may share a voxel"
    assert truly[seen == 0].mean() < 0.05, "rays pass through voxels with leaves"


def _annotated(box, frame: SyntheticFrame) -> ObjectBox:
    low, high = box.bounds
    center = _pose(*(low + high) / 2)
    return ObjectBox(np.linalg.inv(frame.map_from_grid) @ box.map_from_object @ center, (high - low) / 2 + 0.1)


def test_real_drive_agrees_with_labels_made_by_other_code(nuscenes_sample):
    reader = NuScenesReader(nuscenes_sample)
    sweeps = load_sweeps(reader, REAL_DRIVE)
    for token in list(sweeps)[::3]:
        ours, theirs = aggregate(sweeps, token, 5), reader.occupancy(token)
        occupied, known = ((ours > 0) & (ours < 255), (theirs > 0) & (theirs < 255)), (ours < 255) & (theirs < 255)
        both = occupied[0] & occupied[1]
        assert both.sum() / (occupied[0] | occupied[1]).sum() > 0.93  # measured: 0.934 to 0.965
        assert (ours == theirs)[both].mean() > 0.995  # measured: 0.9991 to 0.9996
        assert (ours == theirs)[known].mean() > 0.999
        assert (known & (ours == 0)).sum() / (ours == 0).sum() > 0.94


def test_real_pose_heights_come_back_when_they_are_flattened(nuscenes_sample, tmp_path):
    for folder in ("samples", "lidarseg", "maps"):
        (tmp_path / folder).symlink_to(nuscenes_sample / folder)
    tables = tmp_path / "v1.0-mini"
    tables.mkdir()
    for table in (nuscenes_sample / "v1.0-mini").iterdir():
        (tables / table.name).write_bytes(table.read_bytes())
    poses = json.loads((tables / "ego_pose.json").read_text())
    for pose in poses:
        pose["translation"][2] = 0.0
    (tables / "ego_pose.json").write_text(json.dumps(poses))
    true = np.array(
        [sweep.map_from_lidar[2, 3] for sweep in load_sweeps(NuScenesReader(nuscenes_sample), REAL_DRIVE).values()]
    )
    found = np.array(
        [sweep.map_from_lidar[2, 3] for sweep in load_sweeps(NuScenesReader(tmp_path), REAL_DRIVE).values()]
    )
    assert np.ptp(true) > 1.0, "the road falls by a metre"
    assert np.abs((found - found.mean()) - (true - true.mean())).max() < 0.03
