"""The node in this process: what it tells planners, and that nothing of it costs anything while nobody listens."""

import numpy as np
import pytest
from helpers.rig import LATCHED, NOW, SPEC, S, VoxelPipeline
from helpers.ros_messages import cloud
from nav_msgs.msg import OccupancyGrid as OccupancyGridMsg
from sensor_msgs.msg import Image, PointCloud2

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import Label
from occfusion_ros.ros.bringup.processes import OF_AUTOWARE
from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.node import forms
from occfusion_ros.ros.node.parameters import NodeParameters, ParameterError

POINTS = np.array([[1.0, 0, 0, 1]])
LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # a quarter turn


class Street(VoxelPipeline):
    """A road, a wall at its right, a branch over it."""

    def _grid(self, frame: SensorFrame) -> OccupancyGrid:
        labels = np.zeros(SPEC.size, np.uint8)
        labels[:, 10:50, 2] = Label.DRIVEABLE_SURFACE
        labels[50, 10:50, 3:9] = Label.MANMADE
        labels[30, 30, 15] = Label.VEGETATION
        return OccupancyGrid(SPEC, labels, frame.stamp_ns, frame.frame_id, model_id="street")


@pytest.fixture
def street(start):
    def begin(**parameters):
        return start(Street(), **parameters)

    return begin


def drive(rig, shift=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0, 1.0)) -> None:
    rig.send_transform("odom", "lidar_top", shift, turn, stamp_ns=NOW)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)


def test_planners_get_what_blocks_and_what_it_costs(street):
    rig = street(fixed_frame="odom", obstacle_band_m=[0.3, 2.2], costmap_bands=["high:2.2:3.0"])
    topics = {
        "obstacles": PointCloud2,
        "costmap": OccupancyGridMsg,
        "costmap/high": OccupancyGridMsg,
        "from_above/mask": Image,
        "from_above/points": PointCloud2,
        "from_above/confidence": Image,
    }
    got = {name: rig.listen(kind, f"/occfusion/{name}", LATCHED) for name, kind in topics.items()}
    drive(rig, (10.0, 4.0, 0.0), LEFT)
    rig.wait(lambda: all(got.values()), "all of them")
    assert all(stamp_ns(messages[0].header) == NOW for messages in got.values())
    assert {name: messages[0].header.frame_id for name, messages in got.items()} == {
        name: "odom" if name.startswith("costmap") else "lidar_top" for name in topics
    }
    assert got["obstacles"][0].width == 40 * 5, "the wall, but for its foot"
    cells, high = (as_array(got[name][0]) for name in ("costmap", "costmap/high"))
    info = got["costmap"][0].info

    def at(array, x, y):
        """The cell of a place in the grid's frame, which is turned to the left."""
        place = (10.0 - y - info.origin.position.x, 4.0 + x - info.origin.position.y)
        return array[int(place[1] // info.resolution), int(place[0] // info.resolution)]

    wall, branch, road = SPEC.centers(np.array([[50, 30, 4], [30, 30, 15], [20, 20, 2]]))
    assert at(cells, *wall[:2]) == 100 and at(cells, *branch[:2]) == 0 and at(cells, *road[:2]) == 0
    assert at(high, *wall[:2]) == 0 and at(high, *branch[:2]) == 100
    assert at(cells, 0.1, 6.3) == -1 and set(np.unique(cells)) == {-1, 0, 100}
    mask = np.frombuffer(got["from_above/mask"][0].data, np.uint8).reshape(SPEC.size[:2])
    assert mask[50, 30] == Label.MANMADE and mask[30, 30] == Label.DRIVEABLE_SURFACE and mask[0, 0] == 255


def test_autoware_finds_all_of_it_under_its_own_names(street):
    remaps = [f"{source}:={target}" for source, target in OF_AUTOWARE]
    rig = street(fixed_frame="odom", obstacle_band_m=[0.3, 2.2], costmap_unknown=50, remaps=remaps)
    obstacles, segmentation, costmap = (
        rig.listen(kind, target, LATCHED)
        for kind, (_, target) in zip((PointCloud2, PointCloud2, OccupancyGridMsg), OF_AUTOWARE)
    )
    drive(rig)
    rig.wait(lambda: obstacles and segmentation and costmap, "all of them")
    assert segmentation[0].width == 64 * 40 + 40 * 6 + 1 and segmentation[0].point_step == 24
    assert obstacles[0].width == 40 * 5 and set(costmap[0].data) == {0, 50, 100}
    assert stamp_ns(segmentation[0].header) == NOW and segmentation[0].header.frame_id == "lidar_top"


def as_array(message: OccupancyGridMsg) -> np.ndarray:
    return np.array(message.data, np.int8).reshape(message.info.height, message.info.width)


def test_nothing_is_computed_that_nobody_listens_to(street, monkeypatch):
    monkeypatch.setattr(forms.Surface, "of", lambda *_: pytest.fail("the surface was computed"))
    rig = street(fixed_frame="odom")
    drive(rig)
    assert not rig.faults()


def test_without_a_pose_there_is_no_costmap_and_all_else(street):
    rig = street(fixed_frame="odom", max_wait_s=0.05, deskew=False)
    costmaps = rig.listen(OccupancyGridMsg, "/occfusion/costmap", LATCHED)
    obstacles = rig.listen(PointCloud2, "/occfusion/obstacles", LATCHED)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    rig.wait_for_fault("costmap transform")
    rig.wait(lambda: obstacles, "what needs no pose")
    assert not costmaps
    rig.send_transform("odom", "lidar_top", stamp_ns=NOW + S)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + S))
    rig.wait(lambda: costmaps, "a costmap once there is a pose")
    assert stamp_ns(costmaps[0].header) == NOW + S


def test_without_a_fixed_frame_there_is_no_topic_of_a_costmap(street):
    rig = street(costmap_bands=["high:2:3"])
    names = {name for name, _ in rig.node.get_topic_names_and_types()}
    assert "/occfusion/obstacles" in names and not any("costmap" in name for name in names)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"obstacle_band_m": (2.0, 1.0)}, "obstacle_band_m: expected two heights"),
        ({"obstacle_band_m": (0.3,)}, "obstacle_band_m: expected two heights"),
        ({"costmap_bands": ("high:2",)}, "costmap_bands: expected two heights"),
        ({"costmap_bands": ("a/b:2:3",)}, "costmap_bands: expected different names"),
        ({"costmap_bands": ("a:2:3", "a:3:4")}, "costmap_bands: expected different names"),
        ({"costmap_bands": ("a:nan:4",)}, "costmap_bands: expected two heights"),
        ({"class_costs": ("car:101",)}, "class_costs: expected name:cost"),
        ({"class_costs": ("car",)}, "class_costs: expected name:cost"),
    ],
)
def test_what_makes_no_sense_is_refused(values, error):
    with pytest.raises(ParameterError, match=error):
        NodeParameters(**values)


def test_costs_are_those_of_the_classes_that_there_are(caplog):
    passable = forms.passable_of(
        NodeParameters(class_costs=("terrain:80", "vegetation:30", "elephant:5")), VoxelPipeline.contract.classes
    )
    assert passable.costs[[Label.TERRAIN, Label.VEGETATION, Label.CAR, Label.SIDEWALK]].tolist() == [80, 30, 100, 0]
    assert "elephant" in caplog.text
