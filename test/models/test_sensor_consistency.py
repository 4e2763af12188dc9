"""Consistency with the sensors: on a scene worked out by hand, and the targets on the real recordings."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, TinyRoot

from models.evaluation import sensor_consistency
from models.evaluation.nuscenes_frames import NuScenesFrames, grid_from_lidar
from models.evaluation.sensor_consistency import (
    measure,
    passed_voxels,
    points_in_box,
    scenes_with_cameras,
    with_neighbors,
)
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.nuscenes import GRID_FROM_VEHICLE, NuScenesReader

NANO = Path(__file__).parents[2] / "models" / "zoo" / "nano"
GRID = GridSpec()
CAR, ROAD = 4, 11


class KnownAnswers:
    """Answers as a pipeline does: every return's voxel but one is occupied, a car is recognized with cameras only."""

    contract = SimpleNamespace(grid=GRID)

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        labels = np.zeros(GRID.size, np.uint8)
        for point in frame.points:  # the landmark first, then four road points
            at = tuple(GRID.indices(point[None, :3])[0][0])
            car = point[1] > 20
            labels[at] = (CAR if frame.cameras else ROAD) if car else ROAD
        right = tuple(GRID.indices(np.array([[3.0, 5.0, -1.84]]))[0][0])
        labels[right] = 0
        labels[right[0] + 2, right[1], right[2]] = ROAD  # two voxels off: neither in nor next to
        return OccupancyGrid(GRID, labels, frame.stamp_ns, frame.frame_id)


def test_hand_made_scene(tmp_path):
    recorded = NuScenesFrames(NuScenesReader(TinyRoot(tmp_path / "root").root))
    result = measure(KnownAnswers(), recorded, SCENE)
    assert (result.frames, result.cameras) == (2, 2)
    assert (result.returns.part, result.returns.whole) == (8, 10), "one of five returns a frame was moved away"
    assert result.passed.part == 0 and result.passed.whole > 200
    assert (result.with_cameras["car"].part, result.with_cameras["car"].whole) == (2, 2)
    assert (result.without_cameras["car"].part, result.without_cameras["car"].whole) == (0, 2)
    assert result.with_cameras["truck"].whole == 0
    text = "\n".join(sensor_consistency.lines(SCENE, result))
    assert "80.0% of        10   target at least 90%: short of target" in text
    assert "car         100.0% with,    0.0% without, of      2 points: PASS" in text
    assert "truck            - with,       - without, of      0 points: not measured" in text
    boxes = sensor_consistency.as_json(result)["boxes"]
    assert boxes["with_cameras"]["truck"] == {"share": None, "part": 0, "whole": 0}


class BlockedView(KnownAnswers):
    """The same with an occupied voxel halfway to the landmark."""

    def __call__(self, frame: SensorFrame) -> OccupancyGrid:
        answer = super().__call__(frame)
        answer.labels[tuple(GRID.indices(frame.points[:1, :3] / 2)[0][0])] = ROAD
        return answer


def test_occupied_voxels_on_the_way_are_counted(tmp_path):
    recorded = NuScenesFrames(NuScenesReader(TinyRoot(tmp_path / "root").root))
    assert measure(BlockedView(), recorded, SCENE).passed.part == 2, "one in each frame"


def test_neighbors_are_the_26_around():
    rng = np.random.default_rng(3)
    occupied = rng.random((6, 5, 4)) < 0.04
    grown = with_neighbors(occupied)
    for index in np.ndindex(occupied.shape):
        near = [other for other in zip(*np.nonzero(occupied)) if max(abs(np.subtract(index, other))) <= 1]
        assert grown[index] == bool(near)


def test_a_voxel_with_a_return_is_not_passed():
    grid = GridSpec((0.0, 0.0, 0.0), 0.2, (20, 4, 4))
    origin, points = np.array([0.1, 0.1, 0.1]), np.array([[3.05, 0.1, 0.1], [1.1, 0.1, 0.1]])
    passed = passed_voxels(grid, origin, points)
    expected = np.zeros(grid.size, bool)
    expected[:14, 0, 0] = True  # up to 0.3 m before the farther return, which is 2.75 m
    expected[5, 0, 0] = False  # the nearer return
    np.testing.assert_array_equal(passed, expected)


def test_points_in_a_turned_box_of_another_rig():
    from nuscenes.utils.data_classes import Box
    from pyquaternion import Quaternion

    box = Box([10.0, 0.0, 1.0], [2.0, 4.0, 1.5], Quaternion(axis=[0, 0, 1], degrees=90))  # length along the rig's y
    vehicle = np.array([[10.0, 1.9, 1.7], [10.9, 0.0, 0.3], [11.1, 0.0, 1.0], [10.0, 2.1, 1.0], [10.0, 0.0, 1.8]])
    grid = vehicle @ GRID_FROM_VEHICLE[:3, :3].T + GRID_FROM_VEHICLE[:3, 3]
    np.testing.assert_array_equal(points_in_box(grid, box, GRID_FROM_VEHICLE), [True, True, False, False, False])


def test_the_mounting_tells_the_grid_frame():
    nuscenes = np.array([[0.0, 1, 0, 0.94], [-1, 0, 0, 0], [0, 0, 1, 1.84], [0, 0, 0, 1]])
    np.testing.assert_array_equal(grid_from_lidar(nuscenes), np.eye(4))
    np.testing.assert_array_equal(grid_from_lidar(np.eye(4)), GRID_FROM_VEHICLE)
    roof = np.eye(4)
    roof[:3, 3] = 1.0, 0.2, 2.1
    np.testing.assert_allclose(grid_from_lidar(roof) @ [5, 1, -2.1, 1], [-1.2, 5, -1.84, 1])


def test_without_cameras_it_says_so(tmp_path, capsys):
    root = TinyRoot(tmp_path / "root")
    for name in ("CAM_FRONT", "CAM_BACK"):
        root.tables["sample_data"] = [row for row in root.tables["sample_data"] if name not in row["filename"]]
    root.save()
    assert scenes_with_cameras(NuScenesReader(root.root)) == []
    with pytest.raises(SystemExit, match="2"):
        sensor_consistency.main(["--data", str(root.root)])
    assert "expected a scene with cameras" in capsys.readouterr().err


def test_real_frames_are_in_the_grid_frame(nuscenes_sample):
    recorded = NuScenesFrames(NuScenesReader(nuscenes_sample))
    for scene, frame_id in (("nus-scene0061", "lidar_top"), ("ddad-scene-02", "grid")):
        token = next(recorded.reader.samples(scene))
        frame = recorded.frame(scene, token)
        ahead = frame.points[(np.abs(frame.points[:, 0]) < 2) & (frame.points[:, 1] > 4) & (frame.points[:, 1] < 12)]
        assert abs(np.median(ahead[:, 2]) + 1.84) < 0.25 and frame.frame_id == frame_id
        assert 0.5 < frame.points[:, 3].max() <= 1
        np.testing.assert_allclose(recorded.ray_origin(scene, token), 0, atol=1e-9)
        assert len(recorded.sensor_positions(scene, token)) == len(list(recorded.reader.samples(scene)))


def test_the_shipped_model_agrees_with_real_recordings(nuscenes_sample, tmp_path, capsys):
    file = tmp_path / "consistency.json"
    assert sensor_consistency.main(["--data", str(nuscenes_sample), "--artifact", str(NANO), "--json", str(file)]) == 0
    scenes = json.loads(file.read_text())["scenes"]
    assert set(scenes) == {"nus-scene0061", "ddad-scene-02"}
    for figures in scenes.values():
        assert figures["returns"]["share"] >= 0.9 and figures["passed"]["share"] <= 0.05
        assert figures["boxes"]["with_cameras"]["total"]["whole"] > 500
    boxes, blind = (scenes["nus-scene0061"]["boxes"][key] for key in ("with_cameras", "without_cameras"))
    for name in ("car", "truck", "barrier"):  # not so for the cars of the other scene: see the model card
        assert boxes[name]["part"] > blind[name]["part"]
    printed = capsys.readouterr().out
    assert "car" in printed and printed.splitlines()[-1].startswith("all scenes") and printed.rstrip().endswith("PASS")
