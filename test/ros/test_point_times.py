"""What per-point times mean, in the ways of known drivers; and what is left alone because nobody can tell."""

import numpy as np
import pytest
from helpers.rig import NOW, S
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.ros.conversions.point_times import UnclearTimesError, read_times

AT = np.linspace(0, 0.0999, 1000)  # seconds after the stamp
ABSOLUTE = NOW / S

DRIVERS = {
    "t of Ouster": ("t", (AT * 1e9).astype(np.uint32), AT),
    "time of Velodyne": ("time", AT.astype(np.float32), AT),
    "time of Velodyne, stamped at the end": ("time", (AT - 0.1).astype(np.float32), AT - 0.1),
    "timestamp of Hesai and RoboSense": ("timestamp", ABSOLUTE + AT, AT),
    "timestamp of RoboSense, stamped at the end": ("timestamp", ABSOLUTE + AT - 0.1, AT - 0.1),
    "timestamp of Livox": ("timestamp", NOW + AT * 1e9, AT),
    "offset_time of Livox": ("offset_time", (AT * 1e9).astype(np.uint32), AT),
    "time_stamp of Autoware": ("time_stamp", (AT * 1e9).astype(np.uint32), AT),
    "time_offset_ns of Aeva": ("time_offset_ns", (AT * 1e9 - 5e7).astype(np.int32), AT - 0.05),
    "microseconds after the stamp": ("t", (AT * 1e6).astype(np.uint32), AT),
    "microseconds of an epoch": ("timestamp", NOW / 1e3 + AT * 1e6, AT),
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("order", ["as measured", "by ring"])
def test_times_of_known_drivers(driver, order):
    name, values, expected = DRIVERS[driver]
    shuffled = np.random.default_rng(0).permutation(len(values)) if order == "by ring" else np.arange(len(values))
    got = read_times(name, values[shuffled], NOW)
    np.testing.assert_allclose(got.seconds, expected[shuffled], atol=2e-6)
    assert got.meaning.startswith(name)


UNCLEAR = {
    "all the same": (np.zeros(1000, np.uint32), "is no sweep"),
    "share of the sweep": (np.linspace(0, 1, 1000, dtype=np.float32), "is no sweep"),
    "number of the point": (np.arange(1000, dtype=np.uint32), "is no sweep"),
    "column": (np.arange(2048, dtype=np.uint32), "is no sweep"),
    "hundredths of a degree": (np.linspace(0, 36000, 1000, dtype=np.float32).round() / 100, "is no sweep"),
    "minutes long": (np.linspace(0, 90, 1000, dtype=np.float32), "is no sweep"),
    "an epoch in float32": ((ABSOLUTE + AT).astype(np.float32), "is no sweep"),
    "ten sweeps put together": (np.repeat(np.arange(10) * 0.05, 100).astype(np.float32), "fewer than 16"),
    "a packet in nanoseconds": (np.linspace(0, 480_000, 96).astype(np.uint32), "96 points in 480000 microseconds"),
    "another epoch": (AT + 1234.5, "1234.5 s after the stamp"),
    "a clock 37 s ahead": (ABSOLUTE + 37 + AT, "37 s if on the stamp's clock"),
    "a time that is missing": (np.where(np.arange(1000) == 7, 0, ABSOLUTE + AT), "is no sweep"),
    "not a number": (np.where(np.arange(1000) == 7, np.nan, AT), "not all times are finite"),
    "beyond all measure": (np.tile([-1.7e308, 1.7e308], 500), "is no sweep"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_is_not_certain_is_left_alone(case):
    values, why = UNCLEAR[case]
    with pytest.raises(UnclearTimesError, match=why):
        read_times("time", values, NOW)


def test_both_origins_near_the_stamp_are_not_told_apart():
    """As just after the start of a simulation."""
    with pytest.raises(UnclearTimesError, match="expected one of both"):
        read_times("t", AT + 0.1, S // 5)


@settings(max_examples=60, deadline=None)
@given(
    start=st.floats(-0.3, 0.2),
    span=st.floats(0.006, 0.3),
    unit=st.sampled_from([1, 1e6, 1e9]),
    absolute=st.booleans(),
    stamp=st.integers(2 * S, 2**61),
    seed=st.integers(0, 99),
)
def test_times_round_trip(start, span, unit, absolute, stamp, seed):
    seconds = start + span * np.random.default_rng(seed).uniform(size=500)
    values = (seconds + stamp / 1e9 * absolute) * unit
    np.testing.assert_allclose(read_times("t", values, stamp).seconds, seconds, atol=2e-6)
