"""Recordings are labeled as the node would answer them, whoever runs the slices and however often it is ended."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_nuscenes import SCENE, TinyRoot
from hypothesis import given
from hypothesis import strategies as st

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.labels import __main__ as labels
from occfusion_ros.labels.__main__ import main
from occfusion_ros.labels.hindsight import merged
from occfusion_ros.labels.plan import cut
from occfusion_ros.labels.runners import Share
from occfusion_ros.labels.store import Store
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene

KILLS = int(os.environ.get("OCCFUSION_KILLS", "1"))
SLICE_S = "0.05"


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    """Three sweeps and two cameras in 0.1 s."""
    folder = tmp_path_factory.mktemp("bags")
    return convert_scene(
        NuScenesReader(TinyRoot(folder / "root").root), SCENE, folder, sweeps=True, progress=False
    ).path


@pytest.fixture(scope="module")
def arguments(small_artifact) -> list[str]:
    """Of the command, but for bags and place."""
    values = {
        "model": small_artifact,
        "cameras": "[cam_front, cam_back]",
        "backend": "onnxruntime",
        "fixed_frame": "map",
    }
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")] + [
        *("--slice-s", SLICE_S),
        *("--picture-every", "0"),
    ]


def label(out: Path, *words) -> dict[str, bytes]:
    """The files that the command writes."""
    assert main([*map(str, words[:1]), str(out), *map(str, words[1:])]) == 0
    return files(out)


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def labeled(bag, arguments, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """Labels made in this process, and all files."""
    out = tmp_path_factory.mktemp("labels") / "out"
    return out, label(out, bag, *arguments, "--workers", "0")


def test_every_sweep_has_labels_and_a_record(labeled, bag):
    out, written = labeled
    summary = json.loads(written["summary.json"])
    assert summary["sweeps"] == 3 and summary["slices"] == 3 and not summary["failed"]
    records = [json.loads(written[f"slices/{bag.stem}-{index:04d}.json"]) for index in range(3)]
    assert sorted(len(record["sweeps"]) for record in records) == [1, 1, 1]
    for record in records:
        for sweep in record["sweeps"]:
            arrays = np.load(out / "occupancy" / f"{sweep['token']}.npz")
            assert set(arrays) == {"semantics", "remembered", "occupancy", "class_confidence"}
            occupied = (arrays["semantics"] > 0) & (arrays["semantics"] < 255)
            assert occupied.sum() == sum(sweep["voxels"].values()) - sweep["voxels"]["free"] > 0
            assert (arrays["occupancy"][occupied] > 0).all()


def test_it_is_a_nuscenes_root_with_the_sensors_where_they_stood(labeled, bag):
    made, original = NuScenesReader(labeled[0]), NuScenesReader(bag.parent / "root")
    (scene,) = made.scenes()
    tokens = list(made.samples(scene))
    assert len(tokens) == 3
    first, theirs = made.frame(tokens[0]), original.frame(next(original.samples()))
    assert first.stamp_ns == theirs.stamp_ns and np.allclose(first.points[0], theirs.points[0])
    cameras = {camera.name: camera for camera in theirs.cameras}
    for camera in first.cameras:
        assert np.allclose(camera.camera_from_grid, cameras[camera.name].camera_from_grid)
        assert np.array_equal(camera.image, cameras[camera.name].image)
        assert np.allclose(camera.intrinsics, cameras[camera.name].intrinsics)
    pose = made.lidar_record(tokens[0]).map_from_sensor
    assert np.allclose(pose, original.lidar_record(next(original.samples())).map_from_sensor)


def test_a_scene_of_a_nuscenes_root_gives_the_labels_of_its_bag(labeled, bag, arguments, tmp_path):
    written = label(tmp_path / "out", bag.parent / "root", *arguments, "--workers", "0")
    ours, theirs = ({k: v for k, v in each.items() if k.startswith("occupancy")} for each in (written, labeled[1]))
    assert len(ours) == 2 and ours.items() <= theirs.items()  # its key frames


def test_processes_write_the_same_bytes(labeled, bag, arguments, tmp_path):
    written = label(tmp_path / "out", bag, *arguments, "--workers", "2")
    assert written == labeled[1]


def test_a_ray_cluster_writes_the_same_bytes(labeled, bag, arguments, tmp_path):
    pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    written = label(tmp_path / "out", bag, *arguments, "--ray", "local", "--threads", "1")
    assert written == labeled[1]


def test_what_is_done_is_not_done_again_and_other_settings_are(labeled, bag, arguments, capsys):
    out, written = labeled
    assert label(out, bag, *arguments, "--workers", "0") == written
    assert "3 slices, 3 of them done before" in capsys.readouterr().out
    (out / "slices" / f"{bag.stem}-0001.json").write_text(json.dumps({"fingerprint": "other"}))
    assert label(out, bag, *arguments, "--workers", "0") == written
    assert "3 slices, 2 of them done before" in capsys.readouterr().out


def test_one_bad_bag_ends_nothing(bag, arguments, tmp_path, capsys):
    bad = tmp_path / "bad.mcap"
    bad.write_bytes(b"no bag")
    code = main([str(bad), str(bag), str(tmp_path / "out"), *arguments, "--workers", "0", "--formats", "npz"])
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert code == 1 and summary["sweeps"] == 3 and set(summary["failed"]) == {"bad"}
    assert "FAILED bad: cannot read the bag" in capsys.readouterr().out


def test_a_full_disk_is_said_and_leaves_nothing_half_written(bag, arguments, tmp_path, capsys):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))  # the labels of a sweep are larger, its record is not
    try:
        code = main([str(bag), str(tmp_path / "out"), *arguments, "--workers", "0", "--formats", "npz"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and "File too large" in capsys.readouterr().out
    assert not any("occupancy" in name or "partial" in name or "slices" in name for name in files(tmp_path / "out"))


def test_messages_for_replay_hold_the_labels(labeled, bag, arguments, tmp_path):
    from rclpy.serialization import deserialize_message

    from occfusion_msgs.msg import OccupancyGrid3D
    from occfusion_ros.ros.conversions.occupancy_grid import grid_from_message
    from occfusion_ros.ros.without_ros.bag_reader import open_bag

    words = ["--workers", "0", "--formats", "mcap", "--slice-s", "20", "--picture-every", "2"]
    written = label(tmp_path / "out", bag, *arguments, *words)
    assert sum(name.startswith("pictures/") for name in written) == 2  # of the first and the third sweep
    assert {name.split("/")[0] for name in written} == {"mcap", "slices", "manifest.json", "summary.json", "pictures"}
    with open_bag(tmp_path / "out/mcap" / f"{bag.stem}-0000.mcap") as answers:
        found = [
            (at, deserialize_message(bytes(raw), OccupancyGrid3D))
            for _, at, raw in answers.messages(answers.connections)
        ]
    assert len(found) == 3
    records = [
        s for name, content in labeled[1].items() if name.startswith("slices") for s in json.loads(content)["sweeps"]
    ]
    tokens = {record["stamp_ns"]: record["token"] for record in records}
    for at, message in found:
        labels = np.load(labeled[0] / "occupancy" / f"{tokens[at]}.npz")["semantics"]
        assert np.array_equal(grid_from_message(message).labels, labels)


def test_labels_go_where_fsspec_reaches(labeled, bag, arguments):
    import fsspec

    place = "memory://labels"
    assert main([str(bag), place, *arguments, "--workers", "0"]) == 0
    memory = fsspec.filesystem("memory")
    found = {path.removeprefix("/labels/"): memory.cat_file(path) for path in memory.find("/labels")}
    assert {**labeled[1]} == found
    assert Store(place).read("nothing") is None


@pytest.mark.parametrize(
    "words",
    [
        ["--hindsight"],
        ["--gpus-per-worker", "1"],
        ["-p", "memory:=short", "-p", "fixed_frame:=''"],
        ["-p", "past_sweeps:=3"],
        ["-p", "colour:=1"],
    ],
)
def test_settings_that_do_not_fit_are_refused(bag, tmp_path, words, capsys):
    assert main([str(bag), str(tmp_path / "out"), *words]) == 1
    assert "error:" in capsys.readouterr().err


TIMES, POSITIVES = ("nan", "inf", "-1", "1e7", "soon"), ("nan", "inf", "0", "-1", "1e7", "soon")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *product(("--every-s", "--overlap-s"), TIMES),
        *product(("--wait-s", "--timeout-s", "--slice-s"), POSITIVES),
        *product(("--cache-gb",), ("nan", "inf", "-1", "1e10", "all")),
        *product(("--picture-every", "--workers", "--threads"), ("nan", "inf", "-1", "0.5", "some")),
        ("--slice-s", "1e-10"),
        ("--threads", "257"),
        *product(("--gpus-per-worker",), ("nan", "-0.5", "65", "all")),
    ],
)
def test_numbers_that_are_none_or_out_of_range_are_refused(option, value, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "out"), f"{option}={value}"])
    assert ended.value.code == 2
    assert re.search(f"argument {option}: expected a .*number .*, got '{value}'", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "share"),
    [
        ([], Share(2)),
        (["-p", "backend:=onnxruntime"], Share(2)),
        (["-p", "backend:=tensorrt"], Share(2, 1.0)),
        (["-p", "backend:=tensorrt", "--gpus-per-worker", "0.25"], Share(2, 0.25)),
        (["--threads", "3", "--gpus-per-worker", "2"], Share(3, 2.0)),
    ],
)
def test_workers_of_a_cluster_ask_for_gpus(monkeypatch, words, share):
    asked = []
    monkeypatch.setattr(labels, "on_ray", lambda make, parts, address, share, *_, **__: asked.append(share))
    options = labels.parser().parse_args(["bag", "out", "--ray", "auto", *words])
    labels.outcomes(options, labels.settings_of(options), [], lambda *_: None)
    assert asked == [share]


def test_a_worker_gets_whole_gpus_or_a_part_of_one(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out"), "--ray", "auto", "--gpus-per-worker", "1.5"])
    assert "expected whole GPUs, or a part of one, got '1.5'" in capsys.readouterr().err


def test_with_hindsight_there_are_as_many_labels_and_more_is_known(bag, arguments, tmp_path):
    words = [*arguments, "--workers", "0", "--formats", "npz", "-p", "memory:=short", "-p", "unknown:=occluded"]
    known = []
    for extra in ([], ["--hindsight"]):
        out = tmp_path / f"out{len(extra)}"
        assert main([str(bag), str(out), *words, *extra]) == 0
        labels = [np.load(path)["semantics"] for path in sorted((out / "occupancy").iterdir())]
        assert len(labels) == 3
        known.append(sum((each != 255).sum() for each in labels))
    assert known[1] > known[0]


def test_two_memories_give_one_answer():
    spec = GridSpec((0.0, 0.0, 0.0), 0.2, (1, 1, 7))

    def grid(*labels: int) -> OccupancyGrid:
        return OccupancyGrid(spec, np.array(labels, np.uint8).reshape(spec.size), 1, "grid")

    # free in both; known to one of them; contradicted; claimed and seen through; claimed by the frame; unknown
    own, before, after = grid(0, 0, 0, 0, 4, 4, 0), grid(0, 255, 11, 0, 4, 4, 255), grid(0, 15, 255, 15, 0, 4, 255)
    answer = merged(own, before, after)
    assert answer.labels.ravel().tolist() == [0, 15, 11, 0, 0, 4, 255]
    assert answer.remembered.tolist() == [1, 2]


@given(st.integers(0, 10**12), st.integers(1, 10**12), st.integers(10**10, 10**12))
def test_each_moment_lies_in_one_slice(start, length, piece):
    parts = list(cut(start, start + length, piece))
    assert parts[0][0] == start and parts[-1][1] == start + length
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:])) and all(0 < b - a <= piece for a, b in parts)


def workers_of(driver: subprocess.Popen) -> list[int]:
    """Process ids of its workers; what Python keeps beside them is none."""
    pids = map(int, Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text().split())
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_one(driver: subprocess.Popen, chance: random.Random, within_s: float) -> str:
    """Kill the driver or a worker at some moment; which it was, nothing where the run ended before."""
    kind, moment = chance.choice(["driver", "worker"]), time.monotonic() + chance.uniform(0, within_s)
    while driver.poll() is None:
        with suppress(OSError):  # a worker ends just now
            victims = [driver.pid] if kind == "driver" else workers_of(driver)
            if victims and time.monotonic() > moment:
                os.kill(chance.choice(victims), signal.SIGKILL)
                return kind
        time.sleep(0.05)
    return ""


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(labeled, bag, arguments, tmp_path):
    """The driver or one of its workers, `OCCFUSION_KILLS` times; every run that comes to its end is compared."""
    chance, out, killed, compared = random.Random(7), tmp_path / "out", Counter(), 0
    command = [sys.executable, "-m", "occfusion_ros.labels", str(bag), str(out), *arguments, "--workers", "2"]
    code, start, length_s = None, time.monotonic(), 0.0  # of the first run, which is left alone
    while killed.total() < KILLS or code != 0:
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if length_s and killed.total() < KILLS and (victim := kill_one(driver, chance, length_s)):
            killed[victim] += 1
        code = driver.wait(timeout=300)
        length_s = length_s or time.monotonic() - start
        assert code in (0, -signal.SIGKILL)
        if code == 0:  # not killed, or a worker alone: the next one begins with nothing
            assert files(out) == labeled[1]
            compared += 1
            shutil.rmtree(out)
    print(f"killed: {dict(killed)}; the same bytes {compared} times")
