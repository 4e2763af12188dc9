"""Opens bags, whoever wrote them, and says what a file is and what to do with it where it cannot be read."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...core.errors import DatasetError, one_line

logger = logging.getLogger(__name__)

CDR = "cdr"  # how ROS 2 encodes messages
SCHEMAS = ("ros2msg", "ros2idl", "omgidl", "")  # encodings of definitions that rosbags knows
MCAP_MAGIC, SQLITE_MAGIC = b"\x89MCAP0\r\n", b"SQLite format 3\0"
ROS1_MAGIC, ZSTD_MAGIC = b"#ROSBAG V", b"\x28\xb5\x2f\xfd"
HEADER_AT = 17  # where the content of an MCAP's header begins


class BagError(DatasetError):
    """A bag that cannot be read; the message says what it is and what to do."""

    exit_code = 2  # of a command


class Bag:
    """An open bag.

    Attributes:
        path: of the bag.
        connections: what it holds of ROS 2, as its files say; metadata.yaml may be older than they are.
        start_time: nanoseconds, of the first message.
        duration: nanoseconds.
    """

    def __init__(self, path: Path, reader) -> None:
        storages = getattr(reader.storage, "storages", [reader.storage])
        if storages != [reader.storage]:  # rosbags looks messages up by what metadata.yaml says of QoS
            reader.connections[:] = _distinct(connection for one in storages for connection in one.connections)
        filled = [one.metadata for one in storages if one.metadata.message_count]
        if not filled:
            raise BagError(f"{path} has no messages: nothing was recorded")
        self.path, self._reader = path, reader
        self.start_time = min(one.start_time for one in filled)
        self.duration = max(one.end_time for one in filled) - self.start_time
        self.connections = _of_ros2(path, reader.connections)
        self._counts = _counts(self.connections, storages)

    def messages(
        self, connections: Collection, start_ns: int | None = None, end_ns: int | None = None
    ) -> Iterator[tuple]:
        """(connection, nanoseconds, bytes) of these connections in the order of time, from a time on, before another.

        Raises:
            BagError: the bag is damaged; also at its end, when there were fewer messages than its files say.
        """
        if not connections:
            return
        topics = {connection.topic for connection in connections} if start_ns is end_ns is None else ()
        found, missing = (
            self._reader.messages(connections, start_ns, end_ns),
            Counter({topic: self._counts[topic] for topic in topics}),
        )
        while True:
            try:
                message = next(found)
            except StopIteration:
                break
            except Exception as error:  # of whatever kind: rosbags, its codecs and its database have many
                raise _fault(self.path, error) from error
            missing[message[0].topic] -= 1
            yield message
        if lost := [f"{count} on {topic}" for topic, count in sorted(missing.items()) if count > 0]:
            raise BagError(
                f"the bag {self.path} is damaged: its files say that there are more messages: "
                f"{', '.join(lost)}; a damaged MCAP is repaired by: mcap recover"
            )


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """A bag's folder, or one .mcap or .db3 file.

    Raises:
        BagError: it cannot be read.
    """
    kind = _reader_class()
    _check_logs(path)
    try:
        reader = kind(path)
        reader.open()
    except Exception as error:  # of whatever kind, as above
        raise _fault(path, error) from error
    try:
        yield Bag(path, reader)
    finally:
        reader.close()


def _check_logs(path: Path) -> None:
    """rosbags reads an sqlite3 file as it is, without what its recorder has not yet moved into it."""
    for file in path.glob("*.db3") if path.is_dir() else [path]:
        log = file.with_name(f"{file.name}-wal")
        if log.is_file() and log.stat().st_size:
            raise BagError(
                f"cannot read the bag {path}: messages lie in {log} (its recorder runs or was ended); "
                f"put them into the bag: sqlite3 {file} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )


def _reader_class() -> type:
    """rosbags' reader, which shall pass over what it does not know instead of refusing the whole file."""
    from rosbags.rosbag2 import Reader
    from rosbags.rosbag2.reader import DirectoryReader
    from rosbags.rosbag2.storage_mcap import McapReader

    class Schemas(dict):
        def __setitem__(self, key, schema) -> None:
            super().__setitem__(key, schema if schema.encoding in SCHEMAS else schema._replace(encoding=""))

    class Mcap(McapReader):
        def __init__(self, path) -> None:
            super().__init__(path)
            self.schemas = Schemas()

        def _open(self) -> None:
            self.bio = _AnyProfile(self.bio)
            super()._open()

    class Folder(DirectoryReader):
        STORAGE_PLUGINS = {**DirectoryReader.STORAGE_PLUGINS, "mcap": Mcap}

    class AnyReader(Reader):
        STORAGE_PLUGINS = {**Reader.STORAGE_PLUGINS, "dir": Folder, ".mcap": Mcap}

    return AnyReader


class _AnyProfile:
    """An MCAP file whose header names the profile ros2, which other writers leave out; its channels tell what it is."""

    def __init__(self, file) -> None:
        self._file = file

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        at, data = self._file.tell(), self._file.read(size)
        return b"\4\0\0\0ros2".ljust(len(data), b"\0") if at == HEADER_AT and len(data) > 7 else data


def _distinct(connections: Iterator) -> list:
    """Of connections that differ only in file and count, the first."""
    return list({(c.topic, c.msgtype, c.digest, repr(c.ext)): c for c in connections}.values())


def _counts(connections: list, storages: list) -> dict[str, int]:
    counts = dict.fromkeys((connection.topic for connection in connections), 0)
    for storage in storages:
        for connection in storage.connections:
            if connection.topic in counts and connection.ext.serialization_format == CDR:
                counts[connection.topic] += connection.msgcount
    return counts


def _of_ros2(path: Path, connections: list) -> list:
    """Those of ROS 2; the others are named."""
    foreign = [c for c in connections if c.ext.serialization_format != CDR]
    if len(foreign) == len(connections):
        kinds = ", ".join(sorted({c.ext.serialization_format or "none" for c in foreign}))
        raise BagError(
            f"{path} has no messages of ROS 2 (its encodings: {kinds}); of ROS 1 make a bag of ROS 2 with "
            f"rosbags-convert --src {path} --dst FOLDER"
        )
    for connection in foreign:
        logger.warning(
            "skipping %s: %s in %s is not of ROS 2",
            connection.topic,
            connection.msgtype,
            connection.ext.serialization_format or "no encoding",
        )
    return [c for c in connections if c.ext.serialization_format == CDR]


def _fault(path: Path, error: Exception) -> BagError:
    return BagError(f"cannot read the bag {path}: {_diagnosis(path, error)}")


def _diagnosis(path: Path, error: Exception) -> str:
    """What a path is, and what to do."""
    if not path.exists():
        return "there is no such file or folder"
    if path.is_dir():
        return _folder(path, error)
    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(-min(8, path.stat().st_size), 2)
            end = file.read()
    except OSError as refused:
        return refused.strerror or one_line(refused)
    if not start:
        return "the file is empty: its recorder was ended before it wrote"
    if start.startswith(ROS1_MAGIC) or path.suffix == ".bag":
        return f"it is a bag of ROS 1; make one of ROS 2: rosbags-convert --src {path} --dst FOLDER"
    if start.startswith(ZSTD_MAGIC):
        return f"it is compressed; give the folder with its metadata.yaml, or unpack it: zstd -d {path}"
    if start.startswith(MCAP_MAGIC):
        return _mcap(path, end, error)
    if start.startswith(SQLITE_MAGIC):
        return _sqlite(path, error)
    return f"it is neither MCAP nor sqlite3 ({one_line(error)}); give a bag's folder, or one .mcap or .db3 file"


def _folder(path: Path, error: Exception) -> str:
    files = sorted(file for file in path.iterdir() if file.suffix in (".mcap", ".db3", ".zstd", ".bag"))
    if not (path / "metadata.yaml").is_file():
        if not files:
            return "the folder has neither a metadata.yaml nor .mcap or .db3 files: it is no bag"
        return (
            f"the folder has no metadata.yaml (its recorder was ended early); give the file itself, {files[0]}, "
            f"or make one: ros2 bag reindex {path}"
        )
    for file in files:
        if (text := _diagnosis(file, error)) and "cut short" in text or "empty" in text:
            return f"{file.name}: {text}"
    return (
        f"{one_line(error)}; where metadata.yaml is wrong: ros2 bag reindex {path}, or give one .mcap or .db3 file "
        "itself"
    )


def _mcap(path: Path, end: bytes, error: Exception) -> str:
    if path.suffix not in (".mcap", ".zstd"):
        return f"it is an MCAP file, so its name must end in .mcap, got {path.name}"
    repair = f"mcap recover {path} -o {path.with_name(f'{path.stem}-recovered.mcap')}"
    if end != MCAP_MAGIC:
        return (
            f"the MCAP file is cut short (its recorder was ended early, or the copy is not whole); repair it: {repair}"
        )
    return f"the MCAP file is damaged ({type(error).__name__}: {one_line(error)}); repair it: {repair}"


def _sqlite(path: Path, error: Exception) -> str:
    if path.suffix != ".db3":
        return f"it is an sqlite3 file, so its name must end in .db3, got {path.name}"
    return (
        f"the sqlite3 file is cut short or damaged ({one_line(error)}); repair it: "
        f"sqlite3 {path} .recover | sqlite3 NEW.db3"
    )
