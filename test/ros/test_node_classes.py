"""The node in this process: classes as a file wants them, in all outputs."""

from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.rig import LATCHED, NOW, SPEC, VoxelPipeline, values
from helpers.ros_messages import cloud
from nav_msgs.msg import OccupancyGrid as OccupancyGridMsg
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from occfusion_msgs.msg import SemanticClasses
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import IGNORE, OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.node.classes_file import read_classes

CONFIG = Path(__file__).parents[2] / "config"
POINTS = np.array([[1.0, 0, 0, 1]])
TREE, BUS, TRUCK, ROAD = int(Label.VEGETATION), int(Label.BUS), int(Label.TRUCK), int(Label.DRIVEABLE_SURFACE)


class Street(VoxelPipeline):
    """A sidewalk with a bus and a truck on it, and a tree whose crown fills a block."""

    def _grid(self, frame: SensorFrame) -> OccupancyGrid:
        labels = np.zeros(SPEC.size, np.uint8)
        labels[:, :, 2] = Label.SIDEWALK
        labels[10, 10, 3:8], labels[20, 20, 3:8], labels[40:48, 40:48, 4:12] = BUS, TRUCK, TREE
        return OccupancyGrid(SPEC, labels, frame.stamp_ns, frame.frame_id, model_id="street")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "classes.yaml"
    path.write_text(
        "bus: {into: truck}\nvegetation: {drop: true}\nsidewalk: {name: pavement}\ntruck: {color: [9, 8, 7]}\n"
    )
    return path


def test_all_outputs_have_the_classes_that_the_file_wants(start, file):
    rig = start(Street(), classes_file=str(file), fixed_frame="odom", class_costs=["pavement:30"])
    topics = {
        "classes": SemanticClasses,
        "markers": MarkerArray,
        "points": PointCloud2,
        "unknown": PointCloud2,
        "obstacles": PointCloud2,
        "costmap": OccupancyGridMsg,
        "from_above/mask": Image,
    }
    got = {name: rig.listen(kind, f"/occfusion/{name}", LATCHED) for name, kind in topics.items()}
    rig.send_transform("odom", "lidar_top", stamp_ns=NOW)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    answer = grid_from_message(rig.wait_for_occupancy(1))
    rig.wait(lambda: all(got.values()), "all of them")
    assert set(np.unique(answer.labels)) == {0, int(Label.SIDEWALK), TRUCK, IGNORE}
    assert (answer.labels == IGNORE).sum() == 8**3 and (answer.labels == TRUCK).sum() == 10
    table = got["classes"][0]
    color = table.colors[list(table.ids).index(TRUCK)]
    assert [round(255 * channel) for channel in (color.r, color.g, color.b)] == [9, 8, 7]
    assert "pavement" in table.names and not {"bus", "vegetation", "sidewalk"} & set(table.names)
    shown = {marker.ns for marker in got["markers"][0].markers if marker.action == Marker.ADD}
    assert shown == {"truck", "pavement"}
    points = np.frombuffer(got["points"][0].data, np.uint32).reshape(-1, 5)
    assert {tuple(row) for row in points[:, 3:] if row[1] == TRUCK} == {(0x090807, TRUCK)}
    assert set(points[:, 4]) == {TRUCK, int(Label.SIDEWALK)}
    assert got["unknown"][0].width == 8, "blocks of what is dropped"
    assert got["obstacles"][0].width == 2 * 4 and set(got["costmap"][0].data) == {30, 100}
    assert set(got["from_above/mask"][0].data) == {int(Label.SIDEWALK), TRUCK}
    told = values(rig.wait_for_status("model", DiagnosticStatus.OK))["classes"].split(", ")
    assert told == list(table.names) and len(told) == 14


def test_a_file_that_cannot_be_used_is_refused_with_a_reason(start, tmp_path):
    path = tmp_path / "classes.yaml"
    rig = start(autostart=False, classes_file=str(path))
    for text, reason in (
        (None, "No such file"),
        ("a: [", "while parsing"),
        ("", "expected what is to become of classes by their names, got None"),
        ("bus: {into: lorry}", "bus: expected into: one of barrier"),
    ):
        if text is not None:
            path.write_text(text)
        assert not rig.node.start()
        assert f"classes_file: cannot use {path}: " in rig.node.failure and reason in rig.node.failure
    path.write_text("bus: {into: truck}")
    assert rig.node.start()
    (result,) = rig.node.set_parameters([Parameter("classes_file", value="")])
    assert not result.successful, "not while the node is configured"


def test_the_example_that_ships_is_for_the_shipped_classes():
    relabeling = read_classes(str(CONFIG / "classes.yaml"), OPENOCCUPANCY_CLASSES)
    assert len(relabeling.classes) == 13 and relabeling.label_of[TREE] == IGNORE
