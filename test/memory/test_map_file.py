"""Maps of a memory: the same after saving and loading, and refused where they are of something else or damaged."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.voxel_world import GRID, VoxelWorld, pose

from occfusion_ros.core.atomic import WriteError
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.memory.map_file import MapError, load_map, save_map
from occfusion_ros.memory.memory import Memory, MemorySettings

ROOM = VoxelWorld.room()
CLASSES = tuple(f"class {i}" for i in range(1, 17))
NS = 1_000_000_000


def driven(steps: int = 6, grid: GridSpec = GRID, **settings) -> Memory:
    memory = Memory(grid, MemorySettings(static_s=np.inf, **settings))
    for i in range(steps):
        memory.answer(*ROOM.frame(NS + i * NS // 10, pose(0.3 * i, 0.1 * i, 0.02 * i), grid))
    return memory


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "room.npz"
    save_map(path, driven(), "map", CLASSES)
    return path


def test_a_memory_is_the_same_after_saving_and_loading(saved):
    before, after = driven(), driven(0)
    load_map(saved, after, "map", CLASSES)
    for name in ("words", "low"):
        np.testing.assert_array_equal(getattr(after.volume, name), getattr(before.volume, name), name)
    np.testing.assert_array_equal(after.volume.content()[1], before.volume.content()[1])
    frame = ROOM.frame(5 * NS, pose(1.9, 0.5, 0.1, yaw=0.2))
    np.testing.assert_array_equal(before.answer(*frame, "occluded").labels, after.answer(*frame, "occluded").labels)
    assert after.state.frames == 7 and (after.state.first_ns, after.state.resets) == (5 * NS, 0)
    after.reset("a jump")
    assert not after.volume.words.any()


def test_a_map_takes_the_place_of_what_was_remembered(saved):
    memory = driven(3)
    load_map(saved, memory, "map", CLASSES)
    np.testing.assert_array_equal(memory.volume.content()[1], driven().volume.content()[1])
    assert (memory.state.resets, memory.state.reset_reason) == (1, "a map was loaded")


def test_a_map_is_small_and_holds_no_objects(saved):
    assert saved.stat().st_size < 20_000 < driven().volume.nbytes / 20
    with np.load(saved, allow_pickle=False) as archive:
        assert set(archive) == {"header", "known", "evidence", "label", "lead"}
        assert json.loads(archive["header"].tobytes())["fixed_frame"] == "map"


@pytest.mark.parametrize(
    ("other", "frame", "classes", "error"),
    [
        ({}, "odom", CLASSES, "expected fixed_frame odom, got 'map'"),
        ({}, "map", CLASSES[:-1], "expected classes"),
        ({"range_m": 20.0}, "map", CLASSES, r"expected size \[200, 200, 64\].*memory_range_m"),
        ({"grid": GridSpec(GRID.low, 0.25, GRID.size)}, "map", CLASSES, "expected voxel_size 0.25, got 0.2"),
    ],
)
def test_a_map_of_something_else_is_refused(saved, other, frame, classes, error):
    memory = driven(0, **other)
    with pytest.raises(MapError, match=error):
        load_map(saved, memory, frame, classes)
    assert not memory.volume.words.any()


def changed(source: Path, path: Path, **members: Callable[[np.ndarray], np.ndarray] | bytes | None) -> Path:
    """A copy in which members are other arrays, other bytes, or missing."""
    with np.load(source) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in archive:
            change, file = members.get(name, lambda array: array), io.BytesIO()
            if change is None:
                continue
            if callable(change):
                np.save(file, change(archive[name]), allow_pickle=True)
            target.writestr(f"{name}.npy", file.getvalue() if callable(change) else change)
    return path


def with_header(**values) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        header = json.loads(array.tobytes()) | values
        return np.frombuffer(json.dumps(header).encode(), np.uint8)

    return change


def huge(kind: str = "|i1", count: int = 10**15) -> bytes:
    """An array that claims far more than there is."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (count,)})
    return file.getvalue() + bytes(1000)


@pytest.mark.parametrize(
    "members",
    [
        {"header": None},
        {"header": lambda _: np.frombuffer(b"[" * 60_000, np.uint8)},
        {"header": lambda _: np.frombuffer(b"[1]", np.uint8)},
        {"header": lambda _: np.array([{"format": 1}], object)},
        {"header": with_header(format=1)},
        {"header": with_header(low=[0, 0])},
        {"header": with_header(low=[0, 0, 10**30])},
        {"header": with_header(frames=0)},
        {"header": with_header(frames=True)},
        {"known": lambda array: array[:-1]},
        {"known": lambda array: array | 255},
        {"evidence": lambda array: array * 0},
        {"evidence": lambda array: array * 0 + -128},
        {"evidence": lambda array: -array},
        {"evidence": huge()},
        {"evidence": b"not an array"},
        {"label": lambda array: array + 16},
        {"label": lambda array: array * 0},
        {"label": huge(count=10**9)},
        {"lead": lambda array: array.astype(np.int16)},
        {"lead": lambda array: array * 0 - 1},
        {"lead": lambda array: array[None]},
    ],
)
def test_a_damaged_map_is_refused_and_nothing_is_lost(saved, tmp_path, members):
    memory = driven(3)
    before = memory.volume.content()[1]
    with pytest.raises(MapError, match="room.npz"):
        load_map(changed(saved, tmp_path / "room.npz", **members), memory, "map", CLASSES)
    np.testing.assert_array_equal(memory.volume.content()[1], before)
    assert memory.state.frames == 3


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: d[:200] + b"\xff" * 99 + d[299:]]
)
def test_a_file_that_is_cut_off_or_overwritten_is_refused(saved, tmp_path, damage):
    path = tmp_path / "room.npz"
    path.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(MapError, match="no map that can be read"):
        load_map(path, driven(0), "map", CLASSES)


def test_what_is_no_file_is_refused_and_what_cannot_be_written_told(tmp_path):
    for path, error in (
        (tmp_path, "ends in .npz"),
        (tmp_path / "a.npz", "no file"),
        (tmp_path / "a.npy", "ends in .npz"),
    ):
        with pytest.raises(MapError, match=error):
            load_map(path, driven(0), "map", CLASSES)
    with pytest.raises(MapError, match="nothing is remembered"):
        save_map(tmp_path / "a.npz", driven(0), "map", CLASSES)
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError):
        save_map(tmp_path / "file" / "a.npz", driven(1), "map", CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
