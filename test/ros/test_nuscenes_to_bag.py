"""Bags written from nuScenes roots hold exactly what the files and tables say."""

import errno
import os
import shutil

import numpy as np
import pytest
from helpers.tiny_nuscenes import CENTER, FOCAL, SAMPLE_US, SCENE, SIZE, START_US, TinyRoot, vehicle_x
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from occfusion_ros.core.errors import DatasetError
from occfusion_ros.datasets.nuscenes import NuScenesReader, Pose
from occfusion_ros.ros.tools import nuscenes_to_bag
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene, main


class Bag:
    """All messages of a bag, decoded by the definitions it carries."""

    def __init__(self, path):
        with AnyReader([path]) as reader:
            self.connections = {connection.topic: connection for connection in reader.connections}
            self.messages = [
                (connection.topic, stamp, reader.deserialize(data, connection.msgtype))
                for connection, stamp, data in reader.messages()
            ]

    def on(self, topic):
        return [message for name, _, message in self.messages if name == topic]

    def transforms(self, topic):
        """(stamp_ns, parent, child): Pose."""
        return {
            (_stamp(t), t.header.frame_id, t.child_frame_id): _pose(t.transform)
            for message in self.on(topic)
            for t in message.transforms
        }


def _stamp(message) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def _pose(transform) -> Pose:
    t, r = transform.translation, transform.rotation
    return Pose((t.x, t.y, t.z), (r.w, r.x, r.y, r.z))


@pytest.fixture
def tiny(tmp_path) -> TinyRoot:
    return TinyRoot(tmp_path / "root")


def _assert_same(bag: Bag, records) -> None:
    """Every file of the records is in the bag, byte for byte and stamp for stamp, and nothing else is."""
    sensed = {}
    for record in records:
        name = record.channel.lower()
        topic = f"/{name}" if record.modality == "lidar" else f"/{name}/image_rect_compressed"
        sensed.setdefault(topic, []).append((record.stamp_ns, name, record.path.read_bytes()))
    for topic, expected in sensed.items():
        got = [(_stamp(m), m.header.frame_id, m.data.tobytes()) for m in bag.on(topic)]
        assert got == expected, topic
    info = {topic.replace("image_rect_compressed", "camera_info") for topic in sensed if "image" in topic}
    assert bag.connections.keys() == sensed.keys() | info | {"/tf", "/tf_static"}


def _assert_chain(bag: Bag, records) -> None:
    """map -> base_link -> sensor at each sensor's own stamp is exactly what the tables say."""
    moving, static = bag.transforms("/tf"), bag.transforms("/tf_static")
    fixed = {child: pose for (_, parent, child), pose in static.items() if parent == "base_link"}
    for record in records:
        name = record.channel.lower()
        assert moving[record.stamp_ns, "map", "base_link"] == record.map_from_base
        mount = fixed[name] if name in fixed else moving[record.stamp_ns, "base_link", name]
        assert mount == record.base_from_sensor, name


@pytest.mark.parametrize("sweeps", [False, True])
def test_bag_holds_files_stamps_and_transforms(tiny, tmp_path, sweeps):
    reader = NuScenesReader(tiny.root)
    summary = convert_scene(reader, SCENE, tmp_path / "bags", sweeps)
    bag, records = Bag(tmp_path / "bags" / SCENE), reader.records(SCENE, sweeps)
    _assert_same(bag, records)
    _assert_chain(bag, records)
    assert summary.messages["/lidar_top"] == len(bag.on("/lidar_top")) == (3 if sweeps else 2)
    assert sum(summary.messages.values()) == len(bag.messages) and not summary.skipped


def test_order_and_offered_qos(tiny, tmp_path):
    convert_scene(NuScenesReader(tiny.root), SCENE, tmp_path)
    bag = Bag(tmp_path / SCENE)
    stamps = [stamp for _, stamp, _ in bag.messages]
    assert stamps == sorted(stamps) and bag.messages[0][0] == "/tf_static"
    assert all(stamp == _stamp(message) for topic, stamp, message in bag.messages if not topic.startswith("/tf"))
    (static,) = bag.connections["/tf_static"].ext.offered_qos_profiles
    (cloud,) = bag.connections["/lidar_top"].ext.offered_qos_profiles
    assert static.durability == QosDurability.TRANSIENT_LOCAL and cloud.durability == QosDurability.VOLATILE


def test_cloud_and_camera_info_layout(tiny, tmp_path):
    convert_scene(NuScenesReader(tiny.root), SCENE, tmp_path)
    bag = Bag(tmp_path / SCENE)
    cloud = bag.on("/lidar_top")[0]
    assert [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("intensity", 12, 7, 1),
        ("ring", 16, 7, 1),
    ]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 5, 20, 100)
    assert cloud.is_dense and not cloud.is_bigendian
    info, image = bag.on("/cam_front/camera_info")[1], bag.on("/cam_front/image_rect_compressed")[1]
    assert _stamp(info) == _stamp(image) == (START_US + SAMPLE_US - 35_000) * 1000
    assert info.header.frame_id == "cam_front" and image.format == "jpeg"
    assert (info.height, info.width) == SIZE and info.distortion_model == "plumb_bob" and info.d.tolist() == [0.0] * 5
    assert info.k.tolist() == [FOCAL, 0, CENTER[0], 0, FOCAL, CENTER[1], 0, 0, 1]
    assert info.p.tolist() == [FOCAL, 0, CENTER[0], 0, 0, FOCAL, CENTER[1], 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))


def test_calibration_that_changes_is_not_static(tmp_path):
    reader = NuScenesReader(TinyRoot(tmp_path / "root", recalibrated=True).root)
    convert_scene(reader, SCENE, tmp_path / "bags")
    bag = Bag(tmp_path / "bags" / SCENE)
    assert {child for _, _, child in bag.transforms("/tf_static")} == {"lidar_top", "cam_back"}
    _assert_chain(bag, reader.records(SCENE))


def test_calibration_that_changes_is_known_at_every_sweep(tmp_path):
    reader = NuScenesReader(TinyRoot(tmp_path / "root", recalibrated=True).root)
    convert_scene(reader, SCENE, tmp_path / "bags", sweeps=True)
    bag = Bag(tmp_path / "bags" / SCENE)
    known = sorted(stamp for stamp, _, child in bag.transforms("/tf") if child == "cam_front")
    records = reader.records(SCENE, sweeps=True)
    assert (known[0], known[-1]) == (records[0].stamp_ns, records[-1].stamp_ns)
    assert records[-1].channel == "LIDAR_TOP", "it ends after the camera's own last stamp"
    cameras = [record.base_from_sensor for record in records if record.channel == "CAM_FRONT"]
    poses = bag.transforms("/tf")
    assert [poses[stamp, "base_link", "cam_front"] for stamp in (known[0], known[-1])] == [cameras[0], cameras[-1]]


def _failing(number, scenes):
    """A SceneWriter.write that fails after some messages for the first so many scenes."""
    write, left = nuscenes_to_bag.SceneWriter.write, [None] * scenes

    def failing(self, progress):
        write(self, progress)
        if left:
            left.pop()
            raise OSError(number, os.strerror(number))

    return failing


@pytest.fixture
def two_scenes(tiny) -> TinyRoot:
    """The same sample stands in another scene."""
    tiny.tables["scene"].append({**tiny.tables["scene"][0], "token": "scene2", "name": "scene-0002"})
    tiny.tables["sample"][1]["scene_token"] = "scene2"
    tiny.save()
    return tiny


def test_after_an_error_of_writing_the_next_scene_is_tried(two_scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(nuscenes_to_bag.SceneWriter, "write", _failing(errno.EIO, 1))
    assert main([str(two_scenes.root), str(tmp_path / "bags")]) == 1
    out = capsys.readouterr().out
    assert f"left out {SCENE}: cannot write {tmp_path / 'bags' / SCENE}: Input/output error" in out
    assert out.splitlines()[-1].startswith("2 scenes: 1 converted") and "1 could not be written" in out
    assert [path.name for path in (tmp_path / "bags").iterdir()] == ["scene-0002"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_it_in_one_sentence(two_scenes, tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr(nuscenes_to_bag.SceneWriter, "write", _failing(number, 2))
    assert main([str(two_scenes.root), str(tmp_path / "bags")]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert errors == [f"error: cannot write {tmp_path / 'bags' / SCENE}: {os.strerror(number)}"]
    assert list((tmp_path / "bags").iterdir()) == []


def test_a_folder_where_nothing_can_be_written(two_scenes, tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    for out in (tmp_path / "file", "/proc/nowhere"):
        assert main([str(two_scenes.root), str(out)]) == 1
        output, errors = capsys.readouterr()
        assert f"error: cannot write {out}: " in errors and "Traceback" not in errors and "left out" not in output


def test_bags_need_no_labels(tiny, tmp_path, capsys):
    for folder in ("lidarseg", "maps"):
        shutil.rmtree(tiny.root / folder)
    assert main([str(tiny.root), str(tmp_path / "bags")]) == 0
    assert len(Bag(tmp_path / "bags" / SCENE).on("/lidar_top")) == 2


def test_vehicle_moves_between_the_stamps(tiny, tmp_path):
    convert_scene(NuScenesReader(tiny.root), SCENE, tmp_path)
    poses = Bag(tmp_path / SCENE).transforms("/tf")
    assert len(poses) == 6
    for (stamp, *_), pose in poses.items():
        assert pose == Pose((vehicle_x(stamp // 1000), 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))


def test_damaged_files_are_skipped_and_counted(tiny, tmp_path, capsys):
    tiny.path("CAM_BACK").unlink()
    sweep = tiny.path("LIDAR_TOP", 1)
    sweep.write_bytes(sweep.read_bytes()[:-3])
    assert main([str(tiny.root), str(tmp_path / "bags"), "--scenes", SCENE]) == 0
    out = capsys.readouterr().out
    assert "skipped 2 files" in out and "1  /lidar_top" in out and "1  /cam_back/camera_info" in out
    bag = Bag(tmp_path / "bags" / SCENE)
    assert len(bag.on("/lidar_top")) == len(bag.on("/cam_back/image_rect_compressed")) == 1
    assert len(bag.on("/cam_front/image_rect_compressed")) == 2


def test_bags_are_replaced_only_on_demand(tiny, tmp_path, capsys):
    arguments = [str(tiny.root), str(tmp_path / "bags")]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert "left as it is; --overwrite replaces it" in capsys.readouterr().out
    assert main([*arguments, "--overwrite", "--sweeps"]) == 0
    assert len(Bag(tmp_path / "bags" / SCENE).on("/lidar_top")) == 3
    assert [path.name for path in (tmp_path / "bags").iterdir()] == [SCENE], "nothing half-written stays"


def test_a_folder_that_is_not_a_bag_is_never_replaced(tiny, tmp_path):
    precious = tmp_path / "bags" / SCENE / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("years of work")
    with pytest.raises(DatasetError, match="not a bag"):
        convert_scene(NuScenesReader(tiny.root), SCENE, tmp_path / "bags", overwrite=True)
    assert precious.exists()


def test_nothing_stays_of_an_interrupted_conversion(tiny, tmp_path, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(nuscenes_to_bag, "read_sweep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert_scene(NuScenesReader(tiny.root), SCENE, tmp_path / "bags")
    assert list((tmp_path / "bags").iterdir()) == []


def test_unknown_scenes_and_roots_are_refused(tiny, tmp_path, capsys):
    assert main([str(tiny.root), str(tmp_path / "bags"), "--scenes", "elsewhere"]) == 1
    assert "no scene 'elsewhere'" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "bags")]) == 1
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "bags").exists()


@pytest.mark.parametrize(
    "scene, static, messages", [("nus-scene0061", 7, 21), ("ddad-scene-02", 1, 46), ("nus-lidar-drive", 1, 13)]
)
def test_real_scenes(nuscenes_sample, tmp_path, scene, static, messages):
    reader = NuScenesReader(nuscenes_sample)
    convert_scene(reader, scene, tmp_path)
    bag, records = Bag(tmp_path / scene), reader.records(scene)
    _assert_same(bag, records)
    _assert_chain(bag, records)
    assert len(bag.transforms("/tf_static")) == static and len(bag.messages) == messages


def test_scenes_without_files_are_left_out_and_converted_when_these_came(tiny, tmp_path, capsys):
    samples, away = tiny.root / "samples", tiny.root / "away"
    samples.rename(away)
    assert main([str(tiny.root), str(tmp_path / "bags")]) == 1
    assert f"left out {SCENE}: none of its files is there, first: {samples}" in capsys.readouterr().out
    assert not (tmp_path / "bags" / SCENE).exists()
    away.rename(samples)
    assert main([str(tiny.root), str(tmp_path / "bags")]) == 0


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/bags"])
def test_an_output_that_cannot_be_written_is_named(tiny, tmp_path, capsys, out):
    (tmp_path / "file").write_text("")
    assert main([str(tiny.root), str(tmp_path / out)]) == 1
    assert "error: cannot write" in capsys.readouterr().err
