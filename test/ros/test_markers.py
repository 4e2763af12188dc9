"""Boxes are, byte for byte, what the middleware writes for them, and fill what can be seen of a grid."""

import numpy as np
import pytest
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from helpers.exposed import exposed_by_definition
from helpers.grids import FRAMES, SPEC, STAMP_NS, random_grid, scatter, tint, tinted
from helpers.rig import LATCHED
from rclpy.duration import Duration
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, SemanticClass
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.ros.conversions.markers import marker_bytes
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels, x_fastest
from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene
from occfusion_ros.ros.without_ros.bag_reader import open_bag


def slow_boxes(grid: OccupancyGrid, label: int, longest: int) -> list[tuple[tuple[int, int, int], int]]:
    """Index of the first voxel and length of each box of a class, by plain loops."""
    boxes = []
    for x, y, z in scatter(grid, (label,)):
        if exposed_by_definition(grid.labels, (x, y, z)):
            (first, *row), length = boxes[-1] if boxes else ((0, 0, 0), 0)
            if boxes and row == [y, z] and first + length == x and length < longest:
                boxes[-1] = (first, y, z), length + 1
            else:
                boxes.append(((x, y, z), 1))
    return boxes


def slow_marker(
    grid: OccupancyGrid, c: SemanticClass, boxes: list, length: int, lifetime_s: float, colored: bool
) -> Marker:
    marker = Marker(
        header=header_from(STAMP_NS, grid.frame_id),
        ns=c.name,
        id=length,
        type=Marker.CUBE_LIST,
        pose=Pose(orientation=Quaternion(x=-(0.5**0.5), y=0.0, z=0.0, w=0.5**0.5)),
        scale=Vector3(x=length * 0.2, y=0.2, z=0.2),
        lifetime=Duration(seconds=lifetime_s).to_msg(),
        color=ColorRGBA(r=c.rgb[0] / 255, g=c.rgb[1] / 255, b=c.rgb[2] / 255, a=1.0),
    )
    for index, found in boxes:
        if found == length:
            x, y, z = SPEC.centers(np.array(index))
            marker.points.append(Point(x=x + (length - 1) * 0.1, y=-z, z=y))
            if colored:
                r, g, b = (float(np.float32(channel) / np.float32(255)) for channel in tint(grid, index))
                marker.colors.append(ColorRGBA(r=r, g=g, b=b, a=1.0))
    marker.action = Marker.ADD if marker.points else Marker.DELETE
    return marker


def slow_markers(grid: OccupancyGrid, lifetime_s: float, colored: bool) -> MarkerArray:
    of_class = {c: slow_boxes(grid, c.label, 1 if colored else 8) for c in OPENOCCUPANCY_CLASSES}
    each = [(c, boxes, length) for c, boxes in of_class.items() for length in range(1, 9)]
    return MarkerArray(markers=[slow_marker(grid, *one, lifetime_s, colored) for one in each])


@pytest.mark.parametrize("fill, lifetime_s, colored", [(0.0, 0.0, True), (0.05, 2.5, True), (0.9, 5.0, False)])
@pytest.mark.parametrize("frame_id", FRAMES)
def test_marker_bytes(assert_same_bytes, frame_id, fill, lifetime_s, colored):
    grid = random_grid(frame_id, fill)
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)
    header, colors = header_from(STAMP_NS, frame_id), tinted if colored else None
    assert_same_bytes(
        lambda: marker_bytes(header, voxels, OPENOCCUPANCY_CLASSES, 10**6, lifetime_s, colors),
        slow_markers(grid, lifetime_s, colored),
    )


def filled(markers: list[Marker], spec: GridSpec) -> np.ndarray:
    """(X, Y, Z) labels of what a viewer draws: boxes turned by the pose, as large as the scale, by RViz's rules."""
    labels = {each.name: each.label for each in OPENOCCUPANCY_CLASSES}
    seen = np.zeros(spec.size, np.uint8)
    assert len({(marker.ns, marker.id) for marker in markers}) == len(markers), "RViz shows one of each"
    for marker in (marker for marker in markers if marker.action == Marker.ADD):
        q, edges = marker.pose.orientation, (marker.scale.x, marker.scale.y, marker.scale.z)
        assert marker.points and len(marker.colors) in (0, len(marker.points)) and marker.color.a == 1
        assert min(edges) > 0 and abs(np.linalg.norm((q.x, q.y, q.z, q.w)) - 1) < 1e-3
        turn = turned_by((q.x, q.y, q.z, q.w))
        half = np.abs(turn @ edges) / 2
        for point in marker.points:
            center = turn @ (point.x, point.y, point.z)
            low, high = (np.round((center + sign * half - spec.low) / spec.voxel_size).astype(int) for sign in (-1, 1))
            block = seen[tuple(map(slice, low, high))]
            assert block.size == marker.id and not block.any()
            block[:] = labels[marker.ns]
    return seen


def test_boxes_fill_what_can_be_seen_and_nothing_else():
    labels = np.repeat(random_grid("lidar_top", 0.4).labels, 3, axis=0)[: SPEC.size[0]]
    grid, voxels = OccupancyGrid(SPEC, labels, STAMP_NS, "lidar_top"), OccupiedVoxels.of(labels, SPEC)
    data = marker_bytes(header_from(STAMP_NS, "lidar_top"), voxels, OPENOCCUPANCY_CLASSES, 10**6)
    seen = filled(deserialize_message(data, MarkerArray).markers, SPEC)
    expected = [
        index
        for index in np.ndindex(*SPEC.size)
        if labels[index] in range(1, 17) and exposed_by_definition(grid.labels, index)
    ]
    np.testing.assert_array_equal(np.argwhere(seen), expected)
    np.testing.assert_array_equal(seen[seen > 0], labels[seen > 0])


def test_a_real_bag_is_shown_as_it_is_answered(nuscenes_sample, tmp_path, start):
    convert_scene(NuScenesReader(nuscenes_sample), "nus-lidar-drive", tmp_path)
    with open_bag(tmp_path / "nus-lidar-drive") as bag:
        clouds = [connection for connection in bag.connections if connection.topic == "/lidar_top"]
        sweep = next(deserialize_message(data, PointCloud2) for _, _, data in bag.messages(clouds))
    rig = start(real=True, model="nano", intensity_max=255.0)
    markers = rig.listen(MarkerArray, "/occfusion/markers", LATCHED)
    rig.send("/lidar_top", sweep)
    rig.wait(lambda: markers and rig.occupancy, "the answer")
    answer = grid_from_message(rig.occupancy[0])
    seen, shown = OccupiedVoxels.of(answer.labels, answer.spec).exposed, filled(markers[0].markers, answer.spec)
    np.testing.assert_array_equal(np.flatnonzero(x_fastest(shown)), seen.flat)
    np.testing.assert_array_equal(x_fastest(shown)[seen.flat], seen.labels)
    assert len(seen.flat) > 50_000 > sum(len(marker.points) for marker in markers[0].markers)


def turned_by(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """(3, 3) of a unit quaternion x, y, z, w."""
    x, y, z, w = quaternion
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * (w * cross + cross @ cross)


def test_tops_are_what_rviz_shows_brightest():
    """Its shader gives the face towards -y of a marker's own axes the full color, and that towards -z 0.9 of it."""
    grid = random_grid("lidar_top", 0.05)
    data = marker_bytes(header_from(0, ""), OccupiedVoxels.of(grid.labels, SPEC), OPENOCCUPANCY_CLASSES, 10**6)
    for marker in deserialize_message(data, MarkerArray).markers:
        q = marker.pose.orientation
        turn = turned_by((q.x, q.y, q.z, q.w))
        np.testing.assert_allclose(turn @ (0, -1, 0), (0, 0, 1), atol=1e-12)  # up
        np.testing.assert_allclose(turn @ (0, 0, -1), (0, -1, 0), atol=1e-12)  # backwards


def test_markers_keep_the_nearest_boxes():
    grid = random_grid("lidar_top", 0.1)
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)

    def distances(max_boxes):
        data = marker_bytes(header_from(STAMP_NS, "lidar_top"), voxels, OPENOCCUPANCY_CLASSES, max_boxes)
        points = [p for m in deserialize_message(data, MarkerArray).markers for p in m.points]
        return sorted((p.x**2 + p.y**2 + p.z**2) for p in points)

    np.testing.assert_allclose(distances(50), distances(10**6)[:50])
