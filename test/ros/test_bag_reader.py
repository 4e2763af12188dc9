"""Bags of every kind are read as they are, or are named with what to do."""

import re
import shutil
import struct
from pathlib import Path

import pytest
from helpers.tiny_nuscenes import SCENE, TinyRoot
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene
from occfusion_ros.ros.without_ros.bag_reader import BagError, open_bag

STORE = get_typestore(Stores.ROS2_KILTED)
ROS = ("sensor_msgs/msg/PointCloud2", "ros2msg", "cdr")


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    convert_scene(NuScenesReader(TinyRoot(folder / "root").root), SCENE, folder)
    return folder / SCENE


def read(path: Path) -> list[tuple[str, int, bytes]]:
    with open_bag(path) as opened:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in opened.messages(opened.connections)]


def copy(bag: Path, out: Path, plugin: StoragePlugin, mode: CompressionMode | None = None) -> Path:
    writer = Writer(out, version=8, storage_plugin=plugin)
    if mode:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with Reader(bag) as reader, writer:
        copies = {
            c.id: writer.add_connection(
                c.topic, c.msgtype, typestore=STORE, offered_qos_profiles=c.ext.offered_qos_profiles
            )
            for c in reader.connections
        }
        for connection, stamp, data in reader.messages():
            writer.write(copies[connection.id], stamp, bytes(data))
    return out


def mcap(path: Path, channels: list[tuple[str, tuple[str, str, str]]], profile: str = "ros2") -> Path:
    """An MCAP file without chunks and summary, with one message of each channel: (topic, (type, schema's and
    message's encoding))."""

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    def record(kind: int, body: bytes) -> bytes:
        return bytes([kind]) + struct.pack("<Q", len(body)) + body

    content = record(1, text(profile) + text("somebody"))
    for number, (topic, (name, schema, encoding)) in enumerate(channels, start=1):
        content += record(3, struct.pack("<H", number) + text(name) + text(schema) + text(""))
        content += record(4, struct.pack("<HH", number, number) + text(topic) + text(encoding) + text(""))
        content += record(5, struct.pack("<HIQQ", number, 0, 7, 7) + b"data")
    magic = b"\x89MCAP0\r\n"
    path.write_bytes(magic + content + record(0x0F, bytes(4)) + record(2, bytes(20)) + magic)
    return path


@pytest.mark.parametrize(
    "old, new",
    [
        (r"depth: \d+", "depth: 7"),
        (r"durability: \d+", "durability: 2"),
        (r"reliability: \d+", "reliability: 2"),
        (r"message_count: \d+", "message_count: 1"),
    ],
)
@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_an_old_metadata_file_hides_no_message(bag, tmp_path, plugin, old, new):
    changed = copy(bag, tmp_path / "bag", plugin)
    metadata = changed / "metadata.yaml"
    metadata.write_text(re.sub(old, new, metadata.read_text()))
    assert read(changed) == read(bag)


@pytest.mark.parametrize(
    "plugin, mode",
    [
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.MCAP, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_compressed_bags_are_read(bag, tmp_path, plugin, mode):
    assert read(copy(bag, tmp_path / "bag", plugin, mode)) == read(bag)


@pytest.mark.parametrize(
    "foreign",
    [
        ("foxglove.SceneUpdate", "protobuf", "protobuf"),
        ("Log", "jsonschema", "json"),
        ("x", "flatbuffer", "flatbuffer"),
        ("std_msgs/String", "ros1msg", "ros1"),
    ],
)
@pytest.mark.parametrize("profile", ["ros2", "", "other"])
def test_what_is_not_of_ros_2_is_left_out_by_name(tmp_path, caplog, foreign, profile):
    path = mcap(tmp_path / "mixed.mcap", [("/cloud", ROS), ("/other", foreign)], profile)
    assert read(path) == [("/cloud", 7, b"data")]
    assert f"skipping /other: {foreign[0]} in {foreign[2]}" in caplog.text
    with pytest.raises(BagError, match=f"no messages of ROS 2 .*{foreign[2]}.*rosbags-convert"):
        read(mcap(tmp_path / "foreign.mcap", [("/other", foreign)], profile))


def damaged(kind: str, bag: Path, folder: Path) -> Path:
    source = bag / f"{SCENE}.mcap"
    path = folder / {
        "short": "a.mcap",
        "header": "a.mcap",
        "empty": "a.mcap",
        "ros1": "a.bag",
        "text": "a.mcap",
        "name": "a.bin",
        "packed": "a.db3.zstd",
        "sqlite": "a.db3",
        "log": "a.db3",
    }.get(kind, "a")
    content = {
        "short": source.read_bytes()[:-900],
        "header": source.read_bytes()[:30],
        "empty": b"",
        "ros1": b"#ROSBAG V2.0\n" + bytes(99),
        "text": b"not a bag at all",
        "name": source.read_bytes(),
        "packed": b"\x28\xb5\x2f\xfd" + bytes(9),
        "sqlite": b"SQLite format 3\0" + bytes(99),
        "log": b"x",
    }
    if kind in content:
        path.write_bytes(content[kind])
    if kind == "log":
        (folder / "a.db3-wal").write_bytes(b"x")
    if kind in ("unindexed", "short in a folder", "no bag", "bad yaml"):
        shutil.copytree(bag, path)
    if kind in ("unindexed", "no bag"):
        (path / "metadata.yaml").unlink()
    if kind == "no bag":
        (path / source.name).unlink()
    if kind == "short in a folder":
        (path / source.name).write_bytes(source.read_bytes()[:-900])
    if kind == "bad yaml":
        (path / "metadata.yaml").write_text("{")
    return path


@pytest.mark.parametrize(
    "kind, said",
    [
        ("short", "cut short.*mcap recover"),
        ("header", "cut short.*mcap recover"),
        ("empty", "the file is empty"),
        ("ros1", "ROS 1.*rosbags-convert"),
        ("text", "neither MCAP nor sqlite3"),
        ("name", "must end in .mcap"),
        ("packed", "compressed.*zstd -d"),
        ("sqlite", "damaged.*recover"),
        ("log", "a.db3-wal.*wal_checkpoint"),
        ("unindexed", r"no metadata.yaml.*\.mcap, or make one: ros2 bag reindex"),
        ("no bag", "it is no bag"),
        ("short in a folder", "cut short.*mcap recover"),
        ("bad yaml", "ros2 bag reindex"),
        ("missing", "no such file"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(bag, tmp_path, kind, said):
    with pytest.raises(BagError, match=said):
        read(damaged(kind, bag, tmp_path))


def test_damage_found_while_reading_is_named(bag, tmp_path):
    packed = copy(bag, tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.STORAGE)
    content = bytearray((packed / "bag.mcap").read_bytes())
    content[200:400] = bytes(200)
    (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(BagError, match="damaged.*mcap recover"):
        read(tmp_path / "a.mcap")


def test_a_bag_without_messages_is_named(tmp_path):
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP):
        pass
    with pytest.raises(BagError, match="has no messages"):
        read(tmp_path / "bag")
