"""Built engines are kept, and nothing else is ever taken for one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from occfusion_ros.core.errors import BackendError
from occfusion_ros.runtime.backends import engine_cache
from occfusion_ros.runtime.backends.engine_cache import EngineCache

KEY = {"onnx": "a" * 64, "tensorrt": "tensorrt 11.2", "gpu": "NVIDIA H100", "precision": "fp16"}


class Builder:
    """Makes another engine at every call."""

    calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return b"engine %d\n" % self.calls


@pytest.fixture
def cache(tmp_path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def test_an_engine_is_built_once_and_found_again(cache):
    build = Builder()
    assert cache.get("nano-fuser", KEY, build) == b"engine 1\n"
    assert EngineCache(cache.folder).get("nano-fuser", KEY, build) == b"engine 1\n" and build.calls == 1


@pytest.mark.parametrize("name", KEY)
def test_whatever_an_engine_depends_on_makes_another_one(cache, name):
    build = Builder()
    cache.get("nano-fuser", KEY, build)
    assert cache.get("nano-fuser", {**KEY, name: "other"}, build) == b"engine 2\n"
    assert cache.get("nano-fuser", KEY, build) == b"engine 1\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"",
        lambda content: b"{}\n",
        lambda content: content.replace(b"engine 1", b"engine 9"),
        lambda content: content.replace(b"fp16", b"int8"),
        lambda content: b"\xff" * 100_000,
        lambda content: b"[" * 50_000 + b"\n",
    ],
)
def test_a_damaged_or_foreign_engine_is_built_again(cache, damage, caplog):
    build = Builder()
    cache.get("nano-fuser", KEY, build)
    path = cache.path("nano-fuser", KEY)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("nano-fuser", KEY, build) == b"engine 2\n"
    assert path.name in caplog.text and "built again" in caplog.text
    assert cache.get("nano-fuser", KEY, build) == b"engine 2\n"


def test_the_engine_of_another_key_under_this_name_is_not_loaded(cache):
    build = Builder()
    cache.get("nano-fuser", {**KEY, "gpu": "another"}, build)
    os.replace(cache.path("nano-fuser", {**KEY, "gpu": "another"}), cache.path("nano-fuser", KEY))
    assert cache.get("nano-fuser", KEY, build) == b"engine 2\n"


def test_a_build_that_fails_leaves_nothing(cache):
    def fail() -> bytes:
        raise BackendError("no tactic")

    with pytest.raises(BackendError, match="no tactic"):
        cache.get("nano-fuser", KEY, fail)
    assert not list(cache.folder.iterdir())


def test_a_write_that_fails_leaves_no_half_file_and_the_engine_runs_all_the_same(cache, monkeypatch, caplog):
    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cache.get("nano-fuser", KEY, Builder()) == b"engine 1\n"
    assert "not kept" in caplog.text and "No space left on device" in caplog.text
    assert not list(cache.folder.iterdir())


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_may_write_to_is_refused(tmp_path, mode):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(BackendError, match=f"nobody else may write to, got owner .*, mode {mode:o}.*chmod go-w"):
        EngineCache(tmp_path / "cache")


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(BackendError, match="expected a folder of user 12345"):
        EngineCache(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=r"engine cache .*file/cache: Not a directory"):
        EngineCache(tmp_path / "file" / "cache")


def engine_at(cache: EngineCache, name: str, second: int, **changes: str) -> Path:
    """An engine that nobody uses any more, used last at a second."""
    key = {**KEY, **changes}
    cache.get(name, key, Builder())
    engine_cache._in_use.clear()
    os.utime(cache.path(name, key), (second, second))
    return cache.path(name, key)


@pytest.mark.parametrize(
    "change", [{"onnx": "b" * 64}, {"tensorrt": "tensorrt 11.3"}, {"tensorrt": "tensorrt 11.3", "onnx": "c" * 64}]
)
def test_an_engine_goes_when_a_newer_version_of_it_is_there(cache, caplog, change):
    caplog.set_level("INFO")
    former, other = engine_at(cache, "nano-fuser", 1), engine_at(cache, "nano-refiner", 1)
    newer = engine_at(cache, "nano-fuser", 2, **change)
    assert not former.exists() and newer.exists() and other.exists()
    assert f"{former}: removed, replaced by a newer one" in caplog.text


@pytest.mark.parametrize("change", [{"gpu": "another"}, {"precision": "int8"}])
def test_engines_for_something_else_stay(cache, change):
    former = engine_at(cache, "nano-fuser", 1)
    assert engine_at(cache, "nano-fuser", 2, **change).exists() and former.exists()


@pytest.mark.parametrize(("limit", "value"), [("MOST_ENGINES", 3), ("MOST_BYTES", 900)])
def test_what_was_used_longest_ago_goes_first(cache, monkeypatch, caplog, limit, value):
    caplog.set_level("INFO")
    paths = [engine_at(cache, f"model{number}-fuser", number) for number in range(3)]
    (cache.folder / "timing.cache").write_bytes(b"x" * 2000)  # is no engine
    cache.get("model0-fuser", KEY, None)  # used now
    engine_cache._in_use.clear()
    monkeypatch.setattr(engine_cache, limit, value)
    newest = engine_at(cache, "new-fuser", 9)
    assert [path.exists() for path in paths] == [True, False, True] and newest.exists()
    assert f"{paths[1]}: removed, longest unused, and there were 4 engines" in caplog.text


def test_what_another_process_uses_stays(cache, monkeypatch):
    path = engine_at(cache, "nano-fuser", 1)
    program = (
        f"from occfusion_ros.runtime.backends.engine_cache import EngineCache; from pathlib import Path; "
        f"EngineCache(Path({str(cache.folder)!r})).get('nano-fuser', {KEY!r}, None); "
        "print('loaded', flush=True); input()"
    )
    monkeypatch.setattr(engine_cache, "MOST_ENGINES", 1)
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout.readline() == b"loaded\n"
        engine_at(cache, "nano-fuser", 2, onnx="b" * 64)
        engine_at(cache, "other-fuser", 3)
        assert path.exists()
        user.communicate(b"\n")
    engine_at(cache, "third-fuser", 4)
    assert [left.name.rpartition("-")[0] for left in cache.folder.iterdir()] == ["third-fuser"]


def test_an_engine_that_is_larger_than_the_limit_is_kept_all_the_same(cache, monkeypatch):
    monkeypatch.setattr(engine_cache, "MOST_BYTES", 1)
    assert engine_at(cache, "nano-fuser", 1).exists()
