"""Files that are written whole or not at all, and what is said where they cannot be."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OccFusionError, one_line


class WriteError(OccFusionError):
    """Output that cannot be written: its path and the operating system's reason.

    Attributes:
        path: what was to be written.
        disk_full: whether nothing else can be written there either.
    """

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror or one_line(error)}")
        self.path, self.disk_full, self._error = path, error.errno in (errno.ENOSPC, errno.EDQUOT), error

    def __reduce__(self) -> tuple:
        """So that worker processes can raise it."""
        return WriteError, (self.path, self._error)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which takes its place at the end; folders are made.

    What is written there is removed where anything is raised within. Its name does not end as that of `path` does, so
    that nobody takes it for a finished file. Devices, pipes and links (/dev/stdout is all three) are given themselves.

    Raises:
        WriteError: it cannot be written.
    """
    stays = os.path.islink(path) or (os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)))
    partial = path if stays else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if not stays:
            os.replace(partial, path)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        if not stays:
            with suppress(OSError):
                partial.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; as `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8; as `replacing`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON for people and machines; as `replacing`."""
    write_text(path, json.dumps(value, indent=1) + "\n")
