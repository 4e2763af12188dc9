"""The memory of a world that stands still, of what moves in it, and of poses that go wrong."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.voxel_world import GRID, VoxelWorld, pose
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.core.frames import OccupancyGrid, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.memory.columns import DEPTH
from occfusion_ros.memory.compiled_volume import CompiledVolume
from occfusion_ros.memory.memory import Memory, MemorySettings

ROOM = VoxelWorld.room()
NOTHING = VoxelWorld({})  # no ray returns, so none passes
NS = 1_000_000_000
TENTH = NS // 10
CAR = int(Label.CAR)


def remembered(memory: Memory) -> dict[tuple, int]:
    """Labels of the occupied voxels by their place in the fixed frame."""
    known, (evidence, label, _) = memory.volume.content()
    voxels, full = np.argwhere(known) + memory.volume.low, evidence > 0
    return {tuple(v): int(k) for v, k in zip(voxels[full].tolist(), label[full])}


def play(memory: Memory, poses, world=ROOM, start_ns: int = NS, **options) -> list[OccupancyGrid]:
    return [memory.answer(*world.frame(start_ns + i * TENTH, at), **options) for i, at in enumerate(poses)]


@pytest.fixture
def memory():
    memory = Memory(GRID)
    yield memory
    memory.close()


def straight(count, step=0.2):
    return [pose(i * step) for i in range(count)]


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    start=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-0.2, 0.2)),
    turns=st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0, 0.2)), min_size=4, max_size=10),
)
def test_a_static_world_seen_from_any_path_is_the_truth(start, turns):
    """Everything occupied lies at a surface of the world, with its label, and no ray ever went through a wall."""
    poses, (x, y, yaw) = [], start
    for turn, step in turns:
        yaw, x, y = yaw + turn, x + step * np.cos(yaw), y + step * np.sin(yaw)
        poses.append(pose(x, y, 0.01, yaw))
    memory = Memory(GRID)
    play(memory, poses)
    found = remembered(memory)
    assert len(found) > 200
    steps = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    for voxel, label in found.items():
        near = {ROOM.labels.get(tuple(np.add(voxel, step))) for step in steps}
        assert label in near, f"{voxel} is {label}, and around it are {near}"
    memory.close()


def test_driving_in_whole_voxels_gives_exactly_the_voxels_that_were_seen(memory):
    answers = play(memory, straight(8))
    found = remembered(memory)
    assert found and all(ROOM.labels[voxel] == label for voxel, label in found.items())
    assert len(answers[-1].remembered) > 50, "earlier frames fill nothing"
    filled = answers[-1].labels.reshape(-1)[answers[-1].remembered]
    assert (filled > 0).all() and (np.diff(answers[-1].remembered) > 0).all()


def test_memory_fills_what_one_frame_does_not_see_and_takes_nothing_it_sees(memory):
    predicted = [ROOM.frame(NS + i * TENTH, at) for i, at in enumerate(straight(6))]
    for frame in predicted:
        answer = memory.answer(*frame)
    own = predicted[-1][0].labels
    assert (answer.labels[own > 0] == own[own > 0]).all() and (answer.labels > 0).sum() > (own > 0).sum()


def test_a_drive_out_and_back_and_whole_turns_give_the_same_world():
    seen = []
    for path in (straight(8), straight(8) + straight(8)[::-1], [pose(i * 0.2, yaw=2 * np.pi * i) for i in range(8)]):
        memory = Memory(GRID)
        play(memory, path)
        seen.append(remembered(memory))
        memory.close()
    once = seen[0]
    for again in seen[1:]:
        both = set(once) & set(again)
        assert all(once[voxel] == again[voxel] for voxel in both)
        assert len(both) >= 0.99 * max(len(once), len(again))  # more is seen of what lies at the edge of a ray's reach


def test_out_of_the_volume_and_back_is_like_new(memory):
    play(memory, [pose(0)])
    before = remembered(memory)
    far = [pose(step) for step in np.arange(1, 30, 1.0)]
    play(memory, far, NOTHING, start_ns=2 * NS)
    assert not remembered(memory) and memory.state.resets == 0
    play(
        memory,
        [pose(30 - step) for step in np.arange(1, 30.5, 1.0)],
        NOTHING,
        start_ns=20 * NS,
    )
    play(memory, [pose(0)], start_ns=40 * NS)
    assert remembered(memory) == before


def test_rolling_keeps_every_voxel_in_its_place(memory):
    play(memory, [pose(0, 0, 0)])
    before, volume = remembered(memory), memory.volume
    for position in ((1.0, -0.6, 0.4), (-0.8, 0.2, -1.2), (3.0, 3.0, 0.2)):
        volume.center_on(np.array(position))
        inside = {v for v in before if all(lo <= i < lo + n for i, lo, n in zip(v, volume.low, volume.size))}
        assert set(remembered(memory)) <= inside
        assert_consistent(volume)


def assert_consistent(volume: CompiledVolume) -> None:
    """The bits say what the bytes do: what is restored from the bytes alone has the same."""
    again = CompiledVolume(GRID, volume.size[0])
    again.restore(volume.low, *volume.content())
    assert (again.words == volume.words).all()


def with_car(frame, at, edge=4):
    """A frame in which a car is predicted, with a return from each of its voxels."""
    predicted, sweep, fixed_from_grid = frame
    labels = predicted.labels.copy()
    x, y, z = at
    labels[x : x + edge, y : y + edge, z : z + 2] = CAR
    places = GRID.centers(np.argwhere(labels == CAR))
    points = np.concatenate([sweep.points, np.c_[places, np.ones(len(places))].astype(np.float32)])
    return replace(predicted, labels=labels), replace(sweep, points=points), fixed_from_grid


def test_a_car_that_drives_on_leaves_no_trace(memory):
    for i in range(8):
        answer = memory.answer(*with_car(ROOM.frame(NS + i * TENTH, pose(0)), (38 + 2 * i, 30, 7)))
        cars = np.argwhere(answer.labels == CAR)
        assert set(cars[:, 0]) == set(range(38 + 2 * i, 42 + 2 * i)), "it is where the frame says, and nowhere else"


def test_what_moves_is_shown_for_a_while_where_nothing_looks_and_not_against_rays():
    settings_ = MemorySettings(movable_s=1.0)
    memory = Memory(GRID, settings_)
    memory.answer(*with_car(NOTHING.frame(NS, pose(0)), (40, 30, 7)))
    shown = [(memory.answer(*NOTHING.frame(NS + i * TENTH, pose(0))).labels == CAR).any() for i in range(1, 25)]
    assert shown[:8] == [True] * 8 and not any(shown[18:])
    memory.answer(*with_car(NOTHING.frame(9 * NS, pose(0)), (40, 30, 7)))
    seen = ROOM.frame(9 * NS + TENTH, pose(0))  # its rays go to the walls through where the car was
    car = np.zeros(GRID.size, bool)
    car[40:44, 30:34, 7:9] = True
    answer = memory.answer(*seen)
    assert (answer.labels == CAR).sum() < car.sum() / 2
    memory.close()


def test_what_was_wrongly_remembered_is_forgotten_when_rays_pass(memory):
    ghost = replace(ROOM.frame(NS, pose(0))[0])
    labels = ghost.labels.copy()
    labels[40, 28:36, 7:10] = Label.MANMADE
    for i in range(12):
        predicted, sweep, at = ROOM.frame(NS + i * TENTH, pose(0))
        answer = memory.answer(replace(predicted, labels=labels if i == 0 else predicted.labels), sweep, at)
    assert not answer.labels[40, 30:34, 8].any()


def test_a_prediction_that_rays_contradict_is_answered_as_free_but_never_a_return(memory):
    predicted, sweep, at = ROOM.frame(NS, pose(0))
    labels = predicted.labels.copy()
    labels[40, 28:36, 7:10] = Label.VEGETATION  # between the sensor and the wall
    answer = memory.answer(replace(predicted, labels=labels), sweep, at)
    assert not answer.labels[40, 31:33, 8].any()
    voxels, inside = GRID.indices(sweep.points[:, :3])
    assert (answer.labels[tuple(voxels[inside].T)] > 0).all()


def test_standing_still_for_an_hour_keeps_what_is_seen_and_fades_the_rest():
    memory = Memory(GRID, MemorySettings(static_s=60.0))
    play(memory, straight(8))
    with_history = len(remembered(memory))
    counts = []
    for minute in range(60):
        frame = ROOM.frame((120 + 60 * minute) * NS, pose(1.4))
        memory.answer(*frame)
        counts.append(len(remembered(memory)))
    own = np.count_nonzero(frame[0].labels)
    assert with_history > counts[-1] >= 0.95 * own and counts[-1] == counts[20]
    memory.close()


def test_a_long_memory_never_fades():
    memory = Memory(GRID, MemorySettings(static_s=np.inf))
    play(memory, straight(8))
    before = remembered(memory)
    memory.answer(*NOTHING.frame(10_000 * NS, pose(1.4)))
    assert remembered(memory) == before
    memory.close()


@pytest.mark.parametrize(
    ("after", "later_ns", "reason"),
    [
        (pose(0.2, 3.0), TENTH, "jumped by 3.0 m"),
        (pose(0.2, yaw=1.5), TENTH, "turned by 86 degrees"),
        (pose(0.4), -NS, "time went back by 1"),
        (pose(500.0), NS, "jumped by 499.8 m"),
    ],
)
def test_what_cannot_follow_resets_and_is_told(memory, after, later_ns, reason):
    play(memory, [pose(0), pose(0.1), pose(0.2)])
    answer = memory.answer(*ROOM.frame(NS + 2 * TENTH + later_ns, after))
    assert memory.state.resets == 1 and reason in memory.state.reset_reason and memory.state.frames == 1
    assert not len(answer.remembered)


@pytest.mark.parametrize("name", ["bump", "drift", "gap", "turn", "brake"])
def test_what_vehicles_do_resets_nothing(memory, name):
    paths = {
        "bump": [pose(i * 1.0, pitch=0.12 * (i % 2), z=0.1 * (i % 2)) for i in range(8)],
        "drift": [pose(i * 0.5 * 1.01, i * 0.005) for i in range(8)],
        "gap": [pose(i * 0.5 + 20 * (i > 3)) for i in range(8)],
        "turn": [pose(i * 0.5, yaw=0.15 * i) for i in range(8)],
        "brake": [pose(1.5 * i - 0.06 * i * i) for i in range(8)],  # 12 m/s2
    }
    stamps = [NS + i * TENTH + (2 * NS if name == "gap" and i > 3 else 0) for i in range(8)]
    for stamp, at in zip(stamps, paths[name]):
        memory.answer(*ROOM.frame(stamp, at))
    assert memory.state.resets == 0, memory.state.reset_reason


def test_a_frame_that_comes_twice_is_counted_once(memory):
    frame = ROOM.frame(NS, pose(0))
    first = memory.answer(*frame).labels
    known, voxels = memory.volume.content()
    assert (memory.answer(*frame).labels == first).all() and (memory.volume.content()[1] == voxels).all()
    assert memory.state.frames == 1


def test_unknown_is_what_no_ray_has_reached(memory):
    answer = memory.answer(*ROOM.frame(NS, pose(0)), unknown="occluded")
    behind, between = answer.labels[:5], answer.labels[36:44, 32, 8]
    assert (behind == IGNORE).all() and not (between == IGNORE).any()
    assert ((answer.labels > 0) & (answer.labels < IGNORE)).any()
    none = memory.answer(*ROOM.frame(NS + TENTH, pose(0)))
    assert not (none.labels == IGNORE).any()


def test_what_was_seen_before_is_known(memory):
    play(memory, straight(8))
    unseen = memory.answer(*NOTHING.frame(3 * NS, pose(1.4)), unknown="occluded")
    assert 0.2 < (unseen.labels != IGNORE).mean() < 0.9


def test_all_of_a_prediction_survives_where_the_volume_ends(memory):
    labels = np.full(GRID.size, Label.MANMADE, np.uint8)
    tilted = pose(0, 0, 0, yaw=0.78, pitch=0.4)
    none = SensorFrame(NS, np.zeros((0, 4), np.float32))
    answer = memory.answer(OccupancyGrid(GRID, labels, NS, "grid"), none, tilted)
    assert (answer.labels == Label.MANMADE).all()


def test_another_grid_and_poses_that_are_none_are_refused(memory):
    predicted, sweep, at = ROOM.frame(NS, pose(0))
    with pytest.raises(InvalidFrameError, match="rigid"):
        memory.answer(predicted, sweep, at * 2)
    with pytest.raises(InvalidFrameError, match="rigid"):
        memory.answer(predicted, sweep, at * np.nan)
    other = OccupancyGrid(replace(GRID, voxel_size=0.1), predicted.labels, NS, "grid")
    with pytest.raises(InvalidFrameError, match="expected a prediction on"):
        memory.answer(other, sweep, at)


def test_a_grid_that_is_too_high_is_refused():
    with pytest.raises(InvalidFrameError, match="at most 64 voxels along z, got 65"):
        Memory(replace(GRID, size=(8, 8, 65)))


def test_memory_is_bounded():
    memory = Memory(GridSpec())
    assert memory.nbytes < 100e6 and memory.volume.size == (512, 512, DEPTH)
    memory.close()
    memory = Memory(GRID, MemorySettings(range_m=80.0))
    assert memory.volume.size == (800, 800, DEPTH)
    memory.close()
