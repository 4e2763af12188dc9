"""What we serialize ourselves is, byte for byte, what the middleware writes for the same message.

The middleware leaves padding bytes as they were in memory, so those are found (by writing them in two ways) and left
out.
"""

import array
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from helpers.grids import FRAMES, SPEC, STAMP_NS, random_grid, scatter, tint, tinted
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA

from occfusion_msgs.msg import OccupancyGrid3D
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.conversions.occupancy_grid import (
    class_table,
    grid_from_message,
    message_from_grid,
    occupancy_bytes,
)
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.conversions.stamps import header_from, stamp_ns
from occfusion_ros.ros.conversions.voxel_cloud import BLOCK, cloud_bytes, unknown_bytes


def slow_occupancy(grid: OccupancyGrid, dense: bool) -> OccupancyGrid3D:
    sx, sy, sz = SPEC.size
    every = range(sx * sy * sz)
    flat = [int(v) for v in grid.labels.transpose(2, 1, 0).ravel()]
    occupied = [i for i in every if flat[i] not in (0, 255)]
    return OccupancyGrid3D(
        header=header_from(STAMP_NS, grid.frame_id),
        model_id=grid.model_id,
        cameras=list(grid.cameras),
        origin=Pose(position=Point(x=-3.2, y=-3.2, z=-1.0), orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=1.0)),
        voxel_size=Vector3(x=0.2, y=0.2, z=0.2),
        size_x=sx,
        size_y=sy,
        size_z=sz,
        encoding=OccupancyGrid3D.DENSE if dense else OccupancyGrid3D.SPARSE,
        free_label=0,
        indices=[] if dense else occupied,
        data=flat if dense else [flat[i] for i in occupied],
        confidence=[int(grid.occupancy.transpose(2, 1, 0).ravel()[i]) for i in occupied],
        class_confidence=[int(grid.class_confidence.transpose(2, 1, 0).ravel()[i]) for i in occupied],
        unknown_runs=[] if dense else slow_runs([label == 255 for label in flat]),
        remembered=slow_bits(grid, occupied),
    )


def slow_runs(unknown: list[bool]) -> list[int]:
    """Lengths of runs that take turns, beginning with what is known."""
    lengths, kind = [0], False
    for voxel in unknown:
        if voxel != kind:
            lengths, kind = [*lengths, 0], voxel
        lengths[-1] += 1
    return lengths if any(unknown) else []


def slow_bits(grid: OccupancyGrid, listed: list[int]) -> list[int]:
    sx, sy, sz = SPEC.size
    remembered = {x + sx * (y + sy * z) for x, y, z in zip(*map(np.ndarray.tolist, SPEC.unflatten(grid.remembered)))}
    octets = [0] * (-(-len(listed) // 8) if remembered else 0)
    for k, voxel in enumerate(listed):
        if voxel in remembered:
            octets[k // 8] += 1 << k % 8
    return octets


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("fill", [0.0, 0.03, 1.0])
@pytest.mark.parametrize("frame_id", FRAMES)
def test_occupancy_bytes(assert_same_bytes, frame_id, fill, dense):
    grid = random_grid(frame_id, fill, cameras=("x" * len(frame_id), "b") if fill else ())
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)
    assert_same_bytes(lambda: occupancy_bytes(grid, voxels, dense), slow_occupancy(grid, dense))


@pytest.mark.parametrize("dense", [False, True])
def test_occupancy_round_trip(dense):
    grid = random_grid("lidar_top", 0.2)
    again = grid_from_message(message_from_grid(grid, dense))
    np.testing.assert_array_equal(again.labels, grid.labels)
    np.testing.assert_array_equal(again.remembered, grid.remembered)
    np.testing.assert_array_equal(again.occupancy, grid.occupancy)
    np.testing.assert_array_equal(again.class_confidence, grid.class_confidence)
    assert (again.spec, again.stamp_ns, again.frame_id) == (grid.spec, STAMP_NS, "lidar_top")
    assert (again.cameras, again.model_id) == (grid.cameras, "nano-1")


@pytest.mark.parametrize("dense", [False, True])
def test_confidence_is_left_out_where_it_is_not_wanted_or_not_known(dense):
    grid = random_grid("lidar_top", 0.2)
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)
    unknown = replace(grid, occupancy=None, class_confidence=None)
    without = occupancy_bytes(grid, voxels, dense, confidence=False)
    assert without == occupancy_bytes(unknown, voxels, dense)
    again = grid_from_message(deserialize_message(without, OccupancyGrid3D))
    np.testing.assert_array_equal(again.labels, grid.labels)
    assert again.occupancy is None and again.class_confidence is None


def test_unlisted_voxels_get_the_free_label():
    message = message_from_grid(random_grid("lidar_top", 0.0))
    message.free_label = 17
    assert (grid_from_message(message).labels == 17).all()


@pytest.mark.parametrize("size", [(512, 512, 2), (65535, 2, 1), (65536, 2, 1), (65535 * 2 + 1, 1, 1)])
@pytest.mark.parametrize("unknown", ["all", "first", "last", "half", "stripes"])
def test_unknown_runs_of_any_length(size, unknown):
    spec = GridSpec((0.0, 0.0, 0.0), 0.2, size)
    labels = np.zeros(size, np.uint8)
    {
        "all": labels,
        "first": labels[:1, :1, :1],
        "last": labels[-1:, -1:, -1:],
        "half": labels[: size[0] // 2],
        "stripes": labels[::2],
    }[unknown][:] = 255
    message = message_from_grid(OccupancyGrid(spec, labels, STAMP_NS, "lidar_top"))
    np.testing.assert_array_equal(grid_from_message(message).labels, labels)
    runs = np.array(message.unknown_runs)
    told = np.repeat(np.arange(len(runs)) % 2 == 1, runs)  # as the definition of the message says
    np.testing.assert_array_equal(told, labels.transpose(2, 1, 0).ravel() == 255)
    assert not len(message.indices)


UNSURE = {"confidence": [], "class_confidence": []}


def changed(dense: bool = False, **values) -> OccupancyGrid3D:
    message = message_from_grid(random_grid("lidar_top", 0.1), dense)
    for name, value in values.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message, error",
    [
        (changed(indices=[5, 5], data=[1, 1]), "ascending"),
        (changed(indices=[6, 5], data=[1, 1]), "ascending"),
        (changed(indices=[8639, 8640], data=[1, 1]), "below 8640"),
        (changed(indices=[5, 6], data=[1]), "2 and 1"),
        (changed(encoding=2), "DENSE or SPARSE"),
        (changed(confidence=[1]), "expected 0 or .* values of confidence, got 1"),
        (changed(class_confidence=[1]), "expected 0 or .* values of class_confidence, got 1"),
        (changed(dense=True, confidence=[1] * 8640), "values of confidence, got 8640"),
        (changed(size_x=2**32 - 1), "at most"),
        (changed(size_x=2**32 - 1, size_y=0), "at least 1 voxel"),
        (changed(voxel_size=Vector3(x=0.2, y=0.2, z=0.3)), "cubic"),
        (changed(voxel_size=Vector3(x=0.0, y=0.0, z=0.0)), "positive"),
        (changed(voxel_size=Vector3(x=float("nan"), y=0.2, z=0.2)), "cubic"),
        (changed(origin=Pose(orientation=Quaternion(x=0.0, y=0.0, z=1.0, w=0.0))), "not turned"),
        (changed(dense=True, size_x=31), "expected 8370 labels"),
        (changed(dense=True, indices=[1]), "no indices"),
        (changed(dense=True, unknown_runs=[8640]), "no runs, got 8640, 0 and 1"),
        (changed(unknown_runs=[5, 5]), "runs of 8640 known and unknown voxels, got 10"),
        (changed(unknown_runs=[65535] * 9), "got 589815"),
        (changed(indices=[7], data=[1], unknown_runs=[7, 8633], remembered=[], **UNSURE), "to be known"),
        (changed(indices=[7], data=[255], unknown_runs=[], remembered=[], **UNSURE), "to be known"),
        (changed(indices=[7, 9], data=[1, 1], unknown_runs=[], remembered=[1, 0]), "2 bits .* in 1 bytes.*got 2 bytes"),
        (changed(indices=[7, 9], data=[1, 1], unknown_runs=[], remembered=[4]), "the rest of the last one 0"),
        (changed(dense=True, remembered=[1]), "got 1 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_contradictory_occupancy_is_refused(message, error):
    with pytest.raises(InvalidFrameError, match=error):
        grid_from_message(message)


def slow_cloud(grid: OccupancyGrid, colored: bool) -> PointCloud2:
    colors = {c.label: c.rgb for c in OPENOCCUPANCY_CLASSES}
    data = bytearray()
    for index in scatter(grid, tuple(colors)):
        label = int(grid.labels[index])
        red, green, blue = tint(grid, index) if colored else colors[label]
        data += SPEC.centers(np.array(index)).astype("<f4").tobytes()
        data += bytes([blue, green, red, 0]) + label.to_bytes(4, "little")
    kinds = {"x": 7, "y": 7, "z": 7, "rgb": 7, "label": 6}
    fields = [PointField(name=n, offset=4 * i, datatype=k, count=1) for i, (n, k) in enumerate(kinds.items())]
    return PointCloud2(
        header=header_from(STAMP_NS, grid.frame_id),
        height=1,
        width=len(data) // 20,
        fields=fields,
        point_step=20,
        row_step=len(data),
        data=array.array("B", data),
        is_dense=True,
    )


@pytest.mark.parametrize("fill, colored", [(0.0, True), (0.05, False), (0.9, True)])
@pytest.mark.parametrize("frame_id", FRAMES)
def test_cloud_bytes(assert_same_bytes, frame_id, fill, colored):
    grid = random_grid(frame_id, fill)
    voxels = OccupiedVoxels.of(grid.labels, grid.spec)
    header, colors = header_from(STAMP_NS, frame_id), tinted if colored else None
    assert_same_bytes(lambda: cloud_bytes(header, voxels, OPENOCCUPANCY_CLASSES, colors), slow_cloud(grid, colored))


def slow_hull(labels: np.ndarray) -> list[tuple[float, float, float]]:
    unknown = {
        block: (labels[tuple(slice(BLOCK * i, BLOCK * i + BLOCK) for i in block)] == 255).all()
        for block in np.ndindex(*(n // BLOCK for n in labels.shape))
    }
    steps = [step for axis in np.eye(3, dtype=int) for step in (axis, -axis)]
    return [
        tuple(np.array(SPEC.low) + (np.array(block) + 0.5) * BLOCK * SPEC.voxel_size)
        for block in unknown
        if unknown[block] and not all(unknown.get(tuple((np.array(block) + step).tolist()), True) for step in steps)
    ]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_unknown_space_is_shown_by_its_hull(share):
    rng = np.random.default_rng(0)
    blocks = rng.random((9, 9, 4)) < share
    labels = np.where(blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2), 255, 3).astype(np.uint8)[:32, :30, :9]
    labels[5, 5, 5] = 0
    message = deserialize_message(unknown_bytes(header_from(STAMP_NS, "lidar_top"), labels, SPEC), PointCloud2)
    got = np.frombuffer(bytes(message.data), "<f4").reshape(-1, 3)
    expected = np.array(slow_hull(labels)).reshape(-1, 3)
    assert len(got) == message.width and (0 < len(got) < blocks.size if 0 < share else len(got) == 0)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert [field.name for field in message.fields] == ["x", "y", "z"]


def test_class_table():
    table = class_table("nano-1", OPENOCCUPANCY_CLASSES, STAMP_NS)
    assert (table.model_id, stamp_ns(table.header)) == ("nano-1", STAMP_NS)
    assert list(table.ids) == list(range(1, 17)) and table.names[10] == "driveable_surface"
    assert table.colors[3] == ColorRGBA(r=0.0, g=150 / 255, b=245 / 255, a=1.0)
