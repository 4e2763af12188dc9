"""Engines that were built on this machine, kept between starts.

An engine file holds one line of JSON, its key and the hash of what follows, and then the engine. The key names all that
an engine depends on; a file whose key or hash differs is never loaded but built again. Engines are programs: they are
only read from a folder that belongs to the user and that nobody else may write to.

When an engine is added, those that it replaces are removed, then those that were used longest ago until the folder
keeps its limits. A process holds a shared lock on every engine that it uses, for as long as it lives; those stay.
"""

import fcntl
import hashlib
import json
import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ...core.atomic import WriteError, write_bytes
from ...core.errors import BackendError

logger = logging.getLogger(__name__)

HEADER_MAX_BYTES = 1 << 16
MOST_ENGINES = 32
MOST_BYTES = 8 << 30
REPLACED_BY = ("onnx", "contract", "tensorrt", "options")
"""What of a key changes with updates: engines that differ in nothing else replace each other."""

_in_use: dict[Path, BinaryIO] = {}  # open files whose shared locks say so to all processes


class EngineCache:
    """Folder of built engines, made where it is missing.

    Raises:
        BackendError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise BackendError(f"engine cache {folder}: {error.strerror}; name another folder") from error
        if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise BackendError(
                f"engine cache {folder}: expected a folder of user {os.getuid()} that nobody else may "
                f"write to, got owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):o}: run "
                f"'chmod go-w' on it, or name another folder"
            )

    def get(self, name: str, key: dict[str, str], build: Callable[[], bytes]) -> bytes:
        """The engine of `key`, built where it is not there.

        Args:
            name: of the engine, for the file and for messages.
            key: everything that it depends on.
            build: makes it.
        """
        path = self.path(name, key)
        engine = self._read(path, key)
        if engine is None:
            engine = build()
            try:
                header = _line({"key": key, "sha256": hashlib.sha256(engine).hexdigest()})
                write_bytes(path, header + engine)
                logger.info("%s: kept as %s (%.1f MB)", name, path, len(engine) / 1e6)
            except WriteError as error:
                logger.warning("not kept, it is built again at the next start: %s", error)
            else:
                self._use(path)
                self._make_room(name, key, path)
        return engine

    def path(self, name: str, key: dict[str, str]) -> Path:
        """Where the engine of a key lies."""
        return self.folder / f"{name}-{hashlib.sha256(_line(key)).hexdigest()[:16]}.engine"

    def extra(self, name: str) -> bytes:
        """Content of another file of the cache, such as a timing cache; empty where it is not there."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""

    def keep_extra(self, name: str, content: bytes) -> None:
        """Write another file of the cache."""
        write_bytes(self.folder / name, content)

    def _read(self, path: Path, key: dict[str, str]) -> bytes | None:
        """The engine in a file, None where it is missing or another one."""
        try:
            with path.open("rb") as file:
                header, engine = json.loads(file.readline(HEADER_MAX_BYTES)), file.read()
            if header == {"key": key, "sha256": hashlib.sha256(engine).hexdigest()}:
                self._use(path)
                return engine
            logger.warning("%s: stale or damaged, it is built again", path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s: damaged (%.100s), it is built again", path, error)
        return None

    def _use(self, path: Path) -> None:
        """Note that this process uses an engine, and when; nothing hangs on its success."""
        try:
            file = path.open("rb")
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.utime(path)
            _in_use[path] = file
        except OSError as error:
            logger.debug("%s: %s", path, error)

    def _make_room(self, name: str, key: dict[str, str], added: Path) -> None:
        """Remove what `added` replaces, and what was used longest ago while there is too much."""
        for path in self.folder.glob(f"{name}-*.engine"):
            if path != added and _replaces(key, _key_of(path)):
                self._remove(path, "replaced by a newer one")
        sizes = {path: (used, size) for path in self.folder.glob("*.engine") for used, size in _times_and_sizes(path)}
        count, total = len(sizes), sum(size for _, size in sizes.values())
        for path in sorted(sizes.keys() - {added}, key=sizes.__getitem__):
            if count <= MOST_ENGINES and total <= MOST_BYTES:
                return
            if self._remove(path, f"longest unused, and there were {count} engines of {total / 1e6:.0f} MB"):
                count, total = count - 1, total - sizes[path][1]

    def _remove(self, path: Path, why: str) -> bool:
        """Remove an engine that no process uses; whether it is gone."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:  # a lock, or another process was first
            return False
        logger.info("%s: removed, %s", path, why)
        return True


def _key_of(path: Path) -> dict[str, str]:
    """The key in an engine file, empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return dict(json.loads(file.readline(HEADER_MAX_BYTES))["key"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _replaces(key: dict[str, str], other: dict[str, str]) -> bool:
    """Whether two keys differ by updates alone."""
    lasting, others = ({name: value for name, value in one.items() if name not in REPLACED_BY} for one in (key, other))
    return lasting == others


def _times_and_sizes(path: Path) -> list[tuple[float, int]]:
    """When a file was used last, and its bytes; nothing where it is gone."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [(status.st_mtime, status.st_size)]


def _line(value: dict) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"
