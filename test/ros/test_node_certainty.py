"""The node in this process: how sure it is, what is asked of the network for it, and what it is not sure of."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.rig import MS, NOW, POINTS, SPEC, Rig, VoxelPipeline
from helpers.ros_messages import cloud
from helpers.voxel_world import VoxelWorld, pose
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.labels import EMPTY, IGNORE
from occfusion_ros.ros.conversions.coloring import RAMP
from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
from occfusion_ros.ros.node.parameters import NodeParameters, ParameterError

ROOM = VoxelWorld.room()
LEFT = SPEC.size[0] // 2
"""Of its empty voxels the pipeline gives those with a lower x a probability of 0.1 to be occupied, the others 0.01."""


@dataclass
class SurePipeline(VoxelPipeline):
    """A pipeline that says how sure it is, where it is asked; what it was asked is kept."""

    confidence: bool = True
    free_below: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.contract = SimpleNamespace(**vars(VoxelPipeline.contract), says_confidence=True)
        self.asked: list[tuple[bool, float | None]] = []

    def _grid(self, frame: SensorFrame) -> OccupancyGrid:
        grid = super()._grid(frame)
        if frame.stamp_ns:
            self.asked.append((self.confidence, self.free_below))
        occupied = grid.labels > 0
        if self.confidence:
            sure = {"occupancy": occupied * np.uint8(200), "class_confidence": occupied * np.uint8(100)}
            grid = replace(grid, **sure)
        if self.free_below is not None:
            free = np.where(np.arange(SPEC.size[0]) < LEFT, 0.1, 0.01)[:, None, None] < self.free_below
            grid = replace(grid, labels=np.where(occupied | free, grid.labels, IGNORE))
        return grid


def sweep(rig: Rig, index: int, with_pose: bool = True) -> OccupancyGrid:
    """What is answered to a sweep of the room, each 100 ms after the last and half a metre further."""
    stamp, count = NOW + 100 * index * MS, len(rig.occupancy)
    if with_pose:
        rig.send_transform("odom", "lidar_top", (0.5 * index, 0.0, 0.0), stamp_ns=stamp)
    rig.send("/lidar_top", cloud(ROOM.sweep(pose(0.5 * index)), stamp_ns=stamp))
    return grid_from_message(rig.wait_for_occupancy(count + 1))


def test_parameters_say_what_is_asked_of_the_network():
    assert NodeParameters().doubt is None and NodeParameters(unknown="occluded").doubt is None
    assert NodeParameters(unknown="confidence").doubt == NodeParameters().free_below
    for wrong in (-0.01, 1.01, float("nan")):
        with pytest.raises(ParameterError, match="free_below: expected 0.0 to 1.0"):
            NodeParameters(free_below=wrong)


def test_unknown_is_what_the_network_is_not_sure_of(start):
    pipeline = SurePipeline()
    rig = start(pipeline, unknown="confidence")
    hulls = rig.listen(PointCloud2, "/occfusion/unknown")
    first = sweep(rig, 0, with_pose=False)
    unknown = first.labels == IGNORE
    assert unknown[:LEFT].mean() > 0.9 and not unknown[LEFT:].any() and (first.labels[:LEFT] == 1).any()
    assert 2 < len(rig.occupancy[-1].unknown_runs) < 2 * SPEC.num_voxels // LEFT
    rig.wait(lambda: hulls, "where unknown space begins")
    assert 0 < hulls[-1].width < 16 * 16 * 4
    for free_below, share in ((0.2, 0.0), (0.01, 0.9)):
        (result,) = rig.node.set_parameters([Parameter("free_below", value=free_below)])
        assert result.successful
        labels = sweep(rig, len(rig.occupancy), with_pose=False).labels
        assert ((labels == IGNORE).mean() > share) == (share > 0) and (labels == 1).any()
    assert pipeline.asked == [(True, 0.02), (True, 0.2), (True, 0.01)] and not rig.faults()


def test_a_memory_knows_where_rays_have_passed(start):
    rig = start(SurePipeline(), unknown="confidence", memory="short", fixed_frame="odom", max_wait_s=0.05)
    answers = [sweep(rig, i) for i in range(4)]
    shares = [(answer.labels[:LEFT] == IGNORE).mean() for answer in answers]
    assert 0.05 < shares[-1] < shares[0] < 0.9 and len(answers[-1].remembered)
    assert not any((answer.labels[LEFT:] == IGNORE).any() for answer in answers)
    remembered = np.zeros(SPEC.num_voxels, bool)
    remembered[answers[-1].remembered] = True
    seen = (answers[-1].labels != EMPTY) & (answers[-1].labels != IGNORE) & ~remembered.reshape(SPEC.size)
    assert (answers[-1].occupancy > 0).sum() == seen.sum()
    lost = sweep(rig, 4, with_pose=False)
    assert (lost.labels[:LEFT] == IGNORE).mean() > 0.9 and rig.faults() == {"memory transform": 1}


@pytest.mark.parametrize("confidence", [True, False])
def test_the_network_is_asked_for_confidence_only_where_somebody_wants_it(start, confidence):
    pipeline = SurePipeline()
    rig = start(pipeline, confidence=confidence)
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW))
    message = rig.wait_for_occupancy(1)
    assert pipeline.asked == [(confidence, None)] and not (grid_from_message(message).labels == IGNORE).any()
    assert len(message.confidence) == len(message.class_confidence) == (len(message.indices) if confidence else 0)
    (result,) = rig.node.set_parameters([Parameter("confidence", value=not confidence)])
    assert result.successful
    rig.send("/lidar_top", cloud(POINTS, stamp_ns=NOW + 100 * MS))
    assert len(rig.wait_for_occupancy(2).confidence) == (0 if confidence else len(message.indices))


def test_a_network_says_what_it_is_not_sure_of(start, small_artifact):
    model = {"model": str(small_artifact), "backend": "onnxruntime", "threads": 1}
    rig = start(real=True, unknown="confidence", free_below=0.3, **model)
    returns = np.random.default_rng(0).uniform((-6, -6, -2, 0), (6, 6, -1.5, 1), (500, 4))
    rig.send("/lidar_top", cloud(returns, stamp_ns=NOW))
    message = rig.wait_for_occupancy(1)
    grid = grid_from_message(message)
    occupied, unknown = (grid.labels != EMPTY) & (grid.labels != IGNORE), grid.labels == IGNORE
    assert 0.001 < unknown.mean() < 0.999 and len(message.unknown_runs)
    np.testing.assert_array_equal(grid.occupancy > 0, occupied)
    index, inside = grid.spec.indices(returns[np.hypot(*returns[:, :2].T) > 1.6, :3])
    assert occupied[tuple(index[inside].T)].all() and not rig.faults()


def test_a_model_that_does_not_say_it_is_refused(start):
    pipeline = SurePipeline()
    pipeline.contract.says_confidence = False
    rig = start(pipeline, autostart=False, unknown="confidence")
    assert not rig.node.start()
    assert "unknown: expected a model that says how sure it is, got voxel-test" in rig.node.failure
    assert rig.node.set_parameters([Parameter("unknown", value="none")])[0].successful and rig.node.start()


def test_markers_and_points_are_colored_by_confidence(start):
    """Which is 200 / 255 * 100 / 255 for what the sweep has; a memory adds what is gray."""
    pipeline = SurePipeline()
    rig = start(pipeline, confidence=False, color_by="confidence", memory="short", fixed_frame="odom", max_wait_s=0.05)
    markers, points = rig.listen(MarkerArray, "/occfusion/markers"), rig.listen(PointCloud2, "/occfusion/points")
    for index in range(3):
        sweep(rig, index)
    rig.wait(lambda: len(markers) == len(points) == 3, "markers and points")
    sure, gray = tuple(RAMP[200 * 100 // 255].tolist()), (128, 128, 128)
    cubes = [m for m in markers[-1].markers if m.points]
    assert cubes and all(len(m.colors) == len(m.points) for m in cubes)
    assert {tuple(round(255 * c) for c in (k.r, k.g, k.b)) for m in cubes for k in m.colors} == {sure, gray}
    told = np.frombuffer(bytes(points[-1].data), np.uint8).reshape(-1, points[-1].point_step)[:, [14, 13, 12]]
    assert set(map(tuple, told.tolist())) == {sure, gray}
    assert pipeline.asked == 3 * [(True, None)] and not len(rig.occupancy[-1].confidence)
    (result,) = rig.node.set_parameters([Parameter("color_by", value="class")])
    assert result.successful
    sweep(rig, 3)
    rig.wait(lambda: len(markers) == 4, "markers")
    assert not any(m.colors for m in markers[-1].markers) and pipeline.asked[-1] == (False, None)
