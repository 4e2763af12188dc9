"""Transforms: hand-made trees, interpolation, refusals, and parity with tf2 where it is installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.ros.transforms import tree as module
from occfusion_ros.ros.transforms.tree import (
    CACHE_NS,
    ExtrapolationError,
    TransformError,
    TransformTree,
    UnconnectedFramesError,
    UnknownFrameError,
)

S = 1_000_000_000
NO_TURN = (0.0, 0.0, 0.0, 1.0)
LEFT = (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5))  # 90 degrees about z


def vehicle() -> TransformTree:
    """map -> base_link (moves 1 m/s along x and turns 90 degrees from 10 s to 11 s) -> lidar, camera."""
    tree = TransformTree()
    tree.insert("map", "base_link", 10 * S, (5, 0, 0), NO_TURN)
    tree.insert("map", "base_link", 11 * S, (6, 0, 0), LEFT)
    tree.insert("base_link", "lidar", 0, (1, 0, 2), LEFT, static=True)
    tree.insert("base_link", "camera", 0, (2, 0, 1.5), (-0.5, 0.5, -0.5, 0.5), static=True)  # optical axes
    return tree


def apply(matrix: np.ndarray, point: tuple) -> list[float]:
    return np.round(matrix @ [*point, 1], 9)[:3].tolist()


def test_translation_and_rotation_of_one_edge():
    tree = vehicle()
    assert apply(tree.lookup("base_link", "lidar", 5), (3, 0, 0)) == [1, 3, 2]
    assert apply(tree.lookup("lidar", "base_link", 5), (1, 3, 2)) == [3, 0, 0]


def test_camera_from_lidar_crosses_the_common_ancestor():
    camera_from_lidar = vehicle().lookup("camera", "lidar", 123)
    # 5 m ahead of the vehicle's origin, 1 m up: 3 m ahead of the camera and 0.5 m below it
    assert apply(camera_from_lidar, (0, -4, -1)) == [0, 0.5, 3]


def test_interpolation_along_the_line_and_the_arc():
    half = vehicle().lookup("map", "base_link", 10 * S + S // 2)
    assert apply(half, (0, 0, 0)) == [5.5, 0, 0]
    np.testing.assert_allclose(half[:2, 0], [np.sqrt(0.5)] * 2)
    np.testing.assert_allclose(vehicle().lookup("map", "base_link", 11 * S)[:2, 0], [0, 1], atol=1e-12)


def test_interpolation_takes_the_short_way():
    tree = vehicle()
    tree.insert("map", "base_link", 12 * S, (6, 0, 0), tuple(-np.array(LEFT)))
    np.testing.assert_allclose(tree.lookup("map", "base_link", 11 * S + S // 2)[:2, 0], [0, 1], atol=1e-9)


def test_static_frames_connect_at_any_stamp_even_when_the_map_does_not():
    assert vehicle().lookup("camera", "lidar", 99 * S).shape == (4, 4)


@pytest.mark.parametrize(
    "target, source, stamp, error",
    [
        ("map", "nowhere", 10 * S, UnknownFrameError),
        ("nowhere", "map", 10 * S, UnknownFrameError),
        ("map", "other", 10 * S, UnconnectedFramesError),
        ("map", "lidar", 10 * S - 1, ExtrapolationError),
        ("lidar", "map", 11 * S + 1, ExtrapolationError),
    ],
)
def test_what_is_not_known_is_refused(target, source, stamp, error):
    tree = vehicle()
    tree.insert("island", "other", 0, (0, 0, 0), NO_TURN, static=True)
    with pytest.raises(error, match="nowhere|other|base_link"):
        tree.lookup(target, source, stamp)


@pytest.mark.parametrize(
    "parent, child, shift, turn",
    [
        ("a", "a", (0, 0, 0), NO_TURN),
        ("", "a", (0, 0, 0), NO_TURN),
        ("a", "/", (0, 0, 0), NO_TURN),
        ("a", "b", (0, np.nan, 0), NO_TURN),
        ("a", "b", (0, 0, np.inf), NO_TURN),
        ("a", "b", (0, 0, 0), (0, 0, 0, 0)),
        ("a", "b", (0, 0, 0), (0, 0, 0, 1.1)),
    ],
)
def test_malformed_transforms_are_refused(parent, child, shift, turn):
    tree = TransformTree()
    with pytest.raises(TransformError):
        tree.insert(parent, child, 1, shift, turn)
    with pytest.raises(UnknownFrameError):
        tree.lookup("a", "b", 1)


def test_loops_are_refused():
    tree = TransformTree()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        tree.insert(parent, child, 0, (0, 0, 0), NO_TURN, static=True)
    with pytest.raises(UnconnectedFramesError, match="loop"):
        tree.lookup("a", "c", 1)


def test_a_frame_may_change_its_parent():
    tree = vehicle()
    tree.insert("trailer", "lidar", 0, (0, 0, 1), NO_TURN, static=True)
    assert apply(tree.lookup("trailer", "lidar", 1), (0, 0, 0)) == [0, 0, 1]


def test_old_transforms_expire_and_late_ones_are_sorted_in():
    tree = TransformTree()
    for second in (1, 3, 2):
        tree.insert("map", "base_link", second * S, (second**2, 0, 0), NO_TURN)
    assert apply(tree.lookup("map", "base_link", 5 * S // 2), (0, 0, 0)) == [6.5, 0, 0]
    tree.insert("map", "base_link", 2 * S + CACHE_NS, (0, 0, 0), NO_TURN)
    with pytest.raises(ExtrapolationError):
        tree.lookup("map", "base_link", 2 * S - 1)


def test_the_newest_of_equal_stamps_counts():
    tree = TransformTree()
    for x in (1, 2):
        tree.insert("map", "base_link", S, (x, 0, 0), NO_TURN)
    assert apply(tree.lookup("map", "base_link", S), (0, 0, 0)) == [2, 0, 0]


def test_time_set_back_forgets_what_was_ahead():
    tree = TransformTree()
    tree.insert("map", "base_link", 100 * S, (1, 0, 0), NO_TURN)
    tree.insert("map", "base_link", 10 * S, (2, 0, 0), NO_TURN)
    assert apply(tree.lookup("map", "base_link", 10 * S), (0, 0, 0)) == [2, 0, 0]
    with pytest.raises(ExtrapolationError):
        tree.lookup("map", "base_link", 100 * S)


def test_clear_keeps_static_transforms():
    tree = vehicle()
    tree.clear()
    assert tree.lookup("camera", "lidar", 1).shape == (4, 4)
    with pytest.raises(UnknownFrameError):
        tree.lookup("map", "lidar", 10 * S)


NAMES = ["a", "b", "c", "d"]
numbers = st.integers(-20, 20)
edges = st.lists(
    st.tuples(st.integers(1, 3), numbers, st.tuples(numbers, numbers, numbers, st.integers(1, 20)), st.integers(1, 5)),
    min_size=1,
    max_size=8,
    unique_by=lambda edge: (edge[0], edge[3]),
)


def random_transforms(edges) -> list[tuple]:
    """Chain a <- b <- c <- d, moving: (parent, child, stamp, translation, quaternion)."""
    made = []
    for child, shift, turn, second in edges:
        made.append(
            (
                NAMES[child - 1],
                NAMES[child],
                second * S,
                (float(shift), 1.0, 2.0),
                tuple(np.array(turn, float) / np.linalg.norm(turn)),
            )
        )
    return made


@settings(max_examples=100, deadline=None)
@given(edges=edges, stamp=st.integers(0, 6 * S), names=st.permutations(NAMES))
def test_lookups_are_rigid_and_inverse_to_each_other(edges, stamp, names):
    tree = TransformTree()
    for transform in random_transforms(edges):
        tree.insert(*transform)
    try:
        there, back = tree.lookup(names[0], names[1], stamp), tree.lookup(names[1], names[0], stamp)
    except TransformError:
        return
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(there[:3, :3] @ there[:3, :3].T, np.eye(3), atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(edges=edges, stamp=st.integers(1, 6 * S), names=st.permutations(NAMES))
def test_agrees_with_tf2(edges, stamp, names):
    tf2_ros = pytest.importorskip("tf2_ros", reason="tf2 comes with a ROS install only")
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from rclpy.time import Time

    from occfusion_ros.ros.conversions.stamps import header_from

    tree, buffer = TransformTree(), tf2_ros.BufferCore()
    for parent, child, stamp_ns, shift, turn in random_transforms(edges):
        tree.insert(parent, child, stamp_ns, shift, turn)
        x, y, z, w = turn
        buffer.set_transform(
            TransformStamped(
                header=header_from(stamp_ns, parent),
                child_frame_id=child,
                transform=Transform(
                    translation=Vector3(x=shift[0], y=shift[1], z=shift[2]), rotation=Quaternion(x=x, y=y, z=z, w=w)
                ),
            ),
            "test",
        )
    kinds = {
        UnknownFrameError: tf2_ros.LookupException,
        ExtrapolationError: tf2_ros.ExtrapolationException,
        # Of two reasons tf2 gives the other one.
        UnconnectedFramesError: (tf2_ros.ConnectivityException, tf2_ros.ExtrapolationException),
    }
    try:
        ours = tree.lookup(names[0], names[1], stamp)
    except TransformError as error:
        with pytest.raises(kinds[type(error)]):
            buffer.lookup_transform_core(names[0], names[1], Time(nanoseconds=stamp))
        return
    theirs = buffer.lookup_transform_core(names[0], names[1], Time(nanoseconds=stamp)).transform
    shift, turn = theirs.translation, theirs.rotation
    again = TransformTree()
    again.insert("t", "s", 0, (shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w), static=True)
    np.testing.assert_allclose(again.lookup("t", "s", 1), ours, atol=1e-6)


def test_a_flood_of_frames_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_FRAMES", 3)
    tree = vehicle()
    with pytest.raises(TransformError, match="expected at most 3 frames"):
        tree.insert("map", "another", 0, (0, 0, 0), NO_TURN)
    tree.insert("map", "base_link", 12 * S, (7, 0, 0), LEFT)


def test_stamps_of_a_frame_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_STAMPS", 100)
    tree = TransformTree()
    for stamp in range(1000):
        tree.insert("map", "base_link", stamp, (stamp, 0, 0), NO_TURN)
    assert len(tree._edges["base_link"].stamps) == len(tree._edges["base_link"].values) == 100
    assert tree.lookup("map", "base_link", 950)[0, 3] == 950


def test_a_chain_without_end_is_refused():
    tree = TransformTree()
    for number in range(2000):
        tree.insert(f"f{number}", f"f{number + 1}", 0, (0, 0, 0), NO_TURN, static=True)
    with pytest.raises(UnconnectedFramesError, match="expected at most 1000 frames to the root"):
        tree.lookup("f0", "f2000", 0)


@pytest.mark.parametrize(
    "shift, turn, child",
    [
        ((1e308, 0, 0), NO_TURN, "c"),
        ((0, -1e10, 0), NO_TURN, "c"),
        ((0, 0, float("nan")), NO_TURN, "c"),
        ((0, 0, 0), (1e308, 0, 0, 1), "c"),
        ((0, 0, 0), (0, 0, 0, float("nan")), "c"),
        ((0, 0, 0), NO_TURN, "c" * 256),
    ],
)
def test_transforms_beyond_all_measure_are_refused(shift, turn, child):
    with pytest.raises(TransformError, match="expected (a rigid transform|two different frames of at most 255)"):
        TransformTree().insert("map", child, 0, shift, turn)
