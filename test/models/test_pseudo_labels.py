"""Labels of returns from votes, on geometry known by hand: what hides what, time, movable objects."""

import numpy as np
import pytest
from helpers.tiny_teacher import SIZE, write_teacher

from models.adaptation.pseudo_labels import as_labeled, objects
from models.adaptation.sight import at_borders, visible
from models.adaptation.teacher import Teacher
from models.adaptation.votes import VotedSweep, elect, of_model, of_teachers
from occfusion_ros.core.camera import projection_matrix
from occfusion_ros.core.frames import CameraImage, OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, NUM_LABELS, Label
from occfusion_ros.datasets.lidarseg_occupancy import aggregate

ROAD, CAR, WALL = int(Label.DRIVEABLE_SURFACE), int(Label.CAR), int(Label.MANMADE)
INTRINSICS = np.array([[50.0, 0, 47.5], [0, 50.0, 31.5], [0, 0, 1]])
CAMERA_FROM_GRID = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])  # looks along y
IMAGE_FROM_GRID = projection_matrix(INTRINSICS, CAMERA_FROM_GRID)


def _wall(y: float, low: float, high: float, x: float = 2.0) -> np.ndarray:
    """Returns of an upright plane across the camera's axis, from `low` to `high`."""
    across, up = np.meshgrid(np.arange(-x, x, 0.1), np.arange(low, high, 0.1))
    return np.column_stack([across.ravel(), np.full(across.size, y), up.ravel()])


def test_what_lies_behind_something_nearer_is_hidden():
    car, house = _wall(5, -1.5, 0), _wall(15, -1.5, 3)
    which, pixels = visible(np.concatenate([car, house]), IMAGE_FROM_GRID, SIZE)
    shown = np.zeros(len(car) + len(house), bool)
    shown[which] = True
    assert shown[: len(car)].all(), "nothing hides the nearer ones"
    behind = shown[len(car) :][house[:, 2] < -0.2]
    above = shown[len(car) :][house[:, 2] > 1]
    assert behind.mean() < 0.05 and above.all(), "seen over the car's roof alone"
    assert (pixels >= 0).all() and (pixels < SIZE[::-1]).all()


def test_points_outside_the_image_or_behind_the_camera_are_not_seen():
    points = np.array([[0, 10.0, 0], [0, -10.0, 0], [30, 10.0, 0], [0, 0.2, 0]])
    which, pixels = visible(points, IMAGE_FROM_GRID, SIZE)
    assert which.tolist() == [0] and pixels.tolist() == [[48, 32]]


def test_a_road_does_not_hide_itself():
    size, image_from_grid = (384, 704), np.diag([7.0, 7, 1, 1]) @ IMAGE_FROM_GRID
    x, y = np.meshgrid(np.arange(-3, 3, 0.5), np.arange(4, 25, 0.5))
    road = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.8)])
    pixels = (image_from_grid[:3, :3] @ road.T)[:2] / road[:, 1]
    inside = ((pixels >= 0) & (pixels < np.array(size[::-1])[:, None] - 1)).all(0)
    which, _ = visible(road, image_from_grid, size)
    assert inside.sum() > 300 and len(which) >= inside.sum()


def test_borders_between_classes():
    classes = np.zeros((10, 20), np.uint8)
    classes[:, 10:] = 3
    found = at_borders(classes, 2)
    assert found[:, 8:12].all() and not found[:, :8].any() and not found[:, 12:].any()


def test_teachers_vote_by_what_their_images_show(tmp_path):
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, : SIZE[1] // 2, 1], image[:, SIZE[1] // 2 :, 2] = 255, 255  # a car on the left, a wall on the right
    camera = CameraImage("front", image, INTRINSICS, CAMERA_FROM_GRID)
    points = np.array([[-3, 10.0, 0], [3, 10.0, 0], [0.1, 10.0, 0], [0, -10.0, 0], [-6, 20.0, 0]])
    frame = SensorFrame(0, np.column_stack([points, np.zeros(5)]).astype(np.float32), (camera,))
    teacher = Teacher(write_teacher(tmp_path / "teacher.onnx"))
    votes = of_teachers(frame, points, [teacher, teacher])
    assert votes.argmax(1)[:2].tolist() == [CAR, WALL] and votes[0, CAR] == pytest.approx(2, abs=0.01)
    assert 0 < votes[2].sum() < 0.5, "at the border the calibration decides"
    assert not votes[3].any() and not votes[4].any(), "behind the camera, and behind the first point"


def test_the_model_votes_by_its_confidence():
    grid = GridSpec()
    labels, sure = np.zeros(grid.size, np.uint8), np.zeros(grid.size, np.uint8)
    points = np.array([[1.1, 5.1, 0.1], [2.1, 5.1, 0.1], [3.1, 5.1, 0.1], [400.0, 0, 0]])
    index, _ = grid.indices(points)
    labels[tuple(index[0])], sure[tuple(index[0])] = CAR, 51
    labels[tuple(index[1])] = IGNORE
    votes = of_model(OccupancyGrid(grid, labels, 0, "grid", class_confidence=sure), points, 2.0)
    assert votes[0, CAR] == pytest.approx(0.4) and votes.sum() == pytest.approx(0.4)


def _voted(points: list, names: list, x: float = 0.0, weight: float = 1.0) -> VotedSweep:
    """Points of the map, seen from `x`, each voted for by one name (None: by nobody)."""
    votes = np.zeros((len(points), NUM_LABELS), np.float32)
    for row, name in enumerate(names):
        if name is not None:
            votes[row, name] = weight
    pose = np.eye(4)
    pose[0, 3] = x
    return VotedSweep(np.array(points, float) - [x, 0, 0], votes, pose)


def test_votes_add_up_over_time_in_the_map():
    wall, hidden, car = [0.1, 20.1, 0.1], [4.1, 20.1, 0.1], [8.1, 10.1, 0.1]
    sweeps = [
        _voted([wall, hidden], [WALL, None]),
        _voted([wall, hidden], [WALL, ROAD], x=3.3),
        _voted([wall, car], [CAR, CAR], x=6.7),
    ]
    first, second, third = elect(sweeps, sure=0.3)
    assert first.tolist() == [WALL, ROAD] and second.tolist() == [WALL, ROAD]
    assert third[1] == CAR, "where it has been alone, its own sweep speaks"
    assert elect(sweeps, sure=0.9)[2].tolist() == [IGNORE, CAR], "one against two is not certain"
    assert elect([]) == []


def test_returns_beside_each_other_in_a_sweep_support_each_other():
    door = [[0.25, 10.05, 0.25], [0.05, 10.05, 0.05], [0.05, 10.25, 0.05]]
    assert elect([_voted(door, [None, CAR, CAR])])[0].tolist() == [CAR, CAR, CAR]
    apart = [[5.25, 10.05, 0.25], [0.05, 10.05, 0.05]]
    assert elect([_voted(apart, [None, CAR])])[0].tolist() == [IGNORE, CAR]


def test_objects_are_groups_of_returns_that_touch():
    car = np.array([[x, 10.0, z] for x in np.arange(0, 4, 0.2) for z in (-1.0, -0.5)])
    other = car + [0, 6.0, 0]
    points = np.concatenate([car, other, car[:2] + [20, 0, 0], car + [0, 30, 0]])
    labels = np.r_[np.full(len(car) + len(other) + 2, CAR), np.full(len(car), WALL)].astype(np.uint8)
    boxes = sorted(objects(points, labels), key=lambda box: box.lidar_from_box[1, 3])
    assert len(boxes) == 2 and boxes[0].contains(car).all() and boxes[1].contains(other).all()
    assert not boxes[0].contains(other).any()


def test_a_moving_car_is_where_its_own_sweep_saw_it_and_what_it_hides_stays_unknown():
    side = [[x, 10.1, z] for x in np.arange(-1.9, 2, 0.2) for z in (0.1, 0.3)]
    rear = [[-1.9, y, 0.1] for y in np.arange(10.1, 12, 0.2)]
    house = [[x, 20.1, 0.1] for x in np.arange(-4.1, 4, 0.2)]
    now = _voted([*side, *rear], [CAR] * (len(side) + len(rear)))
    gone = _voted(house, [WALL] * len(house))
    sweeps = dict(zip(("now", "gone"), as_labeled([now, gone], elect([now, gone]), [np.zeros(3)] * 2)))
    truth, grid = aggregate(sweeps, "now", 1), GridSpec()

    def at(*point):
        index, _ = grid.indices(np.array([point]))
        return truth[tuple(index[0])]

    assert at(0.1, 10.1, 0.1) == CAR and at(0.1, 20.1, 0.1) == WALL
    assert at(0.1, 11.1, 0.1) == IGNORE, "rays of the other sweep passed when the car was elsewhere"
    assert at(0.1, 8.1, 0.1) == 0 and at(0.1, 15.1, 0.1) == 0
    before = aggregate(sweeps, "gone", 1)
    assert before[tuple(grid.indices(np.array([[0.1, 10.1, 0.1]]))[0][0])] != CAR
