"""Pairing over whole drives with messages lost, doubled, late and out of order, stopped cameras and time that jumps."""

from collections import defaultdict

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from occfusion_ros.ros.node.synchronizer import JUMP_NS, Synchronizer

MS = 1_000_000
TOLERANCE, WAIT = 50 * MS, 100 * MS
START = 10_000 * MS
SOURCES = ("cloud", "left", "right")
PERIODS = {"cloud": 50, "left": 83, "right": 40}  # milliseconds


@st.composite
def drives(draw, min_ms: int = 0, max_ms: int = 3000):
    """Messages of one run in the order of their arrival: (source, stamp, arrival) in nanoseconds.

    They are late by chance, and lost, doubled or out of order; a camera may stop.
    """
    length = draw(st.integers(min_ms, max_ms))
    stopped = draw(st.dictionaries(st.sampled_from(SOURCES[1:]), st.integers(0, 3000)))
    chance, messages = draw(st.randoms(use_true_random=False)), []
    for source, period in PERIODS.items():
        for at in range(0, length, period):
            if at > stopped.get(source, length) or chance.random() < 0.1:
                continue
            stamp = START + (at + chance.randint(-10, 10)) * MS
            for _ in range(1 + (chance.random() < 0.05)):
                messages.append((stamp + chance.randint(0, 150) * MS, stamp, source))
    return [(source, stamp, arrival) for arrival, stamp, source in sorted(messages, key=lambda m: m[0])]


class Run:
    """A synchronizer that is given messages and asked for matches after each; checks what must always hold."""

    def __init__(self, depth: int = 8) -> None:
        self.sync, self.depth = Synchronizer(("left", "right"), TOLERANCE, WAIT, depth), depth
        self.matches, self.added, self.last_ns, self.number = [], defaultdict(int), 0, 0

    def feed(self, messages, shift_ns: int = 0, clock_stands: bool = False):
        """The matches of these messages; the clock of arrivals goes on where stamps go back."""
        before = len(self.matches)
        for source, stamp, arrival in messages:
            now, self.number = 0 if clock_stands else arrival + shift_ns, self.number + 1
            if source == "cloud":
                if self.sync.add_cloud(stamp, (stamp, self.number), now):
                    self.last_ns = 0
            else:
                self.sync.add_image(source, stamp, (stamp, self.number))
            self.added[source] += 1
            self.take(self.sync.poll(now))
        return self.matches[before:]

    def take(self, matches) -> None:
        for match in matches:
            assert match.stamp_ns == match.cloud[0] > self.last_ns, "sweeps come in order, and no one twice"
            assert set(match.images) | set(match.missing) == {"left", "right"}
            assert not set(match.images) & set(match.missing)
            for stamp, item in match.images.values():
                assert stamp == item[0] and abs(stamp - match.stamp_ns) <= TOLERANCE
            self.last_ns = match.stamp_ns
            self.matches.append(match)
        self.check()

    def check(self) -> None:
        sync, cameras = self.sync, self.sync._cameras.values()
        assert len(sync._sweeps) <= self.depth
        assert all(len(camera.items) == len(camera.stamps) <= self.depth for camera in cameras)
        assert self.added["cloud"] == len(self.matches) + sum(sync.dropped.values()) + len(sync._sweeps)
        waiting = sum(not image.used for camera in cameras for image in camera.items)
        images = self.added["left"] + self.added["right"]
        assert images == sum(sync.used.values()) + sum(sync.unused.values()) + waiting, "an image got lost uncounted"


def essence(matches, shift_ns: int = 0):
    return [
        (m.stamp_ns - shift_ns, {name: stamp - shift_ns for name, (stamp, _) in m.images.items()}, m.missing)
        for m in matches
    ]


@settings(max_examples=100, deadline=None)
@given(messages=drives(), depth=st.integers(1, 8), clock_stands=st.booleans())
def test_drives_with_faults_of_all_kinds(messages, depth, clock_stands):
    run = Run(depth)
    run.feed(messages, clock_stands=clock_stands)
    run.take(run.sync.poll(START + 10_000 * MS))
    if not clock_stands:
        assert not run.sync.waiting, "a sweep waits for ever"


@st.composite
def jumps(draw):
    """Two drives of which the second ends so long before the first that the time must have been set back."""
    first = draw(drives(min_ms=1500))
    last_sweep = max((stamp for source, stamp, _ in first if source == "cloud"), default=0)
    room_ms = (last_sweep - START - JUMP_NS) // MS - 11  # a stamp may be 10 ms late
    assume(room_ms >= 100)
    second = draw(drives(min_ms=100, max_ms=room_ms))
    assume(any(source == "cloud" for source, _, _ in second))
    return first, second


@settings(max_examples=100, deadline=None)
@given(pair=jumps())
def test_after_time_jumped_back_all_is_as_in_a_fresh_start(pair):
    """A bag that loops, or another one from the start: nothing of the past run is left."""
    first, second = pair
    run = Run()
    run.feed(first)
    run.take(run.sync.poll(START + 10_000 * MS))
    again = run.feed(second, shift_ns=10_000 * MS)
    assert essence(again) == essence(Run().feed(second))


def arrived_once_all_were_heard(messages) -> set[int]:
    """The stamps of the sweeps that came after the first image of every camera."""
    first = {source: at for at, (source, _, _) in reversed(list(enumerate(messages))) if source != "cloud"}
    heard = max(first.values()) if len(first) == 2 else len(messages)
    before, after = (
        {stamp for source, stamp, _ in part if source == "cloud"} for part in (messages[:heard], messages[heard:])
    )
    return after - before


@settings(max_examples=50, deadline=None)
@given(messages=drives(min_ms=500), years=st.integers(1, 200))
def test_time_that_leaps_ahead_does_no_harm(messages, years):
    """As soon as every camera was heard again, all is as in a fresh start."""
    leap = years * 365 * 86_400 * 10**9
    later = [(source, stamp + leap, arrival + leap) for source, stamp, arrival in messages]
    fresh, run = Run(), Run()
    run.feed(messages)
    for each in (fresh, run):
        each.feed(later)
        each.take(each.sync.poll(leap + START + 10_000 * MS))
    same = arrived_once_all_were_heard(later)
    assert essence([m for m in run.matches if m.stamp_ns in same]) == essence(
        [m for m in fresh.matches if m.stamp_ns in same]
    )


@st.composite
def steady_drives(draw):
    """Messages of one run whose cameras keep their rhythm, with images lost and late; the last is no image's."""
    chance, messages = draw(st.randoms(use_true_random=False)), []
    for source, period in PERIODS.items():
        phase = draw(st.integers(0, period - 1))
        for at in range(phase, 3000, period):
            if chance.random() < 0.9:
                stamp = START + at * MS
                messages.append((stamp + chance.randint(0, 30) * MS, stamp, source))
    return [(source, stamp, arrival) for arrival, stamp, source in sorted(messages, key=lambda m: m[0])]


@settings(max_examples=100, deadline=None)
@given(messages=steady_drives())
def test_cameras_that_keep_their_rhythm_are_paired_alike_and_earlier(messages):
    certain, rhythm, moments = Run(), Run(), {}
    rhythm.sync.by_rhythm = True
    for message in messages:
        for run in (certain, rhythm):
            moments.update({(run, match.stamp_ns): message[2] for match in run.feed([message])})
    for run in (certain, rhythm):
        run.take(run.sync.poll(START + 10_000 * MS))
    assert essence(rhythm.matches) == essence(certain.matches)
    waits = [moments.get((run, m.stamp_ns), START + 10_000 * MS) for m in certain.matches for run in (rhythm, certain)]
    assert all(early <= late for early, late in zip(waits[::2], waits[1::2])) and sum(waits[::2]) < sum(waits[1::2])
