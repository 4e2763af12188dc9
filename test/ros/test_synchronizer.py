"""Pairing of sweeps and images."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.ros.node.synchronizer import JUMP_NS, Synchronizer

MS = 1_000_000
TOLERANCE, WAIT = 50 * MS, 100 * MS
START = 10_000 * MS


def synchronizer(*cameras: str, depth: int = 8) -> Synchronizer:
    return Synchronizer(cameras, TOLERANCE, WAIT, depth)


def only(matches):
    """The match, where one is expected."""
    (match,) = matches
    return match


def stamps(match) -> dict[str, int]:
    return {name: (stamp - match.stamp_ns) // MS for name, (stamp, _) in match.images.items()}


def test_sweep_is_released_once_every_camera_has_passed_it():
    sync = synchronizer("left", "right")
    sync.add_image("left", START - 20 * MS, "l0")
    assert sync.add_cloud(START, "sweep", now_ns=0) is False
    assert not sync.poll(0) and sync.waiting
    sync.add_image("left", START + 30 * MS, "l1")
    assert not sync.poll(0), "the right camera may still come"
    sync.add_image("right", START, "r0")
    match = only(sync.poll(0))
    assert (match.stamp_ns, match.cloud, match.missing) == (START, "sweep", ())
    assert match.images == {"left": (START - 20 * MS, "l0"), "right": (START, "r0")}
    assert not sync.waiting and not sync.poll(0)


def test_a_sweep_without_cameras_goes_at_once():
    sync = synchronizer()
    sync.add_cloud(START, "sweep", 0)
    assert only(sync.poll(0)).images == {}


def test_waiting_ends():
    sync = synchronizer("left", "right")
    sync.add_cloud(START, "sweep", now_ns=7)
    sync.add_image("right", START + 10 * MS, "r0")
    assert not sync.poll(WAIT + 6)
    match = only(sync.poll(WAIT + 7))
    assert match.missing == ("left",) and stamps(match) == {"right": 10}
    assert sync.missing == {"left": 1}


def test_waiting_ends_by_later_sweeps_where_the_clock_stands_still():
    sync = synchronizer("left")
    sync.add_cloud(START, "first", 0)
    sync.add_cloud(START + 60 * MS, "second", 0)
    assert not sync.poll(0)
    sync.add_cloud(START + 100 * MS, "third", 0)
    assert only(sync.poll(0)).cloud == "first"


@pytest.mark.parametrize("offset, taken", [(-51, False), (-50, True), (50, True), (51, False)])
def test_tolerance(offset, taken):
    sync = synchronizer("left")
    sync.add_image("left", START + offset * MS, "image")
    sync.add_cloud(START, "sweep", 0)
    match = only(sync.poll(WAIT))
    assert ("left" in match.images) is taken and (match.missing == ("left",)) is not taken


def test_late_images_are_counted():
    sync = synchronizer("left")
    sync.add_cloud(START, "sweep", 0)
    sync.poll(WAIT)
    sync.add_image("left", START + 5 * MS, "too late")
    sync.add_image("left", START + 90 * MS, "for the next")
    assert sync.late == {"left": 1}


def test_sweeps_that_waited_for_the_same_image_come_in_order():
    sync = synchronizer("left")
    for i in range(3):
        sync.add_cloud(START + 20 * i * MS, i, 0)
    sync.add_image("left", START + 25 * MS, "image")
    assert [match.cloud for match in sync.poll(0)] == [0, 1]
    assert sync.waiting, "the third may still get an image"
    assert not sync.dropped


def test_of_many_that_waited_for_the_same_image_the_newest_two_are_released():
    sync = synchronizer("left")
    for i in range(5):
        sync.add_cloud(START + 10 * i * MS, i, 0)
    sync.add_image("left", START + 45 * MS, "image")
    assert [match.cloud for match in sync.poll(0)] == [3, 4]
    assert sync.dropped == {"crowded": 3} and sync.used == {"left": 1}


@pytest.mark.parametrize("lidar_hz, camera_hz", [(20, 12), (20, 10), (10, 10), (10, 30), (20, 15)])
@pytest.mark.parametrize("cameras", [1, 3])
def test_no_sweep_is_dropped_at_usual_rates(lidar_hz, camera_hz, cameras):
    names = [f"camera{i}" for i in range(cameras)]
    sync, period = synchronizer(*names), JUMP_NS // camera_hz
    messages = [(START + i * JUMP_NS // lidar_hz, "cloud") for i in range(100)]
    messages += [
        (START + i * period + k * period // cameras, name)
        for i in range(-1, 100 * camera_hz // lidar_hz + 2)
        for k, name in enumerate(names)
    ]
    released = []
    for stamp, source in sorted(messages):
        if source == "cloud":
            sync.add_cloud(stamp, stamp, stamp)
        else:
            sync.add_image(source, stamp, stamp)
        released += [match.stamp_ns for match in sync.poll(stamp)]
    assert released == [stamp for stamp, source in sorted(messages) if source == "cloud"]
    assert not sync.dropped and not sum(sync.missing.values())


def test_tolerance_and_wait_may_change_at_any_time():
    sync = synchronizer("left")
    sync.add_image("left", START - 80 * MS, "image")
    sync.add_cloud(START, "sweep", 0)
    assert not sync.poll(WAIT // 2)
    sync.tolerance_ns, sync.max_wait_ns = 80 * MS, WAIT // 2
    assert stamps(only(sync.poll(WAIT // 2))) == {"left": -80}


def test_a_camera_that_fell_silent_is_waited_for_only_once():
    sync = synchronizer("left", "right")
    for i, waiting in enumerate([True, False]):
        stamp = START + (1 + i) * JUMP_NS
        sync.add_image("left", START, "the last one")
        sync.add_image("right", stamp, "new")
        sync.add_cloud(stamp + 1, "sweep", 0)
        sync.add_image("right", stamp + 1, "new")
        matches = sync.poll(0)
        assert (not matches) is waiting
        assert only(matches or sync.poll(WAIT)).missing == ("left",)


def test_cameras_slower_than_silence_are_waited_for():
    sync = synchronizer("left")
    for i in range(3):
        sync.add_cloud(START + 3 * i * JUMP_NS, "sweep", 0)
        assert not sync.poll(0)
        sync.add_image("left", START + 3 * i * JUMP_NS, "image")
        assert only(sync.poll(0)).missing == ()


def test_sweeps_out_of_order_are_dropped():
    sync = synchronizer()
    for stamp in (START, START, START - MS):
        sync.add_cloud(stamp, stamp, 0)
    assert only(sync.poll(0)).cloud == START
    assert not sync.poll(0) and sync.dropped == {"out_of_order": 2}


@pytest.mark.parametrize("images_first", [True, False])
def test_time_jumping_back_starts_afresh(images_first):
    sync = synchronizer("left")
    later = START + 20_000 * MS
    sync.add_image("left", later + MS, "of the past run")
    sync.add_cloud(later, "past run", 0)
    sync.poll(0)
    sync.add_cloud(later + 10 * MS, "waiting when time jumped", 0)
    if images_first:
        sync.add_image("left", START, "image")
        assert sync.add_cloud(START, "sweep", 0) is True
    else:
        assert sync.add_cloud(START, "sweep", 0) is True
        assert not sync.poll(0), "the camera is waited for again"
        sync.add_image("left", START, "image")
    match = only(sync.poll(0))
    assert (match.cloud, match.images) == ("sweep", {"left": (START, "image")})
    assert sync.dropped == {"time_jump": 1}


def test_one_wild_stamp_does_no_lasting_harm():
    sync = synchronizer("left")
    sync.add_image("left", 10**18, "wild")
    sync.add_cloud(10**18, "wild", 0)
    sync.add_image("left", START, "image")
    sync.add_cloud(START, "sweep", 0)
    assert only(sync.poll(0)).images == {"left": (START, "image")}


def test_memory_is_bounded():
    sync = synchronizer("left", "right", depth=4)
    for i in range(1000):
        sync.add_image("left", START + i, i)
        sync.add_cloud(START + i, i, 0)
    assert len(sync._sweeps) <= 4 and all(len(c.stamps) <= 4 and len(c.items) <= 4 for c in sync._cameras.values())
    assert sync.dropped["crowded"] >= 990


def test_images_are_accounted_for_by_cause():
    sync = synchronizer("left", depth=2)
    for offset in (-90, 0, 0, 5, 10):
        sync.add_image("left", START + offset * MS, offset)
    sync.add_cloud(START, "sweep", 0)
    assert stamps(only(sync.poll(0))) == {"left": 5}
    assert sync.used == {"left": 1} and +sync.unused == {"duplicate": 1, "displaced": 2}
    sync.add_image("left", START - 60 * MS, "late")
    sync.add_cloud(START + 100 * MS, "next", 0)
    sync.add_image("left", START + 100 * MS, "image")
    assert only(sync.poll(0)).missing == () and sync.used == {"left": 2}
    assert sum(sync.unused.values()) == 5
    sync.add_image("left", START + 200 * MS, "image")
    sync.add_image("left", START - 20_000 * MS, "after time jumped")
    assert sync.unused["time_jump"] == 1


def test_an_image_of_the_past_run_is_not_taken_after_time_jumped_back():
    """A slow camera still holds images of the time that sweeps jump back to."""
    sync = synchronizer("slow")
    for i in range(4):
        sync.add_image("slow", START + i * 700 * MS, "past run")
        sync.add_cloud(START + i * 700 * MS, "past run", 0)
    sync.poll(0)
    assert sync.add_cloud(START + 700 * MS, "sweep", 0) is True
    assert not sync.poll(0), "the camera is waited for"
    assert only(sync.poll(WAIT)).missing == ("slow",)


events = st.lists(st.tuples(st.sampled_from(["cloud", "left", "right", "poll"]), st.integers(-80, 80)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(events=events, period=st.integers(5, 60))
def test_matches_are_nearest_within_tolerance_and_monotone(events, period):
    """Any arrival order with jitter: images may come early, late, doubled, out of order or never."""
    sync = synchronizer("left", "right", depth=1000)
    seen, now, last = defaultdict(set), START, 0
    for i, (kind, jitter) in enumerate(events):
        stamp, now = START + (i * period + jitter) * MS, now + period * MS
        if kind == "cloud":
            sync.add_cloud(stamp, stamp, now)
        elif kind != "poll":
            sync.add_image(kind, stamp, stamp)
            seen[kind].add(stamp)
        for match in sync.poll(now):
            assert match.stamp_ns > last and match.cloud == match.stamp_ns
            last = match.stamp_ns
            check_nearest(match, seen)


def check_nearest(match, seen):
    """That a match has the nearest of all images that came, by camera, where it is near enough."""
    assert set(match.images) | set(match.missing) == {"left", "right"}
    for camera in ("left", "right"):
        distance = min((abs(s - match.stamp_ns) for s in seen[camera]), default=TOLERANCE + 1)
        assert (camera in match.images) == (distance <= TOLERANCE)
        if camera in match.images:
            assert match.images[camera][0] == match.images[camera][1], "an item left its stamp"
            assert abs(match.images[camera][0] - match.stamp_ns) == distance


@settings(max_examples=100, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["cloud", "left", "poll"]), st.integers(0, 2**62), st.integers(0, 2**62)), max_size=60
    )
)
def test_arbitrary_stamps_never_break_it(events):
    sync = synchronizer("left", depth=4)
    added = released = 0
    for kind, stamp, now in events:
        if kind == "cloud":
            added += 1
            sync.add_cloud(stamp, stamp, now)
        elif kind == "left":
            sync.add_image("left", stamp, stamp)
        matches = sync.poll(now)
        released += len(matches)
        assert all(abs(s - match.stamp_ns) <= TOLERANCE for match in matches for s, _ in match.images.values())
    assert added == released + sum(sync.dropped.values()) + len(sync._sweeps), "a sweep got lost without being counted"


@pytest.mark.parametrize("sweeps", [1, 2, 3, 4, 7])
def test_a_short_bag_that_begins_again_is_answered(sweeps):
    """Without simulated time nothing but the stamps tells; two rounds at most are taken for late sweeps."""
    sync, answered = synchronizer(), []
    for _ in range(8):
        answered.append(0)
        for index in range(sweeps):
            sync.add_cloud(START + index * 100 * MS, "sweep", now_ns=0)
            answered[-1] += len(sync.poll(0))
    assert answered[0] == sweeps and answered[3:] == [sweeps] * 5, answered


def test_late_sweeps_are_late_and_no_jump():
    sync = synchronizer()
    for stamp in (0, 100, 300, 200, 250, 400, 350, 500):  # up to two behind the newest, each once
        assert not sync.add_cloud(START + stamp * MS, "sweep", now_ns=0)
        sync.poll(0)
    assert sync.dropped == {"out_of_order": 3}


def test_a_clock_set_back_releases_what_waits_and_begins_anew():
    sync = synchronizer("left")
    sync.add_image("left", START - 10 * MS, "l0")
    sync.add_cloud(START, "sweep", now_ns=0)
    assert not sync.poll(0), "a nearer image may come"
    match = only(sync.set_back())
    assert match.stamp_ns == START and stamps(match) == {"left": -10}
    sync.add_image("left", START - 40 * MS, "again")
    assert sync.add_cloud(START - 40 * MS, "sweep", now_ns=0) is False
    assert stamps(only(sync.poll(0))) == {"left": 0}


@pytest.mark.parametrize(("behind_ms", "waits"), [(40, False), (50, False), (60, True)])
def test_by_rhythm_a_sweep_waits_only_where_a_nearer_image_is_due(behind_ms, waits):
    sync = synchronizer("left")
    sync.by_rhythm = True
    for index in range(9):
        assert not sync.poll(0)
        sync.add_image("left", START + 100 * index * MS, index)
    sync.add_cloud(START + (800 + behind_ms) * MS, "sweep", 0)
    assert bool(sync.poll(0)) is not waits


def test_a_rhythm_that_is_not_known_is_not_relied_on():
    sync = synchronizer("left")
    sync.by_rhythm = True
    for index in range(8):
        sync.add_image("left", START + 100 * index * MS, index)
    sync.add_cloud(START + 701 * MS, "sweep", 0)
    assert not sync.poll(0)
