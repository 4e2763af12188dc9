"""Where labels go: a folder, or anything that fsspec reaches (s3://bucket/path), each file whole or not there."""

from pathlib import Path, PurePosixPath
from typing import Any

from ..core.atomic import WriteError, write_bytes
from ..core.errors import OccFusionError, one_line


class StoreError(OccFusionError):
    """A place that cannot be reached or used."""


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of fsspec that reaches a URL, and the path there.

    Raises:
        StoreError: it is not known, or its package is not installed.
    """
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{url}: {one_line(error)}") from error


class Store:
    """Files by name below one place; names are relative, with slashes.

    Args:
        place: a folder, or a URL of fsspec.
    """

    def __init__(self, place: str) -> None:
        self._files, self._root = None, Path(place).absolute()
        if "://" in place:
            self._files, root = filesystem(place)
            self._root = PurePosixPath(root)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of one that may be there.

        Raises:
            WriteError: it cannot be written.
        """
        path = self._root / name
        if self._files is None:
            write_bytes(path, content)
            return
        try:
            self._files.makedirs(str(path.parent), exist_ok=True)
            partial = str(path.with_name(f".{path.name}.partial"))  # on some file systems a write is not all or nothing
            self._files.pipe_file(partial, content)
            self._files.mv(partial, str(path))
        except OSError as error:
            raise WriteError(Path(path), error) from error

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where it is not there."""
        path = self._root / name
        try:
            return path.read_bytes() if self._files is None else self._files.cat_file(str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {one_line(error)}") from error

    def tidy(self) -> None:
        """Remove what writers left that were killed; elsewhere than in a folder the next write takes its place."""
        if self._files is None:
            for path in self._root.rglob(".*.partial"):
                path.unlink(missing_ok=True)
