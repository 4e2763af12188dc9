"""Sweeps from clouds: several LiDARs, a vehicle that moves, and what of it cannot be used."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.rig import MS, NOW, S
from helpers.ros_messages import cloud
from sensor_msgs.msg import PointCloud2, PointField

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.node.sweep_reader import SweepReader
from occfusion_ros.ros.transforms.tree import TransformError, TransformTree

PARAMETERS = NodeParameters(
    cameras=(), image_topics=(), camera_info_topics=(), intensity_max=1.0, grid_frame="grid", fixed_frame="map"
)
SPEED, RATE = 20.0, 0.4  # m/s along x of the vehicle, rad/s to the left
LEFT, RIGHT = np.array([1.0, 0.8, 1.5]), np.array([-2.0, -0.8, 1.0])
SCENE = np.array([[20.0, 5, 1], [-15, 8, 0.5], [30, -20, 2], [3, 4, 0], [-8, -9, 1], [40, 0, 3]] * 50)


def heading(seconds: float) -> np.ndarray:
    return np.array([0, 0, np.sin(RATE * seconds / 2), np.cos(RATE * seconds / 2)])


@pytest.fixture(scope="module")
def tree() -> TransformTree:
    """A vehicle that moves and turns from one second before NOW to one after, with the grid and two LiDARs on it."""
    tree = TransformTree()
    for i in range(-100, 101):
        tree.insert("map", "base_link", NOW + i * 10 * MS, np.array([SPEED * i / 100, 0, 0]), heading(i / 100))
    for name, place in (("left", LEFT), ("right", RIGHT), ("grid", np.array([0, 0, 1.84]))):
        tree.insert("base_link", name, 0, place, np.array([0, 0, 0, 1.0]), static=True)
    return tree


class Reader:
    """A reader with what it reported."""

    def __init__(self, tree: TransformTree) -> None:
        self.tree, self.faults, self.lines, self.lookups = tree, [], [], 0
        self.reader = SweepReader(lambda cause, error: self.faults.append(cause), self.lines.append)

    def __call__(self, clouds: dict[str, PointCloud2], **changes) -> np.ndarray:
        self.sweep = self.reader.read(clouds, "grid", replace(PARAMETERS, **changes), self._lookup)
        return self.sweep.points

    def _lookup(self, *arguments) -> np.ndarray:
        self.lookups += 1
        return self.tree.lookup(*arguments)


@pytest.fixture
def read(tree) -> Reader:
    return Reader(tree)


def measured(
    tree: TransformTree,
    frame: str,
    seconds: np.ndarray,
    stamp: int = NOW,
    time: str | None = "t",
    scene: np.ndarray = SCENE,
) -> PointCloud2:
    """A cloud of a scene that stands still in the map, each point measured at its own time after the stamp."""
    at = [tree.lookup(frame, "map", stamp + round(s * S)) for s in seconds]
    points = np.array([pose[:3, :3] @ point + pose[:3, 3] for pose, point in zip(at, scene)])
    record = np.zeros(len(points), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("intensity", "f4"), ("t", "u4")])
    for axis, values in zip("xyz", points.T):
        record[axis] = values
    record["t"] = np.round(np.clip(seconds, 0, None) * 1e9)
    message = cloud(np.zeros((1, 4)), stamp_ns=stamp, frame_id=frame)
    if time:
        message.fields = [*message.fields, PointField(name=time, offset=16, datatype=PointField.UINT32, count=1)]
    message.width, message.point_step, message.row_step, message.data = len(points), 20, 0, record.tobytes()
    return message


def expected(tree: TransformTree, scene: np.ndarray = SCENE) -> np.ndarray:
    """The scene where it is in the grid at NOW."""
    grid_from_map = tree.lookup("grid", "map", NOW)
    return scene @ grid_from_map[:3, :3].T + grid_from_map[:3, 3]


def farthest(got: np.ndarray, wanted: np.ndarray) -> float:
    """Metres from any point to the nearest that is wanted."""
    return max(np.linalg.norm(wanted - point, axis=1).min() for point in got[:, :3])


SPREAD = np.linspace(0, 0.1, len(SCENE))


def test_points_are_brought_to_the_sweeps_stamp(read, tree):
    got = read({"/left": measured(tree, "left", SPREAD)})
    assert farthest(got, expected(tree)) < 0.01 and len(got) == len(SCENE)
    assert read.lines == ["/left: deskew on: t, nanoseconds after the stamp"] and not read.faults
    assert read.lookups < 40
    read({"/left": measured(tree, "left", SPREAD)})
    assert len(read.lines) == 1


@pytest.mark.parametrize(
    "changes, time, why",
    [
        ({"deskew": False}, "t", "off: parameter deskew"),
        ({"fixed_frame": ""}, "t", "off: no fixed_frame"),
        ({}, None, "off: the cloud has no time for each point"),
        ({}, "azimuth", "off: the cloud has no time for each point"),
    ],
)
def test_points_stay_where_nothing_tells_their_time(read, tree, changes, time, why):
    got = read({"/left": measured(tree, "left", SPREAD, time=time)}, **changes)
    assert read.reader.deskew == {"/left": why} and not read.faults
    assert 1 < farthest(got, expected(tree)) < 4


def test_unclear_times_are_left_alone_and_told_once(read, tree):
    for scale in (2, 4):
        got = read({"/left": measured(tree, "left", SPREAD * scale / 1e5)})
    assert len(got) == len(SCENE) and not read.faults and len(read.lines) == 1
    assert read.lines[0].startswith("/left: deskew off, not certain: t: from first to last 2")
    assert read.reader.deskew["/left"].startswith("off, not certain: t: from first to last 4")


def test_without_poses_over_the_sweep_it_is_answered_as_it_came_and_counted(read, tree):
    late = NOW + S - 50 * MS  # poses end in the middle of the sweep
    message = measured(tree, "left", np.full(len(SCENE), 0.0), stamp=late)
    data = np.frombuffer(bytes(message.data), [("xyzi", "f4", 4), ("t", "u4")]).copy()
    data["t"] = SPREAD * 1e9
    message.data = data.tobytes()
    assert len(read({"/left": message})) == len(SCENE) and read.faults == ["deskew /left"]


def test_clouds_are_merged_each_at_its_own_stamp(read, tree):
    still = np.zeros(len(SCENE))
    clouds = {
        "/left": measured(tree, "left", still, time=None),
        "/right": measured(tree, "right", still, stamp=NOW + 40 * MS, time=None, scene=SCENE + 1),
    }
    got = read(clouds)
    assert len(got) == 2 * len(SCENE) and not read.faults
    assert farthest(got, np.vstack([expected(tree), expected(tree, SCENE + 1)])) < 1e-3


def test_clouds_that_move_are_merged_point_by_point(read, tree):
    clouds = {"/left": measured(tree, "left", SPREAD), "/right": measured(tree, "right", SPREAD, stamp=NOW - 60 * MS)}
    assert farthest(read(clouds), expected(tree)) < 0.01


@pytest.mark.parametrize("missing", [None, "left", "right"])
def test_each_point_knows_where_its_lidar_stood(read, tree, missing):
    """Of a LiDAR whose cloud came 60 ms earlier the place is farther back, and the one that is left out has none."""
    clouds = {"/left": measured(tree, "left", SPREAD), "/right": measured(tree, "right", SPREAD, stamp=NOW - 60 * MS)}
    grid_from_map = tree.lookup("grid", "map", NOW)
    places = {
        name: (grid_from_map @ tree.lookup("map", name, stamp))[:3, 3]
        for name, stamp in (("left", NOW), ("right", NOW - 60 * MS))
    }
    if missing:
        clouds[f"/{missing}"].fields = []
        del places[missing]
    read(clouds)
    np.testing.assert_allclose(read.sweep.ray_origins, list(places.values()), atol=1e-9)
    of = read.sweep.origin_of_point
    assert of is None if missing else of.tolist() == [0] * len(SCENE) + [1] * len(SCENE)


def test_points_that_are_no_returns_take_their_origin_with_them(read, tree):
    clouds = {
        name: cloud(np.array(rows), stamp_ns=NOW, frame_id=name[1:])
        for name, rows in (
            ("/left", [[0.0, 0, 0, 0], [9, 0, 0, 0]]),
            ("/right", [[7.0, 0, 0, 0], [0, 0, 0, 0], [8, 0, 0, 0]]),
        )
    }
    read(clouds)
    assert read.sweep.origin_of_point.tolist() == [0, 1, 1]
    reach = np.linalg.norm(read.sweep.points[:, :3] - read.sweep.ray_origins[read.sweep.origin_of_point], axis=1)
    np.testing.assert_allclose(reach, [9, 7, 8], rtol=1e-6)


def test_no_returns_are_told_for_each_sensor(read, tree):
    nothing = cloud(np.zeros((400, 4)), stamp_ns=NOW, frame_id="right")
    got = read({"/left": measured(tree, "left", SPREAD), "/right": nothing})
    assert len(got) == len(SCENE) and read.faults == ["cloud /right"]
    with pytest.raises(InvalidFrameError, match="got none among 400 points"):
        read({"/left": nothing, "/right": nothing})


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "damage, cause",
    [({"fields": []}, "cloud"), ({"point_step": 3}, "cloud"), ({"frame": "nowhere"}, "transform")],
    ids=["fields", "step", "frame"],
)
def test_the_others_answer_for_one_that_is_broken(read, tree, damage, cause, first):
    good, bad = measured(tree, "left", SPREAD), measured(tree, "right", SPREAD)
    for name, value in damage.items():
        if name == "frame":
            bad.header.frame_id = value
        else:
            setattr(bad, name, value)
    got = read({"/bad": bad, "/good": good} if first else {"/good": good, "/bad": bad})
    assert len(got) == len(SCENE) and read.faults == [f"{cause} /bad"]
    with pytest.raises((InvalidFrameError, TransformError)):
        read({"/bad": bad})
