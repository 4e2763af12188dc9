"""Keeps all that a node in another process publishes."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.ros.conversions.image import rgb_from_compressed
from occfusion_ros.ros.conversions.stamps import stamp_ns
from occfusion_ros.ros.node.forms import forms, passable_of
from occfusion_ros.ros.node.parameters import NodeParameters
from occfusion_ros.ros.node.publishers import KEPT
from occfusion_ros.ros.startup.rclpy_start import spinning_node
from occfusion_ros.ros.transforms.buffer import make_transform_buffer
from occfusion_ros.ros.transforms.tree import TransformError

MAP = "map"
WITH_COSTMAP = NodeParameters(fixed_frame=MAP)


class Listener:
    """Subscribes to every form of an answer, and keeps a message of each stamp.

    Attributes:
        messages: by topic, such as ``~/points``, and stamp.
        poses: (4, 4) ``map_from_grid`` by stamp, where transforms say it.
    """

    def __init__(self, node: Node, first: bool, source: str = "/occfusion") -> None:
        """`first`: of several messages of one stamp the first is kept, else the last."""
        self._first = first
        self.messages: dict[str, dict[int, Any]] = defaultdict(dict)
        self.poses: dict[int, np.ndarray] = {}
        self._transforms = make_transform_buffer(node)
        self._lock = threading.Lock()
        for form in forms(WITH_COSTMAP, passable_of(WITH_COSTMAP, ())):
            self._listen(node, form.topic, form.kind, form.topic.replace("~", source))

    def _listen(self, node: Node, topic: str, kind: type, name: str) -> None:
        def take(message: Any) -> None:
            stamp = _stamp(topic, message)
            with self._lock:
                if not self._first or stamp not in self.messages[topic]:
                    self.messages[topic][stamp] = message
            if topic == "~/obstacles":
                with suppress(TransformError):
                    self.poses[stamp] = self._transforms.lookup(MAP, message.header.frame_id, stamp)

        node.create_subscription(kind, name, take, KEPT)


def _stamp(topic: str, message: Any) -> int:
    """Nanoseconds; Foxglove's messages have their stamps without a header."""
    if topic == "~/voxel_grid":
        return message.timestamp.sec * 10**9 + message.timestamp.nanosec
    return stamp_ns(message.markers[-1].header if topic == "~/markers" else message.header)


@contextmanager
def listening(first: bool = True) -> Iterator[Listener]:
    """Within it all forms of all answers are taken; see `Listener`."""
    with spinning_node("listener", []) as node:
        yield Listener(node, first)


def assert_forms_agree(
    heard: dict[str, dict[int, Any]], stamp: int, grid: OccupancyGrid, cameras: Iterable[str]
) -> None:
    """Compare the forms of one answer with its grid; `cameras` took part in it."""
    labels, spec = grid.labels, grid.spec
    occupied = np.count_nonzero((labels > 0) & (labels < IGNORE))

    def labels_at(points: np.ndarray) -> np.ndarray:
        index, inside = spec.indices(points)
        assert inside.all()
        return labels[tuple(index.T)]

    obstacles = _points(heard["~/obstacles"][stamp], 3)
    assert len(obstacles) > 100 and (labels_at(obstacles) > 0).all()
    segmentation, points = (heard[topic][stamp] for topic in ("~/segmentation", "~/points"))
    assert segmentation.point_step == 24 and segmentation.width == points.width == occupied
    assert (labels_at(_points(segmentation, 6)[:, :3]) == np.frombuffer(points.data, np.uint32)[4::5]).all()
    assert heard["~/unknown"][stamp].width == 0 or (labels == IGNORE).any()
    mask = np.frombuffer(heard["~/from_above/mask"][stamp].data, np.uint8)
    tops = _points(heard["~/from_above/points"][stamp], 3)
    seen = mask < IGNORE
    assert (np.isfinite(tops[:, 2]) == seen).all() and seen.sum() > 1000
    assert (labels_at(tops[seen] - [0, 0, spec.voxel_size / 2]) == mask[seen]).all()
    assert len(heard["~/from_above/confidence"][stamp].data) == len(mask)
    for name in cameras:
        picture = rgb_from_compressed(heard[f"~/overlay/{name}/compressed"][stamp])
        assert max(picture.shape) == 640 and picture.std() > 10


def assert_costmap_agrees(heard: Listener, stamp: int) -> None:
    """Compare the costmap of one answer with its obstacles: what blocks is where they are in the map, up to two cells.

    As much is what stands high moved aside where the vehicle leans by some degrees.
    """
    costmap, pose = heard.messages["~/costmap"][stamp], heard.poses[stamp]
    info, origin = costmap.info, costmap.info.origin
    cells = np.array(costmap.data, np.int8).reshape(info.height, info.width)
    assert costmap.header.frame_id == MAP and (origin.orientation.z, origin.orientation.w) == (0, 1)
    assert set(np.unique(cells)) >= {-1, 0, 100}
    points = _points(heard.messages["~/obstacles"][stamp], 3) @ pose[:3, :3].T + pose[:3, 3]
    columns, rows = np.floor((points[:, :2] - [origin.position.x, origin.position.y]) / info.resolution).astype(int).T
    inside = (columns >= 0) & (columns < info.width) & (rows >= 0) & (rows < info.height)
    blocking, occupied = cells == 100, np.zeros(cells.shape, bool)
    occupied[rows[inside], columns[inside]] = True
    assert inside.mean() > 0.9 and occupied.sum() > 100, "a turned grid has corners outside"
    assert spread(blocking)[occupied].mean() > 0.995 and spread(occupied)[blocking].mean() > 0.995


def spread(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is at most two cells away from where the mask is true."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


def _points(cloud: Any, numbers: int) -> np.ndarray:
    """(N, `numbers`) of the bytes of a cloud as float32."""
    return np.frombuffer(cloud.data, np.float32).reshape(-1, numbers)
