"""Bags by URL give the labels of bags in folders; each machine copies them once, and not too many."""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from helpers.labeling import files, label

from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.labels.__main__ import main
from occfusion_ros.labels.bag_copies import BagCopies, RemoteBag


@pytest.fixture
def memory():
    """A file system in this process; what a test leaves there is removed."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.fixture
def copies(tmp_path) -> BagCopies:
    return BagCopies(tmp_path / "cache", 250)


def without_spans(written: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in written.items() if not name.startswith("spans/")}


@pytest.mark.parametrize("whole", [True, False])
def test_a_bag_by_url_gives_the_same_bytes(bag, arguments, labeled, whole, memory, tmp_path, capsys):
    (mcap,) = bag.glob("*.mcap")
    if whole:
        memory.put(str(bag), f"/drives/{bag.name}", recursive=True)
        url = f"memory://drives/{bag.name}"
    else:
        memory.put(str(mcap), f"/drives/{bag.name}.mcap")
        url = f"memory://drives/{bag.name}.mcap"
    words = [*arguments, "--workers", "0", "--cache", str(tmp_path / "cache")]
    assert without_spans(label(url, tmp_path / "out", *words)) == labeled
    shutil.rmtree(tmp_path / "cache")
    capsys.readouterr()
    assert without_spans(label(url, tmp_path / "out", *words)) == labeled
    assert re.match(r"(\d+) slices, \1 of them done before", capsys.readouterr().out)
    assert not (tmp_path / "cache").exists()  # nothing was copied to find that all is done


def test_worker_processes_find_the_copy(bag, arguments, labeled, tmp_path):
    words = [*arguments, "--workers", "1", "--cache", str(tmp_path / "cache")]
    assert without_spans(label(f"file://{bag}", tmp_path / "out", *words)) == labeled


def test_a_ray_cluster_labels_bags_by_url(bag, arguments, labeled, tmp_path):
    pytest.importorskip("ray", reason="pip install 'occfusion_ros[ray]'")
    words = ["--ray", "local", "--threads", "1", "--cache", str(tmp_path / "cache")]
    assert without_spans(label(f"file://{bag}", tmp_path / "out", *arguments, *words)) == labeled


@pytest.fixture
def web(tmp_path):
    """A folder, and its URL on a web server."""
    pytest.importorskip("aiohttp", reason="pip install aiohttp")
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_bag_comes_from_a_web_server(bag, copies, web):
    shutil.copytree(bag, web[0] / bag.name)
    (mcap,), url = bag.glob("*.mcap"), f"{web[1]}/{bag.name}"
    with copies.opened(url) as path:
        assert files(path) == files(bag)
    with copies.opened(f"{url}/{mcap.name}?signature=1") as path:
        assert path.name == mcap.name and path.read_bytes() == mcap.read_bytes()


def test_many_who_want_a_bag_copy_it_once(memory, copies, monkeypatch):
    memory.pipe_file("/a.mcap", b"a" * 100)
    fetched, original = [], MemoryFileSystem.get_file

    def get_file(self, path, *args, **kwargs):
        fetched.append(path)
        return original(self, path, *args, **kwargs)

    def content(_: int) -> bytes:
        with copies.opened("memory://a.mcap") as path:
            return path.read_bytes()

    monkeypatch.setattr(MemoryFileSystem, "get_file", get_file)
    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(content, range(12))) == {b"a" * 100}
    assert len(fetched) == 1


def test_copies_that_nobody_uses_make_room_for_others(memory, copies):
    for name in "abc":
        memory.pipe_file(f"/{name}.mcap", name.encode() * 100)
    with copies.opened("memory://a.mcap") as kept:
        with copies.opened("memory://b.mcap") as left:
            pass
        os.utime(kept.parent, (0, 0))  # used longest ago, but open
        with copies.opened("memory://c.mcap") as path:
            assert path.read_bytes() == b"c" * 100 and kept.read_bytes() == b"a" * 100
            assert not left.exists()
    with copies.opened("memory://b.mcap") as path:
        assert path.exists() and not kept.exists()


DESCRIBED = b"rosbag2_bagfile_information: {relative_file_paths: [a_0.mcap, a_1.mcap]}"


@pytest.fixture(params=["memory", "file", "http"])
def place(request, tmp_path, memory):
    """The URL of a folder, and what writes a file there, each time at a later second."""
    if request.param == "memory":
        return "memory://drives", lambda name, content: memory.pipe_file(f"/drives/{name}", content)
    folder, url = request.getfixturevalue("web") if request.param == "http" else (tmp_path, f"file://{tmp_path}")
    seconds = count(1)

    def write(name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        os.utime(folder / name, (now := next(seconds), now))

    return url, write


@pytest.mark.parametrize("name", ["a_0.mcap", "a_1.mcap"])
@pytest.mark.parametrize("content", [b"else", b"more of it"])
def test_a_bag_whose_files_change_under_the_same_metadata_is_copied_again(place, copies, name, content):
    url, write = place
    bag = {"metadata.yaml": DESCRIBED, "a_0.mcap": b"old0", "a_1.mcap": b"old1"}
    for file, old in bag.items():
        write(f"a/{file}", old)
    with copies.opened(f"{url}/a") as path:
        assert files(path) == bag
        with copies.opened(f"{url}/a") as same:
            assert same == path
    write(f"a/{name}", content)
    with copies.opened(f"{url}/a") as path:
        assert files(path) == {**bag, name: content}


@pytest.mark.parametrize("content", [b"new", b"newer"])
def test_a_file_that_was_changed_is_copied_again(place, copies, content):
    url, write = place
    for now in (b"old", content):
        write("a.mcap", now)
        for _ in range(2):
            with copies.opened(f"{url}/a.mcap") as path:
                assert path.read_bytes() == now
    assert len(list(copies.folder.glob("*/a.mcap"))) == 2


def test_a_bag_that_changes_while_it_is_copied_is_none(memory, copies, monkeypatch):
    memory.pipe_file("/a.mcap", b"half")
    original = MemoryFileSystem.get_file

    def get_file(self, path, *args, **kwargs):
        original(self, path, *args, **kwargs)
        self.pipe_file(path, b"whole")

    with monkeypatch.context() as patch, pytest.raises(OccFusionError, match="was changed while it was copied"):
        patch.setattr(MemoryFileSystem, "get_file", get_file)
        with copies.opened("memory://a.mcap"):
            pass
    with copies.opened("memory://a.mcap") as path:
        assert path.read_bytes() == b"whole"


def test_who_reads_a_bag_and_whence_it_is_sent_changes_nothing(memory, copies, monkeypatch):
    memory.pipe_file("/a.mcap", b"bag")
    original, turns = MemoryFileSystem.info, count()

    def info(self, path, **kwargs):
        return {**original(self, path, **kwargs), "url": next(turns), "last_access_time": next(turns)}

    monkeypatch.setattr(MemoryFileSystem, "info", info)
    assert RemoteBag("memory://a.mcap").key() == RemoteBag("memory://a.mcap").key()


def test_what_a_killed_worker_left_is_no_copy(memory, copies):
    memory.pipe_file("/a.mcap", b"whole")
    (copies.folder / "partial").mkdir(parents=True)
    (copies.folder / "partial/a.mcap").write_bytes(b"wh")
    with copies.opened("memory://a.mcap") as path:
        assert path.read_bytes() == b"whole"
    assert not (copies.folder / "partial").exists()


def test_half_a_copy_is_none_where_its_removal_was_killed(memory, copies, monkeypatch):
    for name in "abc":
        memory.pipe_file(f"/{name}.mcap", name.encode() * 100)

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if path.is_dir():
            next(path.iterdir()).unlink()
            raise KeyboardInterrupt

    for name in "ab":
        with copies.opened(f"memory://{name}.mcap"):
            pass
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        with copies.opened("memory://c.mcap"):
            pass
    with copies.opened("memory://a.mcap") as path:
        assert path.read_bytes() == b"a" * 100


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("memory://nothing.mcap", "there is no such bag: memory://nothing.mcap; expected a .mcap or .db3 file"),
        ("memory://nothing", "or a folder with metadata.yaml"),
        ("unheard://of.mcap", "Protocol not known: unheard"),
        ("s3://bucket/drive.mcap", "nstall s3fs"),
    ],
)
def test_what_cannot_be_copied_is_said(copies, url, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(OccFusionError, match=text), copies.opened(url):
        pass


def test_a_full_disk_is_said_and_leaves_nothing(memory, copies):
    import resource

    memory.pipe_file("/a.mcap", bytes(10_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OccFusionError, match=r"cannot copy .* \(--cache\): OSError: .*File too large"):
            with copies.opened("memory://a.mcap"):
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.suffix for path in copies.folder.iterdir()] == [".lock"] * 2


def test_a_bag_that_is_missing_ends_nothing(bag, arguments, tmp_path, capsys):
    words = [*arguments, "--workers", "0", "--formats", "npz", "--cache", str(tmp_path / "cache")]
    assert main(["memory://missing.mcap", str(bag), str(tmp_path / "out"), *words]) == 1
    assert "FAILED missing: there is no such bag: memory://missing.mcap" in capsys.readouterr().out
    assert len(list((tmp_path / "out/occupancy").iterdir())) == 3
