"""Messages for planners, read by the rules of those who read them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from nav_msgs.msg import OccupancyGrid as OccupancyGridMsg
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2
from std_msgs import msg as std_msgs

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import FLAT_GROUND, IGNORE, OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.planning.costmap import Costmap
from occfusion_ros.planning.surface import Passable, Surface, costs, obstacles
from occfusion_ros.ros.conversions import planning
from occfusion_ros.ros.conversions.stamps import header_from

SPEC = GridSpec((-3.0, -2.0, -1.0), 0.2, (30, 20, 15))
HEADER = header_from(1_532_402_927_647_951_000, "lidar_top")
ROAD, CAR = int(Label.DRIVEABLE_SURFACE), int(Label.CAR)
BY_LABEL = np.full(256, 100, np.uint8)
BY_LABEL[[0, IGNORE, *FLAT_GROUND]] = 0
PASSABLE = Passable(0.3, 0.4, (0.2, 1.6), BY_LABEL)


@pytest.fixture
def scene():
    """A road with a gap, on which a car stands, that a sign reaches over."""
    labels = np.zeros(SPEC.size, np.uint8)
    labels[5:, :, 2] = ROAD
    labels[10:16, 5:9, 3:8] = CAR
    labels[20, 10, 14] = int(Label.MANMADE)  # above the band
    surface = Surface.of(labels, SPEC)
    return labels, surface, obstacles(surface, PASSABLE)


def xyz(message: PointCloud2) -> np.ndarray:
    """Read as nav2_costmap_2d's observation buffer does, by the offsets of the fields."""
    offsets = {field.name: field.offset for field in message.fields}
    assert all(field.datatype == 7 and field.count == 1 for field in message.fields) and not message.is_bigendian
    assert len(message.data) == message.height * message.row_step and message.row_step == message.width * 12
    kind = np.dtype(
        {"names": list("xyz"), "formats": ["<f4"] * 3, "offsets": [offsets[k] for k in "xyz"], "itemsize": 12}
    )
    points = np.frombuffer(message.data, kind)
    return np.stack([points[k] for k in "xyz"], axis=1)


def test_obstacles_are_the_centers_of_voxels_that_block(scene):
    _, _, blocking = scene
    message = deserialize_message(planning.obstacle_bytes(HEADER, blocking, SPEC), PointCloud2)
    assert message.header == HEADER and message.is_dense and message.height == 1
    found, inside = SPEC.indices(xyz(message))
    assert inside.all() and set(map(tuple, found)) == {
        (x, y, z) for x in range(10, 16) for y in range(5, 9) for z in range(4, 8)
    }
    assert deserialize_message(planning.obstacle_bytes(HEADER, blocking[:0], SPEC), PointCloud2).width == 0


def test_a_costmap_is_what_the_static_layer_reads():
    cells = np.array([[-1, 0, 100], [50, 0, -1]], np.int8)
    costmap = Costmap(cells, 0.2, (-7.4, 12.0, -1.8))
    written = planning.costmap_bytes(HEADER, costmap)
    message = deserialize_message(written, OccupancyGridMsg)
    assert len(serialize_message(message)) == len(written)
    assert (message.info.width, message.info.height, message.header) == (3, 2, HEADER)
    assert message.info.resolution == pytest.approx(0.2) and message.info.map_load_time == HEADER.stamp
    origin = message.info.origin
    assert (origin.position.x, origin.position.y, origin.position.z) == (-7.4, 12.0, -1.8)
    assert (origin.orientation.x, origin.orientation.y, origin.orientation.z, origin.orientation.w) == (0, 0, 0, 1)
    assert message.data[1 * message.info.width + 0] == 50, "x runs fastest"
    assert all(value == -1 or 0 <= value <= 100 for value in message.data)
    told = deserialize_message(planning.costmap_bytes(HEADER, costmap, unknown=50), OccupancyGridMsg)
    assert list(told.data) == [50, 0, 100, 50, 0, 50]


def test_the_mask_and_its_cloud_are_read_in_step(scene):
    """As semantic_segmentation_layer does: pixel i of the mask belongs to point i of a cloud of as many points."""
    labels, surface, blocking = scene
    level, names = planning.seen_from_above(surface, blocking)
    mask = deserialize_message(planning.mask_bytes(HEADER, names), Image)
    points = deserialize_message(planning.column_cloud_bytes(HEADER, level, SPEC), PointCloud2)
    assert (mask.encoding, mask.step, len(mask.data)) == ("mono8", mask.width, mask.height * mask.width)
    assert (points.height, points.width) == (mask.height, mask.width) and not points.is_dense
    classes, places = np.frombuffer(mask.data, np.uint8), xyz(points)
    seen = np.isfinite(places[:, 2])
    assert (classes[~seen] == IGNORE).all() and seen.sum() == 25 * 20
    voxels, inside = SPEC.indices(places[seen] - [0, 0, 0.1])  # from the tops into the voxels
    assert inside.all() and (labels[tuple(voxels.T)] == classes[seen]).all()
    assert (classes == CAR).sum() == 6 * 4 and (classes == ROAD).sum() == 25 * 20 - 6 * 4
    assert places[seen][classes[seen] == CAR][:, 2] == pytest.approx(-1.0 + 8 * 0.2)


def test_confidence_of_the_mask_is_that_of_the_label_that_is_seen(scene):
    labels, surface, blocking = scene
    level, _ = planning.seen_from_above(surface, blocking)
    grid = OccupancyGrid(SPEC, labels, 1, "lidar_top")
    assert set(planning.confidence_of(grid, level)[level >= 0]) == {255}
    sure = np.where(labels == CAR, 204, 102).astype(np.uint8)
    grid = OccupancyGrid(
        SPEC, labels, 1, "lidar_top", occupancy=sure, class_confidence=np.full(SPEC.size, 128, np.uint8)
    )
    found = planning.confidence_of(grid, level)
    assert found[12, 6] == 204 * 128 // 255 and found[20, 3] == 102 * 128 // 255 and found[0, 0] == 0


def test_label_info_names_every_class():
    kinds = SimpleNamespace(VisionClass=SimpleNamespace, LabelInfo=SimpleNamespace)
    info = planning.label_info(kinds, HEADER, OPENOCCUPANCY_CLASSES)
    assert {each.class_id: each.class_name for each in info.class_map}[CAR] == "car" and len(info.class_map) == 16


def test_a_grid_map_begins_at_the_far_corner(scene):
    """Layers are column-major, and index (0, 0) has the greatest x and y, as in grid_map_core."""
    _, surface, blocking = scene
    kinds = SimpleNamespace(
        GridMap=lambda **given: SimpleNamespace(
            info=SimpleNamespace(pose=SimpleNamespace(position=SimpleNamespace(), orientation=SimpleNamespace())),
            data=[],
            **given,
        )
    )
    message = planning.height_map(kinds, std_msgs, HEADER, surface, costs(surface, blocking, PASSABLE))
    assert message.layers == ["elevation", "cost"] and (message.info.length_x, message.info.length_y) == (6.0, 4.0)
    assert message.info.pose.position.x == pytest.approx(0.0)
    (elevation, cost), (rows, columns) = message.data, SPEC.size[:2]
    assert [each.label for each in elevation.layout.dim] == ["column_index", "row_index"]
    assert [each.size for each in elevation.layout.dim] == [columns, rows]

    def at(layer, x, y):
        row, column = rows - 1 - x, columns - 1 - y
        return layer.data[column * rows + row]

    assert at(elevation, 20, 3) == pytest.approx(-0.4) and np.isnan(at(elevation, 0, 3))
    assert at(cost, 12, 6) == 100 and at(cost, 20, 3) == 0 and np.isnan(at(cost, 0, 0))


def interpreted(value: int, lethal_cost_threshold: int, trinary_costmap: bool, unknown_cost_value: int) -> int:
    """As nav2_costmap_2d's static layer interprets a cell: 255 no information, 254 lethal, 253 inscribed, 0 free."""
    value %= 256  # it reads int8 as unsigned
    if value == unknown_cost_value:
        return 255
    if value == 99:
        return 253
    if value >= lethal_cost_threshold:
        return 254
    return 0 if trinary_costmap else int(value / lethal_cost_threshold * 254)


PARAMETERS_FILE = Path(__file__).parents[2] / "config/nav2_params.yaml"
# What nav2_costmap_2d of August 2026 declares: the costmap, its layers and a source of observations.
OF_COSTMAP = """global_frame rolling_window width height resolution track_unknown_space trinary_costmap plugins
    lethal_cost_threshold unknown_cost_value"""
OF_LAYER = """plugin enabled map_topic map_subscribe_transient_local subscribe_to_updates min_obstacle_height
    max_obstacle_height combination_method observation_sources cost_scaling_factor inflation_radius"""
OF_SOURCE = """topic data_type marking clearing min_obstacle_height max_obstacle_height obstacle_max_range
    obstacle_min_range raytrace_max_range raytrace_min_range expected_update_rate sensor_frame"""


def test_the_parameters_for_nav2_are_known_to_it_and_keep_what_costs_mean():
    costmap = yaml.safe_load(PARAMETERS_FILE.read_text())["local_costmap"]["local_costmap"]["ros__parameters"]
    layers = {name: costmap.pop(name) for name in list(costmap["plugins"])}
    assert set(costmap) <= set(OF_COSTMAP.split())
    sources = {
        name: layers["obstacle_layer"].pop(name) for name in layers["obstacle_layer"]["observation_sources"].split()
    }
    for layer in layers.values():
        assert set(layer) <= set(OF_LAYER.split())
    for source in sources.values():
        assert set(source) <= set(OF_SOURCE.split())
    assert {name for name, source in sources.items() if source["clearing"]} == {"lidar"}
    rules = {name: costmap[name] for name in ("lethal_cost_threshold", "trinary_costmap", "unknown_cost_value")}
    assert [interpreted(cost, **rules) for cost in (-1, 0, 50, 98, 100)] == [255, 0, 127, 248, 254]
    topics = {layers["occupancy_layer"]["map_topic"], *(source["topic"] for source in sources.values())}
    assert topics == {"/occfusion/costmap", "/occfusion/obstacles", "/lidar_top"}
