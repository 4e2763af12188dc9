"""Files are written whole or not at all, and what cannot be written is said in one sentence."""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest

from occfusion_ros.core import atomic
from occfusion_ros.core.atomic import WriteError, replacing, write_bytes, write_json, write_text


def _fails(number):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return fail


def test_what_was_written_is_read(tmp_path):
    write_bytes(tmp_path / "new" / "folders" / "bytes", b"\0\1")
    write_text(tmp_path / "text", "Ω")
    write_text(tmp_path / "text", "ω")
    write_json(tmp_path / "json", {"a": [1, None]})
    assert (tmp_path / "new" / "folders" / "bytes").read_bytes() == b"\0\1"
    assert (tmp_path / "text").read_text("utf-8") == "ω"
    assert json.loads((tmp_path / "json").read_text()) == {"a": [1, None]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["json", "new", "text"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize("where", ["write", "replace"])
def test_nothing_half_written_is_left(tmp_path, monkeypatch, number, where):
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(WriteError, match="cannot write .*figures.json: ") as caught:
        with replacing(path) as partial:
            partial.write_text("half")
            if where == "write":
                _fails(number)()
            monkeypatch.setattr(atomic.os, "replace", _fails(number))
    monkeypatch.undo()
    assert str(caught.value) == f"cannot write {path}: {os.strerror(number)}"
    assert caught.value.disk_full == (number in (errno.ENOSPC, errno.EDQUOT))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("error", [ValueError("no picture"), KeyboardInterrupt()])
def test_errors_of_other_kinds_are_not_renamed(tmp_path, error):
    with pytest.raises(type(error)), replacing(tmp_path / "picture.png") as partial:
        partial.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file/figures.json", "folder", "/proc/nowhere/figures.json", "n" * 300])
def test_a_place_where_nothing_can_be_written(tmp_path, place):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=f"cannot write {tmp_path / place}: [A-Z]"):
        write_text(tmp_path / place, "content")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_worker_processes_can_raise_it(tmp_path):
    error = WriteError(tmp_path / "file", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.disk_full) == (str(error), tmp_path / "file", True)


def test_devices_and_links_stay_what_they_are(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_text(tmp_path / "link", "content")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "content"
    with pytest.raises(WriteError, match="cannot write /dev/full: No space left on device") as caught:
        write_text(Path("/dev/full"), "content")
    assert caught.value.disk_full and Path("/dev/full").is_char_device()
