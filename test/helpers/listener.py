"""Keeps all that a node in another process publishes."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

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

WITH_COSTMAP = NodeParameters(fixed_frame="map")


class Listener:
    """Subscribes to every form of an answer, and keeps a message of each stamp.

    Attributes:
        messages: by topic, such as ``~/points``, and stamp.
    """

    def __init__(self, node: Node, first: bool, source: str = "/occfusion") -> None:
        """`first`: of several messages of one stamp the first is kept, else the last."""
        self._first = first
        self.messages: dict[str, dict[int, Any]] = defaultdict(dict)
        self._lock = threading.Lock()
        for form in forms(WITH_COSTMAP, passable_of(WITH_COSTMAP, ())):
            self._listen(node, form.topic, form.kind, form.topic.replace("~", source))

    def _listen(self, node: Node, topic: str, kind: type, name: str) -> None:
        def take(message: Any) -> None:
            header = message.markers[-1].header if topic == "~/markers" else message.header
            with self._lock:
                if not self._first or stamp_ns(header) not in self.messages[topic]:
                    self.messages[topic][stamp_ns(header)] = message

        node.create_subscription(kind, name, take, KEPT)


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


def _points(cloud: Any, numbers: int) -> np.ndarray:
    """(N, `numbers`) of the bytes of a cloud as float32."""
    return np.frombuffer(cloud.data, np.float32).reshape(-1, numbers)
