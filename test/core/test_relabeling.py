"""Classes merged, dropped, renamed and recolored."""

import numpy as np
import pytest

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.core.relabeling import Relabeling, RelabelingError

SPEC = GridSpec((0.0, 0.0, 0.0), 1.0, (6, 1, 1))
BUS, TRUCK, TREE, CAR = int(Label.BUS), int(Label.TRUCK), int(Label.VEGETATION), int(Label.CAR)
LABELS = np.array([0, IGNORE, BUS, TRUCK, TREE, CAR], np.uint8).reshape(SPEC.size)
TABLE = {"bus": {"into": "truck"}, "vegetation": {"drop": True}, "car": {"name": "auto", "color": [1, 2, 3]}}


def grid(**more: np.ndarray) -> OccupancyGrid:
    return OccupancyGrid(SPEC, LABELS, 1, "lidar_top", **more)


def test_classes_that_stay_keep_their_labels():
    relabeling = Relabeling.of(OPENOCCUPANCY_CLASSES, TABLE)
    by_label = {each.label: (each.name, each.rgb) for each in relabeling.classes}
    before = {each.label: (each.name, each.rgb) for each in OPENOCCUPANCY_CLASSES if each.label not in (BUS, TREE)}
    assert by_label == {**before, CAR: ("auto", (1, 2, 3))}
    assert relabeling(grid()).labels.ravel().tolist() == [0, IGNORE, TRUCK, TRUCK, IGNORE, CAR]


def test_of_what_is_dropped_nothing_is_known_and_the_rest_stays_as_sure_as_it_was():
    sure = np.array([0, 0, 10, 0, 30, 40], np.uint8).reshape(SPEC.size)
    answer = Relabeling.of(OPENOCCUPANCY_CLASSES, TABLE)(
        grid(occupancy=sure, class_confidence=sure // 2, remembered=np.array([3, 4]))
    )
    assert answer.occupancy.ravel().tolist() == [0, 0, 10, 0, 0, 40]
    assert answer.class_confidence.ravel().tolist() == [0, 0, 5, 0, 0, 20]
    assert answer.remembered.tolist() == [3], "the other one is dropped"


def test_without_a_change_the_grid_is_the_same():
    given = grid()
    relabeling = Relabeling.of(OPENOCCUPANCY_CLASSES, {})
    assert relabeling(given) is given and relabeling.classes == OPENOCCUPANCY_CLASSES
    assert Relabeling.of(OPENOCCUPANCY_CLASSES, {"car": {"name": "auto"}})(given) is given


def test_names_may_be_exchanged():
    relabeling = Relabeling.of(OPENOCCUPANCY_CLASSES, {"car": {"name": "bus"}, "bus": {"name": "car"}})
    names = {each.label: each.name for each in relabeling.classes}
    assert (names[CAR], names[BUS]) == ("bus", "car")


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (None, "expected what is to become of classes by their names, got None"),
        (["bus"], "expected what is to become of classes by their names"),
        ({"lorry": {"into": "truck"}}, "expected one of the model's classes, barrier, .*, got 'lorry'"),
        ({4: {"drop": True}}, "expected one of the model's classes, .*, got 4"),
        ({"bus": None}, "bus: expected into, drop, name or color with a value, got None"),
        ({"bus": {}}, "bus: expected into, drop, name or color with a value"),
        ({"bus": {"merge": "truck"}}, "bus: expected into, drop, name or color with a value"),
        ({"bus": {"into": "lorry"}}, "bus: expected into: one of barrier, .*, got 'lorry'"),
        ({"bus": {"into": ["truck"]}}, "bus: expected into: one of barrier"),
        ({"bus": {"into": "bus"}}, "bus: expected into: a class that stays, got bus"),
        ({"bus": {"into": "truck"}, "truck": {"into": "bus"}}, "bus: expected into: a class that stays, got truck"),
        ({"bus": {"into": "truck"}, "truck": {"drop": True}}, "bus: expected into: a class that stays, got truck"),
        ({"bus": {"into": "truck", "name": "b"}}, "bus: expected into and drop to stand alone"),
        ({"bus": {"drop": False}}, "bus: expected drop: true, got False"),
        ({"bus": {"name": "my bus"}}, "bus: expected name: letters, digits and _, got 'my bus'"),
        ({"bus": {"name": "car"}}, "expected different names, got car twice"),
        ({"bus": {"color": [1, 2]}}, "bus: expected color: red, green and blue from 0 to 255, got \\[1, 2\\]"),
        ({"bus": {"color": [1, 2, 256]}}, "bus: expected color"),
        ({"bus": {"color": [1.0, 2, 3]}}, "bus: expected color"),
        ({"bus": {"color": "red"}}, "bus: expected color"),
        ({each.name: {"drop": True} for each in OPENOCCUPANCY_CLASSES}, "expected at least one class to stay"),
    ],
)
def test_what_cannot_be_done_is_refused(table, error):
    with pytest.raises(RelabelingError, match=error):
        Relabeling.of(OPENOCCUPANCY_CLASSES, table)
