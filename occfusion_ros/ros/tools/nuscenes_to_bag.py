"""Convert scenes of a nuScenes data root to rosbag2 MCAP bags, one bag per scene: OUT/<scene>.

Needs no ROS installation. Topics and frames carry the lower-cased channel names: /lidar_top,
/cam_front/image_rect_compressed (the JPEG bytes as they are), /cam_front/camera_info, /tf (map -> base_link) and
/tf_static (base_link -> sensors). Every message is stamped with its sensor's own time. A sensor whose calibration
changes during a scene is on /tf, at its own stamps, instead of /tf_static. Files that are missing or damaged are
skipped and counted.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...core.atomic import WriteError
from ...core.command import failed, parser_of
from ...core.errors import DatasetError, OccFusionError
from ...datasets.nuscenes import NuScenesReader, Pose, SensorRecord, read_jpeg, read_sweep

logger = logging.getLogger(__name__)

BASE, MAP = "base_link", "map"
CLOUD_FIELDS = ("x", "y", "z", "intensity", "ring")  # float32 each, as in the .pcd.bin files
BAG_VERSION = 8  # the newest that every rosbag2 since Humble reads


@dataclass
class Summary:
    """What one bag got: messages by topic, and why files were left out."""

    path: Path
    messages: Counter = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        topics = "".join(f"\n  {count:6d}  {topic}" for topic, count in sorted(self.messages.items()))
        skipped = f"\n  skipped {len(self.skipped)} files, first: {self.skipped[0]}" if self.skipped else ""
        return f"{self.path}{topics}{skipped}"


class SceneWriter:
    """Writes the records of one scene into an open rosbags writer.

    Args:
        writer: an open ``rosbags.rosbag2.Writer``.
        records: the scene's records in time order.
        summary: is filled while writing.
    """

    def __init__(self, writer, records: list[SensorRecord], summary: Summary) -> None:
        from rosbags.typesys import Stores, get_typestore

        self._writer, self._records, self._summary = writer, records, summary
        self._typestore = get_typestore(Stores.ROS2_KILTED)
        self._connections = {}
        self._fixed, self._moving = _split_by_calibration(records)

    def write(self, progress: tqdm) -> None:
        """Write everything, static transforms first."""
        start = self._records[0].stamp_ns
        self._transforms(
            "/tf_static",
            start,
            [(BASE, record.channel.lower(), record.base_from_sensor) for record in self._fixed.values()],
        )
        at_ends = {self._records[-1].stamp_ns: self._records, start: self._records[::-1]}
        for stamp, group in groupby(self._records, key=lambda record: record.stamp_ns):
            records = list(group)
            self._transforms(
                "/tf", stamp, [(MAP, BASE, records[0].map_from_base), *self._mounts(at_ends.get(stamp, records))]
            )
            for record in records:
                self._measurement(record)
                progress.update()

    def _mounts(self, records: list[SensorRecord]) -> list[tuple[str, str, Pose]]:
        """The last calibration in the records of each sensor whose calibration changes.

        The first and the last of a scene stand at its ends too: a sweep may lie beyond a camera's own stamps.
        """
        last = {record.channel: record.base_from_sensor for record in records if record.channel in self._moving}
        return [(BASE, channel.lower(), pose) for channel, pose in last.items()]

    def _measurement(self, record: SensorRecord) -> None:
        try:
            write = self._cloud if record.modality == "lidar" else self._image
            write(record)
        except DatasetError as error:
            logger.warning("skipped: %s", error)
            self._summary.skipped.append(str(error))

    def _cloud(self, record: SensorRecord) -> None:
        points = read_sweep(record.path)
        kind = "sensor_msgs/msg/PointField"
        fields = [self._new(kind, name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(CLOUD_FIELDS)]
        self._send(
            f"/{record.channel.lower()}",
            record.stamp_ns,
            self._new(
                "sensor_msgs/msg/PointCloud2",
                header=self._header(record.stamp_ns, record.channel.lower()),
                height=1,
                width=len(points),
                fields=fields,
                is_bigendian=False,
                point_step=points.strides[0],
                row_step=points.nbytes,
                data=points.reshape(-1).view(np.uint8),
                is_dense=bool(np.isfinite(points).all()),
            ),
        )

    def _image(self, record: SensorRecord) -> None:
        jpeg = np.frombuffer(read_jpeg(record.path), np.uint8)
        name = record.channel.lower()
        header = self._header(record.stamp_ns, name)
        self._send(f"/{name}/camera_info", record.stamp_ns, self._camera_info(record, header))
        self._send(
            f"/{name}/image_rect_compressed",
            record.stamp_ns,
            self._new("sensor_msgs/msg/CompressedImage", header=header, format="jpeg", data=jpeg),
        )

    def _camera_info(self, record: SensorRecord, header):
        matrix = np.array(record.intrinsics, np.float64)
        if matrix.shape != (3, 3) or min(record.size) < 1:
            raise DatasetError(
                f"{record.channel}: expected a 3x3 camera_intrinsic and an image size in the tables, "
                f"got shape {matrix.shape} and (height, width) {record.size}"
            )
        window = self._new(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=record.size[0],
            width=record.size[1],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([matrix, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=window,
        )

    def _transforms(self, topic: str, stamp_ns: int, transforms: Iterable[tuple[str, str, Pose]]) -> None:
        stamped = [self._transform(stamp_ns, *transform) for transform in transforms]
        if stamped:
            self._send(topic, stamp_ns, self._new("tf2_msgs/msg/TFMessage", transforms=stamped))

    def _transform(self, stamp_ns: int, parent: str, child: str, pose: Pose):
        """In ROS terms the child's pose in its parent, parent_from_child."""
        x, y, z = pose.translation
        qw, qx, qy, qz = pose.rotation
        return self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(stamp_ns, parent),
            child_frame_id=child,
            transform=self._new(
                "geometry_msgs/msg/Transform",
                translation=self._new("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
                rotation=self._new("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
            ),
        )

    def _header(self, stamp_ns: int, frame_id: str):
        stamp = self._new("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _new(self, msgtype: str, **fields):
        return self._typestore.types[msgtype](**fields)

    def _send(self, topic: str, stamp_ns: int, message) -> None:
        msgtype = message.__msgtype__
        if topic not in self._connections:
            profiles = [_offered(latched=topic == "/tf_static")]
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._typestore, offered_qos_profiles=profiles
            )
        self._writer.write(self._connections[topic], stamp_ns, self._typestore.serialize_cdr(message, msgtype))
        self._summary.messages[topic] += 1


def convert_scene(
    reader: NuScenesReader, scene: str, out: Path, sweeps: bool = False, overwrite: bool = False, progress: bool = True
) -> Summary:
    """Write one scene to the bag ``out/<scene>``, which appears only when it is complete.

    Args:
        reader: the data root.
        scene: name of the scene.
        out: folder of the bags, made if missing.
        sweeps: also what lies between the key frames.
        overwrite: replace a bag that is already there.
        progress: whether a bar is shown.
    """
    from rosbags.rosbag2 import StoragePlugin, Writer

    bag = out / scene
    if bag.exists() and not (overwrite and (bag / "metadata.yaml").is_file()):
        raise DatasetError(
            f"{bag} exists; give --overwrite to replace it"
            if not overwrite
            else f"{bag} exists and is not a bag, so it is not replaced"
        )
    records = reader.records(scene, sweeps)
    if not records:
        raise DatasetError(f"scene {scene} has no LiDAR or camera data")
    summary = Summary(bag)
    with _whole(bag) as part:
        with (
            Writer(part, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP) as writer,
            tqdm(total=len(records), desc=scene, unit="file", disable=not progress) as bar,
        ):
            writer.set_custom_data("nuscenes", f"{reader.version}/{scene}")
            SceneWriter(writer, records, summary).write(bar)
    return summary


@contextmanager
def _whole(bag: Path) -> Iterator[Path]:
    """Gives a temporary folder, which takes the bag's place at the end; what is left of it goes where it cannot.

    Raises:
        WriteError: of the bag, or of its parent where nothing at all can be written.
    """
    try:
        bag.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=bag.parent, prefix=".incomplete-")
    except OSError as error:
        raise WriteError(bag.parent, error) from error
    with folder:
        part = Path(folder.name, bag.name)
        try:
            yield part
            if bag.exists():
                shutil.rmtree(bag)
            part.rename(bag)
        except OSError as error:
            raise WriteError(bag, error) from error


def _split_by_calibration(records: list[SensorRecord]) -> tuple[dict[str, SensorRecord], set[str]]:
    """A record of each channel mounted rigidly throughout, and the channels whose calibration changes."""
    fixed, moving = {}, set()
    for record in records:
        first = fixed.setdefault(record.channel, record)
        if record.base_from_sensor != first.base_from_sensor:
            moving.add(record.channel)
    return {channel: record for channel, record in fixed.items() if channel not in moving}, moving


def _offered(latched: bool):
    """QoS profile recorded for a topic: what a player offers."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    forever = QosTime(9223372036, 854775807)
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        durability,
        forever,
        forever,
        QosLiveliness.AUTOMATIC,
        forever,
        False,
    )


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("nuscenes_to_bag", __doc__)
    parser.add_argument("data", type=Path, help="data root: the folder that holds samples/ and the tables' folder")
    parser.add_argument("out", type=Path, help="folder for the bags; one is written to OUT/<scene> for each scene")
    parser.add_argument("--version", help="the tables' folder, such as v1.0-mini (default: the only one there is)")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="scenes to convert (default: all)")
    parser.add_argument("--sweeps", action="store_true", help="all sweeps and images, not only the key frames")
    parser.add_argument("--overwrite", action="store_true", help="replace bags that are already there")
    return parser


def convert_scenes(reader: NuScenesReader, options: argparse.Namespace) -> int:
    """Convert what is there, say what is not; the exit code: 0 when every wanted scene has its bag."""
    scenes = options.scenes or reader.scenes()
    made, kept, missing, incomplete, unwritten = 0, 0, 0, 0, 0
    for scene in scenes:
        if (options.out / scene / "metadata.yaml").is_file() and not options.overwrite:
            print(f"{options.out / scene} is there already: left as it is; --overwrite replaces it")
            kept += 1
            continue
        if absent := reader.without_files(scene, options.sweeps):
            print(f"left out {scene}: none of its files is there, first: {absent}")
            missing += 1
            continue
        try:
            summary = convert_scene(reader, scene, options.out, options.sweeps, options.overwrite)
        except WriteError as error:
            if error.disk_full or error.path == options.out:
                raise  # nor can any other scene be written
            print(f"left out {scene}: {error}")
            unwritten += 1
            continue
        made, incomplete = made + 1, incomplete + bool(summary.skipped)
        print(summary)
    print(
        f"{len(scenes)} scenes: {made} converted ({incomplete} of them with files missing or damaged), {kept} were "
        f"there, {missing} left out for want of their files, {unwritten} could not be written"
    )
    return int(missing + unwritten > 0)


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return convert_scenes(NuScenesReader(options.data, options.version), options)
    except (OccFusionError, OSError, ImportError) as error:
        return failed(error)


if __name__ == "__main__":
    sys.exit(main())
