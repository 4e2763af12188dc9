"""Forms of one answer that are built side by side."""

import threading

import numpy as np
import pytest

from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.ros.node import forms as built
from occfusion_ros.ros.node.forms import Answer, Builder, Form, passable_of
from occfusion_ros.ros.node.parameters import NodeParameters

THREADS = 4


@pytest.fixture
def builder(monkeypatch):
    monkeypatch.setattr(built, "usable_cores", lambda: THREADS)
    builder = Builder()
    yield builder
    builder.close()


def answer() -> Answer:
    labels = np.zeros((8, 8, 4), np.uint8)
    labels[2, 3, 1] = 4
    grid = OccupancyGrid(GridSpec((0.0, 0.0, 0.0), 0.2, labels.shape), labels, 1, "lidar_top")
    passable = passable_of(NodeParameters(), OPENOCCUPANCY_CLASSES)
    return Answer(grid, NodeParameters(), OPENOCCUPANCY_CLASSES, passable, (), lambda: np.eye(4))


def test_forms_are_built_side_by_side_and_share_what_is_computed(builder, monkeypatch):
    """All are at work at once, or the barrier breaks; what each of them needs is computed by one."""
    together, computed, original = threading.Barrier(THREADS, timeout=30), [], built.OccupiedVoxels.of
    monkeypatch.setattr(built.OccupiedVoxels, "of", lambda *given: computed.append(given) or original(*given))

    def form(one: Answer) -> int:
        together.wait()
        return id(one.voxels)

    found = builder.build(answer(), [Form(f"~/{i}", bytes, form) for i in range(THREADS)])
    assert len({message_of() for message_of in found}) == len(computed) == 1


def test_messages_come_in_order_and_one_that_fails_stops_no_other(builder):
    def failing(_: Answer) -> bytes:
        raise ValueError("no pose")

    first, second, third = builder.build(
        answer(),
        [Form("~/a", bytes, lambda _: b"a"), Form("~/b", bytes, failing), Form("~/c", bytes, lambda _: b"c")],
    )
    with pytest.raises(ValueError, match="no pose"):
        second()
    assert (first(), third()) == (b"a", b"c")
