"""What the memory's figures count, on drives made by hand, and the page that shows them."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.voxel_world import GRID, VoxelWorld, pose

from benchmarks.memory import __main__ as command
from benchmarks.memory.drives import Moment
from benchmarks.memory.figures import accuracy, changed_poses, flicker, ghosts, known_space
from benchmarks.memory.page import page
from occfusion_ros.core.labels import IGNORE, Label
from occfusion_ros.memory.memory import Memory

ROOM = VoxelWorld.room()
NS = 1_000_000_000


def truth_of(world: VoxelWorld, fixed_from_grid: np.ndarray) -> np.ndarray:
    """The complete truth, (X, Y, Z) uint8."""
    every = np.argwhere(np.ones(GRID.size, bool))
    at = GRID.centers(every) @ fixed_from_grid[:3, :3].T + fixed_from_grid[:3, 3]
    return world.at(at).reshape(GRID.size)


def moments(count=4, step=0.2) -> list[Moment]:
    drive = []
    for i in range(count):
        predicted, frame, at = ROOM.frame(NS * (1 + i), pose(i * step))
        labels = np.where(
            (predicted.labels == 0) & (np.arange(GRID.size[0]) < 40)[:, None, None], IGNORE, predicted.labels
        )
        doubtful = replace(predicted, labels=labels.astype(np.uint8))
        drive.append(Moment(predicted, doubtful, frame, truth_of(ROOM, at), at, np.zeros((1, 3))))
    return drive


@pytest.fixture(scope="module")
def drive():
    return moments()


def test_the_truth_does_not_flicker_and_half_of_it_flickers_by_half(drive):
    truths = [moment.truth for moment in drive]
    assert flicker(drive, truths) == (0, 0)
    empty = [np.where(i % 2, 0, truth).astype(np.uint8) for i, truth in enumerate(truths)]
    changed, appeared = flicker(drive, empty)
    assert changed == 1 and appeared == pytest.approx(1 / 3, abs=0.02)
    assert np.isnan(flicker(drive[:1], truths[:1])).all()


def test_ghosts_are_movable_where_the_truth_is_free():
    truth, labels = np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)
    labels[0, 0] = Label.CAR, Label.MANMADE
    labels[1, 1, 0], truth[1, 1, 0] = Label.CAR, IGNORE
    assert ghosts(truth, labels) == 1


def test_known_space_tells_wrong_free_from_wrong_unknown(drive):
    moment = drive[0]
    labels = np.zeros(GRID.size, np.uint8)
    labels[:32] = IGNORE
    figures = known_space([moment], [labels])
    assert figures["known"] == 0.5
    assert figures["free_that_is_occupied"] == (moment.truth[32:] > 0).mean()
    assert figures["unknown_that_is_occupied"] == (moment.truth[:32] > 0).mean()


def test_faults_change_poses_as_they_say(drive):
    exact = [moment.fixed_from_grid for moment in drive]
    assert [pose is None for pose in changed_poses(drive, "missing")] == [False, True, False, True]
    late = changed_poses(drive, "late")
    assert np.allclose(late[0][:3, 3] - exact[0][:3, 3], [0.01, 0, 0])
    turned = changed_poses(drive, "yaw")
    assert all(np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3)) for pose in turned)
    assert not any(np.array_equal(a, b) for a, b in zip(turned, exact))
    assert all(np.array_equal(m.fixed_from_grid, pose) for m, pose in zip(drive, exact)), "the drive itself changed"


def test_more_frames_give_more_and_the_page_shows_all(drive, monkeypatch):
    memory = Memory(GRID)
    monkeypatch.setattr(command, "PAST", (1, 2))
    figures = command.measure(drive, memory, lambda what: None)
    iou = [figures["by_past"][past]["iou"] for past in ("0", "1", "2", "all")]
    assert iou == sorted(iou) and iou[0] < iou[-1]
    assert figures["by_past"]["all"]["flicker"] < figures["by_past"]["0"]["flicker"]
    known = {(form, how): f["known"] for form, by in figures["known"].items() for how, f in by.items()}
    assert known["occluded", "memory"] > known["occluded", "alone"] and 24 / 64 < known["confidence", "alone"] < 0.5
    assert known["confidence", "memory"] > max(known["confidence", "alone"], known["occluded", "memory"])
    whole = {
        "machine": "m",
        "versions": {"numpy": "1"},
        "model": "nano",
        "backend": "b",
        "drives": {"d": figures},
        "cost": {"d": command.cost(drive, memory, repeats=1)},
        "rays": command.rays_cost(GRID, repeats=1),
    }
    text = page(whole)
    assert "| all before it |" in text and "every second pose missing" in text and text.count("\n| `occluded` |") == 2
    assert "| `confidence` | the frame alone | " in text
    memory.close()


def test_accuracy_counts_unknown_as_free(drive):
    labels = [np.where(moment.truth == 0, IGNORE, moment.truth).astype(np.uint8) for moment in drive]
    assert accuracy(drive, labels)["iou"] == 1
