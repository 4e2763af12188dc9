"""PointCloud2 conversion: every layout gives the same points, and nothing malformed gets through."""

import numpy as np
import pytest
from helpers.ros_messages import KIND, cloud
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.ros.conversions import point_cloud
from occfusion_ros.ros.conversions.point_cloud import points_from_cloud

POINTS = np.array([[1, -2, 3, 0], [4, 5, -6, 255], [-7, 8, 9, 51], [10, -11, 12, 102]], np.float64)
EXPECTED = POINTS / (1, 1, 1, 255)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"big_endian": True},
        {"kind": "f8"},
        {"kind": "f8", "big_endian": True},
        {"start": 3},
        {"point_padding": 13},
        {"rows": 2},
        {"rows": 2, "row_padding": 7, "point_padding": 4},
        {"rows": 4, "start": 2, "row_padding": 1, "kind": "i2", "big_endian": True},
        {"kind": "i4"},
    ],
    ids=str,
)
def test_any_layout_gives_the_same_points(layout):
    layout = {"names": ("x", "y", "z", "intensity"), **layout}
    points = POINTS if layout.get("kind") != "i1" else POINTS.astype(np.int8)
    got = points_from_cloud(cloud(points, **layout), intensity_max=255)
    assert got.dtype == np.float32 and got.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(got, EXPECTED, rtol=1e-6)


def test_field_order_is_free_and_others_are_ignored():
    names = ("ring", "z", "intensity", "y", "time", "x")
    x, y, z, intensity = POINTS.T
    shuffled = np.stack([x * 0 + 99, z, intensity, y, x, x], 1)
    np.testing.assert_allclose(points_from_cloud(cloud(shuffled, names=names), 255), EXPECTED, rtol=1e-6)


def test_missing_intensity_is_zero():
    got = points_from_cloud(cloud(POINTS[:, :3], names=("x", "y", "z")))
    np.testing.assert_array_equal(got, np.c_[POINTS[:, :3], np.zeros(4)])


def test_intensity_is_clipped_and_never_nan():
    points = np.c_[np.zeros((4, 3)), [-5.0, 300.0, np.nan, np.inf]]
    np.testing.assert_array_equal(points_from_cloud(cloud(points), 100)[:, 3], [0, 1, 0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("axis", range(3))
def test_points_that_are_not_finite_are_dropped(bad, axis):
    points = POINTS.copy()
    points[2, axis] = bad
    np.testing.assert_allclose(points_from_cloud(cloud(points, kind="f8"), 255), EXPECTED[[0, 1, 3]], rtol=1e-6)


def test_row_step_may_be_unset_for_a_single_row():
    message = cloud(POINTS)
    message.row_step = 0
    assert len(points_from_cloud(message)) == 4


def test_last_row_may_lack_its_padding():
    message = cloud(POINTS, rows=2, row_padding=8)
    message.data = message.data[:-8]
    assert len(points_from_cloud(message)) == 4


@pytest.mark.parametrize("row_step", [0, 2, 32, 33, 64, 4_294_967_295])
@pytest.mark.parametrize(
    "layout", [{}, {"point_padding": 5}, {"kind": "f8", "big_endian": True}, {"start": 3}], ids=str
)
def test_rows_that_fill_the_data_are_read_whatever_row_step_says(row_step, layout):
    message = cloud(POINTS, rows=2, **layout)
    message.row_step = row_step
    np.testing.assert_allclose(points_from_cloud(message, 255), EXPECTED, rtol=1e-6)


@pytest.mark.parametrize("row_step", [0, 2, 31, 72, 4_294_967_295])
def test_bytes_that_may_be_padding_or_rubbish_are_not_guessed_at(row_step):
    message = cloud(POINTS, rows=2, row_padding=4)
    message.row_step = row_step
    with pytest.raises(
        InvalidFrameError,
        match=rf"point_step 16, or a row_step of 32 .* got 72 bytes and row_step "
        rf"{row_step}; fields: 'x' at byte 0, 'y' at byte 4",
    ):
        points_from_cloud(message)


@pytest.mark.parametrize(
    "names",
    [
        ("X", "Y", "Z", "Intensity"),
        ("x", "y", "z", "i"),
        ("x", "y", "z", "intensities"),
        ("x", "y", "z", "reflectivity"),
    ],
    ids=str,
)
def test_fields_by_other_names(names):
    np.testing.assert_allclose(points_from_cloud(cloud(POINTS, names=names), 255), EXPECTED, rtol=1e-6)


def test_the_exact_name_comes_before_others():
    names = ("reflectivity", "X", "x", "y", "z", "INTENSITY", "intensity")
    x, y, z, intensity = POINTS.T
    points = np.stack([x * 0 + 7, x * 0 + 8, x, y, z, x * 0 + 9, intensity], 1)
    np.testing.assert_allclose(points_from_cloud(cloud(points, names=names), 255), EXPECTED, rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fields_of_several_numbers_give_the_first(count):
    message = cloud(POINTS, point_padding=8)
    for field in message.fields:
        field.count = count
    np.testing.assert_allclose(points_from_cloud(message, 255), EXPECTED, rtol=1e-6)


@pytest.mark.parametrize("size", [(0, 0), (0, 4), (4, 0)])
def test_empty_cloud_gives_no_points(size):
    message = cloud(POINTS)
    message.height, message.width = size
    assert points_from_cloud(message).shape == (0, 4)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"width": 5}, "80 bytes"),
        ({"width": 4_000_000_000}, "got 64"),
        ({"width": 4_000_000_000, "height": 4_000_000_000, "row_step": 4_000_000_000}, "row_step"),
        ({"height": 2, "row_step": 63}, "row_step"),
        ({"height": 2, "row_step": 4_294_967_295}, "got 64"),
        ({"point_step": 0}, "outside point_step"),
        ({"point_step": 15}, "outside point_step"),
        ({"point_step": 4_294_967_295}, "got 64"),
        ({"data": b""}, "got 0"),
        ({"fields": []}, "x, y and z"),
        ({"fields": [PointField(name=n, offset=0, datatype=7, count=1) for n in "xy"]}, "x, y and z"),
        ({"fields": [PointField(name=n, offset=0, datatype=0, count=1) for n in "xyz"]}, "unknown datatype 0"),
        (
            {"fields": [PointField(name=n, offset=4_294_967_295, datatype=7, count=1) for n in "xyz"]},
            "outside point_step",
        ),
    ],
)
def test_contradictory_clouds_are_refused(change, message):
    bad = cloud(POINTS)
    for name, value in change.items():
        setattr(bad, name, value)
    with pytest.raises(InvalidFrameError, match=message):
        points_from_cloud(bad)


sizes = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))
malformed_fields = st.lists(
    st.builds(
        PointField,
        name=st.sampled_from(["x", "y", "z", "intensity", "", "ring"]),
        offset=sizes,
        datatype=st.integers(0, 255),
        count=sizes,
    ),
    max_size=6,
)
plausible_fields = st.permutations(["x", "y", "z", "intensity"]).flatmap(
    lambda names: st.tuples(
        *(
            st.builds(PointField, name=st.just(n), offset=st.integers(0, 24), datatype=st.integers(1, 8), count=sizes)
            for n in names
        )
    ).map(list)
)


@settings(max_examples=150, deadline=None)
@given(
    fields=malformed_fields | plausible_fields,
    height=sizes,
    width=sizes,
    point_step=sizes,
    row_step=sizes,
    data=st.binary(max_size=400),
    big_endian=st.booleans(),
)
def test_malformed_clouds_are_refused_or_read_within_their_bytes(**values):
    message = PointCloud2(
        fields=values["fields"],
        height=values["height"],
        width=values["width"],
        point_step=values["point_step"],
        row_step=values["row_step"],
        data=values["data"],
        is_bigendian=values["big_endian"],
    )
    try:
        points = points_from_cloud(message, 255)
    except InvalidFrameError:
        return
    assert points.dtype == np.float32 and points.shape[1] == 4 and np.isfinite(points).all()
    assert len(points) <= max(1, len(values["data"])) ** 2


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(KIND)),
    start=st.integers(0, 9),
    point_padding=st.integers(0, 9),
    rows=st.integers(1, 4),
    row_padding=st.integers(0, 9),
    big_endian=st.booleans(),
    seed=st.integers(0, 99),
    row_step=st.none() | st.integers(0, 2**32 - 1),
)
def test_layouts_round_trip(seed, kind, row_step, **layout):
    low, high = (-100, 100) if "u" not in kind else (0, 200)
    points = np.random.default_rng(seed).integers(low, high, (layout["rows"] * 5, 3))
    message = cloud(points, kind=kind, names=("x", "y", "z"), **layout)
    if row_step is not None and not layout["row_padding"]:
        message.row_step = row_step
    np.testing.assert_array_equal(points_from_cloud(message)[:, :3], points)


def test_agrees_with_sensor_msgs_py():
    reference = pytest.importorskip("sensor_msgs_py.point_cloud2", reason="sensor_msgs_py comes with ROS only")
    for layout in ({}, {"point_padding": 5, "rows": 3}, {"kind": "f8", "big_endian": True}, {"start": 3}):
        message = cloud(np.random.default_rng(0).normal(size=(60, 4)), **layout)
        got = points_from_cloud(message)
        expected = reference.read_points(message, ["x", "y", "z"])  # swaps the bytes of the message itself
        for column, name in enumerate("xyz"):
            np.testing.assert_array_equal(got[:, column], expected[name].ravel().astype(np.float32))


def test_too_many_points_or_fields_are_refused(monkeypatch):
    monkeypatch.setattr(point_cloud, "MAX_POINTS", 3)
    with pytest.raises(InvalidFrameError, match="at most 3 points, got 4 x 1"):
        points_from_cloud(cloud(np.zeros((4, 4))))
    assert len(points_from_cloud(cloud(np.zeros((3, 4))))) == 3
    message = cloud(np.zeros((1, 4)))
    message.fields = message.fields * 100
    with pytest.raises(InvalidFrameError, match="at most 256 fields, got 400"):
        points_from_cloud(message)


def test_points_beyond_all_measure_are_left_out():
    points = points_from_cloud(cloud(np.array([[1e30, 0, 0, 0], [0, 0, -3e38, 0], [1, 2, 3, 0]])))
    assert points[:, :3].tolist() == [[1, 2, 3]]
