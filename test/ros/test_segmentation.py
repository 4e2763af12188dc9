"""Points in Autoware's layout, read by the rules of those who read them."""

import struct

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.conversions.segmentation import CLASS_IDS, segmentation_bytes
from occfusion_ros.ros.conversions.stamps import header_from

SPEC = GridSpec((-3.0, -2.0, -1.0), 0.2, (30, 20, 15))
HEADER = header_from(1_532_402_927_647_951_000, "lidar_top")
FLOAT32, UINT8 = 7, 2
LAYOUT = [
    ("x", 0, FLOAT32, 1),
    ("y", 4, FLOAT32, 1),
    ("z", 8, FLOAT32, 1),
    ("class_id", 12, UINT8, 1),
    ("probability", 16, FLOAT32, 1),
    ("entropy", 20, FLOAT32, 1),
]
"""What autoware_point_types of August 2026 compares the fields with, in this order."""
OBJECTS = {
    0: {Label.CAR},
    1: {Label.TRUCK, Label.TRAILER, Label.CONSTRUCTION_VEHICLE},
    2: {Label.BUS},
    3: {Label.MOTORCYCLE},
    4: {Label.BICYCLE},
    5: {Label.PEDESTRIAN},
    7: {Label.TRAFFIC_CONE},
}
"""Ids that label_based_euclidean_cluster makes objects of; 6, animals, has no class here."""
BACKGROUND = {8, 9, 10, 11, 255}


def accepted(message: PointCloud2) -> list[tuple]:
    """Points as label_based_euclidean_cluster accepts them: of exactly this layout, densely packed."""
    assert [(field.name, field.offset, field.datatype, field.count) for field in message.fields] == LAYOUT
    assert message.point_step == 24 and message.row_step == 24 * message.width and not message.is_bigendian
    assert len(message.data) == 24 * message.width * message.height
    return list(struct.iter_unpack("<fffB3xff", bytes(message.data)))


def sent(labels: np.ndarray, **more: np.ndarray) -> list[tuple]:
    grid = OccupancyGrid(SPEC, labels, 1, "lidar_top", **more)
    return accepted(deserialize_message(segmentation_bytes(HEADER, OccupiedVoxels.of(labels, SPEC), grid), PointCloud2))


@pytest.fixture
def labels() -> np.ndarray:
    """Two voxels of each class along x, the second one at y = 5, and one of an unknown class; the rest unknown."""
    found = np.full(SPEC.size, IGNORE, np.uint8)
    for label in Label:
        found[label, [3, 5], 7] = label
    found[20, 3, 7] = 77
    return found


def test_the_clusterer_accepts_every_voxel_with_its_place(labels):
    message = deserialize_message(
        segmentation_bytes(HEADER, OccupiedVoxels.of(labels, SPEC), OccupancyGrid(SPEC, labels, 1, "lidar_top")),
        PointCloud2,
    )
    points = accepted(message)
    assert len(points) == 2 * 16 + 1 and message.header == HEADER and message.is_dense
    voxels, inside = SPEC.indices(np.array([point[:3] for point in points]))
    assert inside.all() and len(set(map(tuple, voxels))) == len(points)
    for voxel, (*_, class_id, _, _) in zip(voxels, points):
        assert class_id == CLASS_IDS.get(labels[tuple(voxel)], 255)


def test_objects_are_clustered_and_the_background_is_not():
    assert set(CLASS_IDS) == set(Label)
    for class_id, members in OBJECTS.items():
        assert {label for label, found in CLASS_IDS.items() if found == class_id} == members
    assert {CLASS_IDS[label] for label in set(Label) - set().union(*OBJECTS.values())} <= BACKGROUND


def test_what_is_not_known_is_nan_and_what_is_known_is_a_probability(labels):
    assert all(np.isnan(point[4:]).all() for point in sent(labels))
    occupancy = np.where(labels == IGNORE, 0, 204).astype(np.uint8)
    occupancy[:, 5] = 0  # remembered
    points = sent(labels, occupancy=occupancy, class_confidence=np.where(occupancy, 255, 0).astype(np.uint8))
    remembered = [point for point in points if SPEC.indices(np.array([point[:3]]))[0][0, 1] == 5]
    assert len(remembered) == 16 and all(np.isnan(point[4:]).all() for point in remembered)
    seen = [point for point in points if point not in remembered]
    assert len(seen) == 17 and all(point[4:] == pytest.approx((0.8, 0.0), abs=1e-5) for point in seen)
    unsure = sent(labels, occupancy=np.maximum(occupancy, 1), class_confidence=np.full(SPEC.size, 64, np.uint8))
    assert all(0 < point[4] < 0.21 and 1.0 < point[5] < np.log(16) for point in unsure)


def test_no_voxels_are_no_points():
    assert sent(np.zeros(SPEC.size, np.uint8)) == []
