"""`~/voxel_grid` by Foxglove's own definition of its message, which is not among those of the Python wheels."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers.foxglove_file import voxel_grid
from helpers.rig import LATCHED, NOW, POINTS, SPEC, S
from helpers.ros_messages import cloud
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import PointCloud2

from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.cells import cells_of
from occfusion_ros.ros.conversions.coloring import class_colors
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.conversions.stamps import header_from
from occfusion_ros.ros.conversions.voxel_grid import voxel_grid_bytes
from occfusion_ros.ros.node import forms
from occfusion_ros.ros.node.parameters import NodeParameters

# The fields of foxglove_msgs of August 2026; until August 2025 the message had other strides.
KIND = "foxglove_msgs/msg/VoxelGrid"
DEFINITIONS = {
    "foxglove_msgs/msg/PackedElementField": """
        string name
        uint32 offset
        uint8 UINT8=1
        uint8 type""",
    KIND: """
        builtin_interfaces/Time timestamp
        string frame_id
        geometry_msgs/Pose pose
        uint32 row_count
        uint32 column_count
        geometry_msgs/Vector3 cell_size
        uint32 slice_stride
        uint32 row_stride
        uint32 cell_stride
        foxglove_msgs/PackedElementField[] fields
        uint8[] data""",
}


class StandIn(PointCloud2):
    """A type that the middleware knows, with a field by which the current definition is told."""

    slice_stride = 0


COLORS = class_colors(OPENOCCUPANCY_CLASSES)


@pytest.fixture(scope="module")
def foxglove():
    """All that reads the message: rosbags with its definition."""
    store = get_typestore(Stores.LATEST)
    for name, text in DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    return store


@pytest.mark.parametrize("frame_id", ["", "map", "lidar_top"])  # fields are aligned by what comes before them
@pytest.mark.parametrize("merge", [1, 2])
def test_cells_are_read_as_foxglove_reads_them(foxglove, frame_id, merge):
    spec = GridSpec((-2.0, 1.5, -0.6), 0.2, (14, 9, 6))
    labels = np.random.default_rng(merge).choice([0, 3, 4, 255], spec.size, p=[0.5, 0.2, 0.1, 0.2]).astype(np.uint8)
    voxels = OccupiedVoxels.of(labels, spec)
    cells = cells_of(voxels, COLORS[voxels.labels], merge=merge)
    data = voxel_grid_bytes(header_from(NOW, frame_id), cells)
    message = foxglove.deserialize_cdr(data, KIND)
    assert data == bytes(foxglove.serialize_cdr(message, KIND))
    assert (message.timestamp.sec, message.timestamp.nanosec, message.frame_id) == (*divmod(NOW, S), frame_id)
    read, labels_read, colors_read = voxel_grid(message)
    assert read == cells.spec and {field.type for field in message.fields} == {1}
    assert (labels_read == cells.values[..., 4].transpose(2, 1, 0)).all()
    assert (colors_read == cells.values[..., :4].transpose(2, 1, 0, 3)).all()
    if merge == 1:
        occupied = (labels > 0) & (labels < 255)
        assert read == spec and (labels_read == labels).all()
        assert (colors_read[..., :3] == np.where(occupied[..., None], COLORS[labels], 0)).all()
        assert (colors_read[..., 3] == 255 * occupied).all()


def test_a_node_publishes_what_its_parameters_ask_for(start, foxglove, monkeypatch):
    made, original = [], forms.cells_of
    monkeypatch.setattr(forms, "cells_of", lambda *given: made.append(given) or original(*given))
    kinds = {"foxglove_msgs.msg": SimpleNamespace(VoxelGrid=StandIn)}
    monkeypatch.setattr(forms, "installed", kinds.get)
    rig = start(voxel_grid_merge=1, voxel_grid_range_m=3.2)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    rig.wait_for_occupancy(1)
    assert not made, "nobody listened"
    heard: list[bytes] = []
    rig.vehicle.create_subscription(PointCloud2, "/occfusion/voxel_grid", heard.append, LATCHED, raw=True)
    rig.wait(lambda: heard, "the grid that was published before")
    read, labels, _ = voxel_grid(foxglove.deserialize_cdr(heard[0], KIND))
    assert read == GridSpec((-3.2, -3.2, SPEC.low[2]), 0.2, (32, 32, 16)) and len(made) == 1
    inside = [point for point in POINTS[:, :3] if (np.abs(point[:2]) < 3.2).all()]
    assert {tuple(index) for index in np.argwhere(labels == 1)} == {tuple(i) for i in read.indices(np.array(inside))[0]}
    assert np.count_nonzero(labels) == len(inside) == 2


def test_whoever_asks_for_it_without_the_package_is_told(caplog, monkeypatch):
    passable = forms.passable_of(NodeParameters(), OPENOCCUPANCY_CLASSES)
    older = SimpleNamespace(VoxelGrid=PointCloud2)
    for installed in (None, SimpleNamespace(), older):
        monkeypatch.setattr(forms, "installed", {"foxglove_msgs.msg": installed}.get)
        for parameters, told in ((NodeParameters(), False), (NodeParameters(voxel_grid_merge=4), True)):
            caplog.clear()
            topics = {form.topic for form in forms.forms(parameters, passable)}
            assert "~/voxel_grid" not in topics and ("~/voxel_grid needs foxglove_msgs" in caplog.text) == told
