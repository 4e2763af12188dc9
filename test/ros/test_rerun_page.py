"""Rerun's page in a real browser: voxels are there to be seen, in the colors of their classes."""

import re
import socket

import numpy as np
import pytest
from helpers.answering_node import STAMP
from helpers.browser import chromium, page

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES, Label
from occfusion_ros.ros.conversions.coloring import class_colors
from occfusion_ros.ros.conversions.occupied_voxels import OccupiedVoxels
from occfusion_ros.ros.viewers import rerun_viewer
from occfusion_ros.ros.viewers.scene import Scene

pytest.importorskip("rerun", reason="Rerun is not installed: pip install rerun-sdk")
if chromium() is None:
    pytest.skip("no Chromium is installed, so Rerun's page is not looked at", allow_module_level=True)

SPEC = GridSpec((-4.0, -4.0, -1.0), 0.2, (40, 40, 10))
SIZE, ABOVE = (800, 700), 0.6  # pixels; share of the picture's height that is the 3D window
ENOUGH, NONE = 500, 20  # pixels of a color
DEADLINE_S = 300.0  # it takes some ten seconds of processor time


def road_with(label: Label, stamp_ns: int) -> Scene:
    """A road with a block of a class on it."""
    labels = np.zeros(SPEC.size, np.uint8)
    labels[:, :, 0], labels[14:26, 14:26, 1:9] = Label.DRIVEABLE_SURFACE, label
    voxels = OccupiedVoxels.of(labels, SPEC)
    colors = class_colors(OPENOCCUPANCY_CLASSES)[voxels.labels]
    grid = OccupancyGrid(SPEC, labels, stamp_ns, "lidar_top")
    return Scene(grid, OPENOCCUPANCY_CLASSES, voxels, colors, np.zeros((0, 4), np.float32), {}, {})


def pixels_of(label: Label, picture: np.ndarray) -> int:
    """How many pixels of the 3D window have the color of a class, in whatever light."""
    color = class_colors(OPENOCCUPANCY_CLASSES)[label].astype(float)
    window = picture[: int(ABOVE * len(picture))].reshape(-1, 3).astype(float)
    length = np.linalg.norm(window, axis=1)
    return int(((window @ color > 0.99 * length * np.linalg.norm(color)) & (length > 60)).sum())


def test_voxels_are_seen_in_the_colors_of_their_classes_and_go_with_their_answer(tmp_path, capsys):
    road, car, tree = Label.DRIVEABLE_SURFACE, Label.CAR, Label.VEGETATION
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with rerun_viewer.open_rerun(serve=port) as write, page(tmp_path, SIZE, DEADLINE_S) as browser:
        write(road_with(car, STAMP))
        browser.open(re.search(r"open (\S+) in", capsys.readouterr().out)[1])
        frames = browser.frames()
        seen = {road: 0, car: 0}
        while min(seen.values()) < ENOUGH:
            picture = next(frames)
            seen = {label: pixels_of(label, picture) for label in (road, car)}
        assert pixels_of(tree, picture) < NONE
        write(road_with(tree, STAMP + 10**9))
        while pixels_of(tree, picture) < ENOUGH or pixels_of(car, picture) > NONE:
            picture = next(frames)
        assert pixels_of(road, picture) > ENOUGH
