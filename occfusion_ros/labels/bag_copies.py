"""Bags that lie where only fsspec reaches: a machine copies them to a folder of its own before it opens them."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import DatasetError, OccFusionError, one_line
from .store import filesystem

FILES = (".mcap", ".db3")


@dataclass(frozen=True)
class RemoteBag:
    """A bag by URL.

    Attributes:
        url: of a .mcap or .db3 file, or of a folder with metadata.yaml.
    """

    url: str

    @property
    def name(self) -> str:
        """Of file or folder; what follows a question mark, such as a signature, is no part of it."""
        return PurePosixPath(self.url.partition("://")[2].partition("?")[0]).name

    def key(self) -> str:
        """Differs where any file of the bag was changed, as far as its file system tells: by size, time or ETag.

        Raises:
            DatasetError: it is not there, or cannot be reached.
        """
        with self._faults():
            told = {name: _what_stays(info) for name, info in self._infos().items()}
            return hashlib.sha256(f"{self.url} {told}".encode()).hexdigest()[:16]

    def size(self) -> int:
        """Bytes, as far as the file system tells."""
        with self._faults():
            return sum(info.get("size") or 0 for info in self._infos().values())

    def fetch(self, folder: Path) -> None:
        """Copy it to `folder`/`name`.

        Raises:
            DatasetError: it is not there, cannot be reached, or the copy cannot be written.
        """
        with self._faults(f" to {folder.parent} (--cache)"):
            for name, path in self._files().items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                filesystem(self.url)[0].get_file(path, str(folder / name))

    def _is_file(self) -> bool:
        return PurePosixPath(self.name).suffix in FILES

    def _infos(self) -> dict[str, dict[str, Any]]:
        """What the file system tells of each file now, not what it told before."""
        files = filesystem(self.url)[0]
        files.invalidate_cache()
        return {name: files.info(path) for name, path in self._files().items()}

    def _files(self) -> dict[str, str]:
        """Paths of its file system by names below a folder; nothing has to be listed, which not every one can."""
        import yaml

        files, path = filesystem(self.url)
        if self._is_file():
            return {self.name: path}
        described: Any = yaml.safe_load(files.cat_file(f"{path}/metadata.yaml"))
        names = [PurePosixPath(file).name for file in described["rosbag2_bagfile_information"]["relative_file_paths"]]
        return {f"{self.name}/{name}": f"{path}/{name}" for name in ("metadata.yaml", *names)}

    @contextmanager
    def _faults(self, to: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DatasetError(
                f"there is no such bag: {self.url}; expected a .mcap or .db3 file, or a folder with metadata.yaml "
                f"(roots in the nuScenes format must lie in a folder): {one_line(error)}"
            ) from error
        except OccFusionError:
            raise
        except Exception as error:  # of whatever kind: every file system has its own
            raise DatasetError(f"cannot copy {self.url}{to}: {type(error).__name__}: {one_line(error)}") from error


def _what_stays(info: dict[str, Any]) -> list[tuple[str, str]]:
    """Of what a file system tells of a file, what differs only where the file does.

    Who reads it changes the time of its last access, and a web server may send each to another place.
    """
    return sorted((name, str(value)) for name, value in info.items() if name != "url" and "access" not in name.lower())


@dataclass(frozen=True)
class BagCopies:
    """Copies of bags, shared by all processes of a machine.

    Attributes:
        folder: where they lie; it may be used by several runs.
        most_bytes: before there are more, copies that nobody has open are removed, the one used longest ago first.
    """

    folder: Path
    most_bytes: int

    @property
    def _partial(self) -> Path:
        """What is being copied or removed, by whoever has the lock for that."""
        return self.folder / "partial"

    @contextmanager
    def opened(self, url: str) -> Iterator[Path]:
        """A copy that stays until the end; where there is none it is made, once whoever wants it.

        Raises:
            DatasetError: see `RemoteBag.fetch`; or the folder cannot be used.
        """
        bag = RemoteBag(url)
        place = self.folder / bag.key()
        while True:
            with self._locked(place.name, fcntl.LOCK_SH):
                if place.is_dir():
                    os.utime(place)  # which says when it was used
                    yield place / bag.name
                    return
            with self._locked("fetching", fcntl.LOCK_EX):
                if not place.is_dir():
                    self._fetch(bag, place)

    def _fetch(self, bag: RemoteBag, place: Path) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)  # of one that was killed
        self._make_room(bag.size())
        try:
            bag.fetch(self._partial)
            if bag.key() != place.name:
                raise DatasetError(f"{bag.url} was changed while it was copied: label it again when it is whole")
            self._partial.rename(place)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def _remove(self, place: Path) -> None:
        place.rename(self._partial)  # so that a kill in the middle leaves no half of a copy
        shutil.rmtree(self._partial)

    def _make_room(self, size: int) -> None:
        places = sorted(filter(Path.is_dir, self.folder.iterdir()), key=lambda place: place.stat().st_mtime_ns)
        used = {place: sum(file.stat().st_size for file in place.rglob("*")) for place in places}
        for place in places:
            if sum(used.values()) + size <= self.most_bytes and size <= shutil.disk_usage(self.folder).free:
                return
            try:
                with self._locked(place.name, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._remove(place)
                    del used[place]
            except BlockingIOError:  # somebody has it open
                continue

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / f"{name}.lock").open("w")
        except OSError as error:
            raise DatasetError(f"cannot keep copies of bags in {self.folder} (--cache): {one_line(error)}") from error
        with file:
            fcntl.flock(file, how)
            yield
