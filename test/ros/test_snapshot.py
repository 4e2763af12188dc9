"""The snapshot command against a node that publishes known voxels and listens to known images."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.answering_node import CYAN, YELLOW, Source
from PIL import Image as Picture

from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.tools.snapshot import main


@pytest.fixture
def source():
    source = Source()
    yield source
    source.close()


@pytest.fixture(autouse=True)
def signal_handlers():
    """The command takes SIGTERM over."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def share_of(picture: np.ndarray, rgb: tuple[int, int, int]) -> float:
    return float((np.abs(picture.astype(int) - rgb).max(axis=2) < 12).mean())


def test_a_picture_shows_the_voxels_and_the_image_nearest_in_time(source, tmp_path, capsys):
    assert main(["--out", str(tmp_path / "new"), "--count", "2", "--timeout", "60"]) == 0
    path = tmp_path / "new" / "occupancy_1532402927_647951000.png"
    picture = np.asarray(Picture.open(path))
    assert share_of(picture, CYAN) > 0.02, "the image 40 ms away is drawn"
    assert share_of(picture, YELLOW) == 0, "the image 90 ms away is not"
    hue = picture / np.linalg.norm(picture.clip(1), axis=2, keepdims=True)
    car = np.array(OPENOCCUPANCY_CLASSES[3].rgb) / np.linalg.norm(OPENOCCUPANCY_CLASSES[3].rgb)
    assert (hue @ car > 0.995).mean() > 0.002, "voxels and legend show the class's color at some brightness"
    assert capsys.readouterr().out.count(str(path)) == 2


def test_what_the_node_publishes_and_hears_under_other_names_is_found(tmp_path):
    source = Source(outputs="/grids", images="/front/picture")
    try:
        assert main(["--out", str(tmp_path), "--count", "3", "--timeout", "60"]) == 0
    finally:
        source.close()
    picture = np.asarray(Picture.open(next(tmp_path.glob("*.png"))))
    assert share_of(picture, CYAN) > 0.02


def test_the_node_may_be_in_a_namespace_and_have_no_cameras(tmp_path):
    source = Source("other", cameras=())
    try:
        ros = ["--ros-args", "-r", "__ns:=/"]
        assert main(["--out", str(tmp_path), "--node", "/other", "--timeout", "60", *ros]) == 0
    finally:
        source.close()
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("name, reason", [("nobody", "there is no such node"), ("mute", "does not publish")])
def test_it_gives_up_and_says_why(name, reason, tmp_path, capsys):
    source = Source("mute", cameras=("cam_deaf",))
    source.publish = lambda: None
    source.images = []
    source.node.destroy_timer(next(iter(source.node.timers)))
    try:
        assert main(["--out", str(tmp_path), "--node", name, "--timeout", "3"]) == 1
    finally:
        source.close()
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_is_left_out_and_the_next_is_taken(source, tmp_path, capsys, monkeypatch):
    full, save = {"once"}, Picture.Image.save

    def save_once_there_is_room(picture, path, kind, **options):
        save(picture, path, kind, **options)
        if kind == "PNG" and full:
            full.clear()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Picture.Image, "save", save_once_there_is_room)
    assert main(["--out", str(tmp_path), "--count", "2", "--timeout", "20"]) == 1
    picture = next(tmp_path.iterdir())
    out, errors = capsys.readouterr()
    written = [line for line in errors.splitlines() if not line.startswith("drawing is too slow")]  # so it may be
    assert written == [f"left out: cannot write {picture}: No space left on device"]
    assert out.splitlines()[1:] == [str(picture)] and list(tmp_path.iterdir()) == [picture]
    assert Picture.open(picture).size


def test_a_folder_that_cannot_be_is_one_sentence_and_the_exit_code_tells(source, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert main(["--out", str(tmp_path / "file"), "--timeout", "20"]) == 1
    assert capsys.readouterr().err.count("cannot write ") == 1


@pytest.mark.parametrize("number, count, code", [(signal.SIGINT, 1, 130), (signal.SIGTERM, 0, 0)])
def test_it_ends_when_told_to(number, count, code, tmp_path):
    command = [
        sys.executable,
        "-m",
        "occfusion_ros.ros.tools.snapshot",
        "--out",
        str(tmp_path),
        "--timeout",
        "0",
        "--count",
        str(count),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert "waiting" in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    process.stdout.close()
