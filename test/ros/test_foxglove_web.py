"""What is written for Foxglove, read by MCAP's reader and Foxglove's schemas and compared with what was published."""

import dataclasses
import json
import re
import select
import socket
import struct
from argparse import Namespace

import numpy as np
import pytest
from helpers.answering_node import CAMERA_AT, CYAN, FOCAL, STAMP, SWEEP, Source, jpeg
from helpers.foxglove_file import packed, read, voxel_grid
from sensor_msgs.msg import Image

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, SemanticClass
from occfusion_ros.ros.conversions.cells import cells_of
from occfusion_ros.ros.conversions.coloring import class_colors
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.transforms.tree import quaternion_of
from occfusion_ros.ros.viewers import foxglove_web
from occfusion_ros.ros.viewers.foxglove_layout import layout_of
from occfusion_ros.ros.viewers.scene import CameraView, Scene

pytest.importorskip("foxglove", reason="Foxglove's package is not installed: pip install foxglove-sdk")


def scene_of(labels: np.ndarray, spec: GridSpec) -> Scene:
    voxels = OccupiedVoxels.of(labels, spec)
    grid = OccupancyGrid(spec, labels, STAMP, "lidar_top")
    colors = class_colors(OPENOCCUPANCY_CLASSES)[voxels.labels]
    return Scene(grid, OPENOCCUPANCY_CLASSES, voxels, colors, np.zeros((0, 4), np.float32), {}, {})


@pytest.fixture(scope="module")
def published(tmp_path_factory, ros_domain):
    """What a node published, and what is in the files that the command wrote of two answers, voxels as they are."""
    file = tmp_path_factory.mktemp("foxglove") / "new" / "drive.mcap"
    layout = file.with_name("layout.json")
    source = Source(sensors=True)
    try:
        told = ["--mcap", str(file), "--merge", "1", "--layout", str(layout), "--count", "2", "--timeout", "60"]
        assert foxglove_web.main(told) == 0
    finally:
        source.close()
    return source, read(file), json.loads(layout.read_text())


def test_each_voxel_is_there_with_its_place_class_and_color(published):
    source, messages, _ = published
    stamps, schemas, grids = zip(*messages["/voxels"])
    assert set(stamps) == {STAMP} and set(schemas) == {"foxglove.VoxelGrid"}
    spec, labels, colors = voxel_grid(grids[-1])
    assert spec == source.grid.spec and (labels == source.grid.labels).all() and (labels == 255).any()
    occupied = (labels > 0) & (labels < 255)
    expected = np.where(occupied[..., None], class_colors(OPENOCCUPANCY_CLASSES)[labels], 0)
    assert (colors[..., :3] == expected).all() and (colors[..., 3] == np.where(occupied, 255, 0)).all()
    assert grids[-1].frame_id == "lidar_top"
    assert grids[-1].timestamp.seconds * 10**9 + grids[-1].timestamp.nanos == STAMP


def test_the_sweep_the_camera_and_its_image_are_there(published):
    _, messages, _ = published
    _, schema, cloud = messages["/sweep"][-1]
    fields = packed(cloud, 1, len(cloud.data), cloud.point_stride)
    assert schema == "foxglove.PointCloud"
    assert np.allclose(np.stack([fields[name][0] for name in ("x", "y", "z", "intensity")], 1), SWEEP)
    _, schema, image = messages["/cam_a/image"][-1]
    assert (schema, image.format, image.data) == ("foxglove.CompressedImage", "jpeg", jpeg(CYAN))
    (transform,) = messages["/tf"][-1][2].transforms
    assert (transform.parent_frame_id, transform.child_frame_id) == ("lidar_top", image.frame_id)
    assert np.allclose([getattr(transform.translation, axis) for axis in "xyz"], CAMERA_AT)
    turn = np.array([getattr(transform.rotation, axis) for axis in "xyzw"])
    assert np.allclose(turn * np.sign(turn[3]), [-np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    _, schema, calibration = messages["/cam_a/calibration"][-1]
    assert (schema, calibration.width, calibration.K[0]) == ("foxglove.CameraCalibration", 320, FOCAL)


def test_the_voxels_lie_on_the_image(published):
    source, messages, _ = published
    _, schema, annotations = messages["/cam_a/voxels"][-1]
    assert schema == "foxglove.ImageAnnotations"
    (group,) = annotations.points
    color = [round(255 * getattr(group.outline_color, name)) for name in "rgb"]
    assert tuple(color) == OPENOCCUPANCY_CLASSES[3].rgb, "cars alone"
    x, y, z = (source.grid.spec.centers(np.argwhere(source.grid.labels == 4)) - CAMERA_AT).T
    expected = np.stack([FOCAL * x / y + 160.5, 90.5 - FOCAL * z / y], axis=1)
    assert len(group.points) > 50
    assert all(np.abs(expected - (pixel.x, pixel.y)).max(axis=1).min() < 1e-3 for pixel in group.points)


def test_classes_counts_times_and_states_are_there(published):
    source, messages, _ = published
    classes = messages["/classes"][-1][2]["classes"]
    assert classes[3] == {"label": 4, "name": "car", "rgb": list(OPENOCCUPANCY_CLASSES[3].rgb)}
    counts = messages["/counts"][-1][2]
    assert counts["car"] == np.count_nonzero(source.grid.labels == 4) and counts["remembered"] == 9
    assert messages["/times_ms"][-1][2] == {"fuser": 12.5}
    ((_, schema, state),) = messages["/diagnostics"]
    assert (schema, state.name, state.message, state.level) == ("foxglove.Log", "occfusion: inputs", "slow", 3)


def panels(content: dict) -> dict[str, list[dict]]:
    """Configurations of a layout's panels by their kind."""
    found = {}
    inside = [content]
    while inside:
        one = inside.pop()
        inside += [item["content"] for item in one.get("items", [])]
        if one["type"] != "split":
            found.setdefault(one["panelType"], []).append(one["config"])
    return found


def test_the_layout_shows_what_is_published(published):
    """Every topic in it is published with the schema that its panel draws, and of what is published all is shown."""
    source, messages, layout = published
    schemas = {topic: rows[0][1] for topic, rows in messages.items()}
    shown = panels(layout["content"])
    (space,), (image,) = shown["ThreeDee"], shown["Image"]
    assert {topic: schemas[topic] for topic in space["topics"]} == {
        "/voxels": "foxglove.VoxelGrid",
        "/sweep": "foxglove.PointCloud",
    }
    assert space["followTf"] == messages["/voxels"][0][2].frame_id
    names = {field.name for field in messages["/voxels"][0][2].fields}
    assert space["topics"]["/voxels"]["colorMode"] == "rgba-fields" and {"red", "green", "blue", "alpha"} < names
    mode = image["imageMode"]
    assert schemas[mode["imageTopic"]] == "foxglove.CompressedImage"
    assert schemas[mode["calibrationTopic"]] == "foxglove.CameraCalibration"
    assert [schemas[topic] for topic in mode["annotations"]] == ["foxglove.ImageAnnotations"]
    ((log,), (classes,)) = shown["Log"], shown["RawMessages"]
    assert schemas[log["topicToRender"]] == "foxglove.Log" and classes["topicPath"] in schemas
    lines = [path["value"].split(".") for plot in shown["Plot"] for path in plot["paths"]]
    assert len(lines) == len(OPENOCCUPANCY_CLASSES) + 1 and all(n in messages[topic][0][2] for topic, n in lines)
    used = {*space["topics"], mode["imageTopic"], mode["calibrationTopic"], *mode["annotations"]}
    assert used | {log["topicToRender"], classes["topicPath"], *(t for t, _ in lines), "/tf"} == set(schemas)


def test_raw_images_odd_names_and_no_cameras_have_a_layout_too():
    scene = dataclasses.replace(
        scene_of(np.zeros((2, 2, 2), np.uint8), GridSpec((0.0, 0.0, 0.0), 1.0, (2, 2, 2))),
        cameras={name: CameraView(Image()) for name in ("rear", "side/left", "front", "top")},
        classes=(SemanticClass(1, "my class", (1, 2, 3)), SemanticClass(2, "car", (255, 0, 16))),
    )
    content = json.loads(layout_of(scene))["content"]
    topics = {one["imageMode"]["imageTopic"] for one in panels(content)["Image"]}
    assert topics == {f"/{name}/image_raw" for name in scene.cameras}
    above = content["items"][0]["content"]["items"][1]["content"]
    assert [len(row["content"]["items"]) for row in above["items"]] == [3, 1]
    counts = next(plot for plot in panels(content)["Plot"] if plot["paths"])
    assert [(line["value"], line["color"]) for line in counts["paths"]] == [("/counts.car", "#ff0010")]
    without = json.loads(layout_of(dataclasses.replace(scene, cameras={})))["content"]
    assert "Image" not in panels(without) and "ThreeDee" in panels(without)


def test_a_layout_has_what_later_answers_bring(tmp_path):
    """The first answer may come before its images and times."""
    place = Namespace(file=tmp_path / "a.mcap", layout=tmp_path / "layout.json", merge=1, range=0.0)
    first = scene_of(np.zeros((2, 2, 2), np.uint8), GridSpec((0.0, 0.0, 0.0), 1.0, (2, 2, 2)))
    view = CameraView(Image(height=1, width=1, encoding="rgb8", step=3, data=b"abc"))
    with foxglove_web.open_foxglove(place) as write:
        for scene, cameras in ((first, 0), (dataclasses.replace(first, cameras={"a": view}), 1), (first, 1)):
            write(scene)
            shown = panels(json.loads(place.layout.read_text())["content"])
            assert len(shown.get("Image", ())) == cameras


class Client:
    """As much of a WebSocket client as it takes to listen to a server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        fields = "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="
        more = "Host: localhost", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: foxglove.sdk.v1"
        self.socket.sendall("\r\n".join(["GET / HTTP/1.1", *fields, *more, "", ""]).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.socket.recv(1)
        assert b" 101 " in answer

    def send(self, message: dict) -> None:
        text = json.dumps(message).encode()
        assert len(text) < 126
        self.socket.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)  # masked with zeros

    def receive(self) -> dict | bytes:
        """The next message, decoded if it is text; empty where none comes at once."""
        if not select.select([self.socket], [], [], 0.1)[0]:
            return {}
        kind, size = self._read(2)
        if size >= 126:
            size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
        data = self._read(size)
        return json.loads(data) if kind & 15 == 1 else data

    def _read(self, size: int) -> bytes:
        return self.socket.recv(size, socket.MSG_WAITALL)


def test_a_client_that_connects_is_served_what_it_asks_for(capsys):
    from foxglove.messages import VoxelGrid
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    labels = np.zeros((4, 3, 2), np.uint8)
    labels[1, 2, 0] = 4
    spec = GridSpec((-1.0, 0.0, 0.5), 0.25, labels.shape)
    with foxglove_web.open_foxglove(
        Namespace(file=None, host="127.0.0.1", port=0, merge=1, range=0.0, layout=None)
    ) as write:
        client = Client(int(re.search(r"ws://127.0.0.1:(\d+)", capsys.readouterr().out)[1]))
        write(scene_of(labels, spec))
        offered = {}
        while "/voxels" not in offered:
            message = client.receive()
            offered |= {channel["topic"]: channel for channel in message.get("channels", [])}
        assert (offered["/voxels"]["encoding"], offered["/voxels"]["schemaName"]) == ("protobuf", "foxglove.VoxelGrid")
        client.send({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": offered["/voxels"]["id"]}]})
        data = {}
        while not isinstance(data, bytes):  # until the server knows what is asked for
            write(scene_of(labels, spec))
            data = client.receive()
        client.socket.close()
    operation, subscription, stamp = struct.unpack("<BIQ", data[:13])
    assert (operation, subscription, stamp) == (1, 7, STAMP)
    files = descriptor_pb2.FileDescriptorSet.FromString(VoxelGrid.get_schema().data)
    kind = message_factory.GetMessages(files.file, pool=descriptor_pool.DescriptorPool())["foxglove.VoxelGrid"]
    found, labels_found, _ = voxel_grid(kind.FromString(data[13:]))
    assert found == spec and (labels_found == labels).all()


@pytest.mark.parametrize("merge", [1, 2, 4])
@pytest.mark.parametrize("range_m", [0.0, 1.5])
def test_cells_are_what_a_plain_loop_makes_of_the_voxels(merge, range_m):
    rng = np.random.default_rng(merge)
    spec = GridSpec((-2.0, -1.0, -0.6), 0.2, (21, 11, 6))
    labels = rng.choice([0, 3, 4, 9, 255], spec.size, p=[0.3, 0.2, 0.2, 0.1, 0.2]).astype(np.uint8)
    labels[4:13, 4:9] = 255
    scene = scene_of(labels, spec)
    cells = cells_of(scene.voxels, scene.colors, range_m, merge)
    first = (2, 0, 0) if range_m else (0, 0, 0)
    part = labels[2:18] if range_m else labels
    assert np.allclose(cells.spec.low, np.array(spec.low) + 0.2 * np.array(first))
    assert cells.values.shape == (*cells.spec.size[::-1], 5) and cells.spec.voxel_size == pytest.approx(0.2 * merge)
    for x, y, z in np.ndindex(cells.spec.size):
        block = part[tuple(slice(i * merge, (i + 1) * merge) for i in (x, y, z))].ravel()
        counts = np.bincount(block[(block > 0) & (block < 255)], minlength=1)
        *rgba, label = cells.values[z, y, x]
        if counts.any():
            assert label == counts.argmax() and tuple(rgba) == (*OPENOCCUPANCY_CLASSES[label - 1].rgb, 255)
        else:
            assert rgba == [0, 0, 0, 0] and label == (255 if (block == 255).all() else 0)


def test_colors_of_a_cell_are_the_mean_of_its_class():
    spec = GridSpec((0.0, 0.0, 0.0), 1.0, (2, 1, 1))
    voxels = OccupiedVoxels.of(np.full((2, 1, 1), 4, np.uint8), spec)
    colors = np.array([[10, 0, 255], [20, 1, 255]], np.uint8)
    assert cells_of(voxels, colors, merge=2).values.ravel().tolist() == [15, 0, 255, 255, 4]


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0), (0.5, -0.5, 0.5, 0.5)])
def test_a_quaternion_is_that_of_its_matrix(quaternion):
    from occfusion_ros.ros.transforms.tree import rigid_matrix

    matrix = rigid_matrix("a", "b", np.zeros(3), np.array(quaternion, float))[:3, :3]
    assert abs(quaternion_of(matrix) @ quaternion) == pytest.approx(1)


def test_a_port_that_is_taken_is_one_sentence(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert foxglove_web.main(["--port", str(taken.getsockname()[1])]) == 1
    assert capsys.readouterr().err.startswith("error: Foxglove cannot be opened: ")
