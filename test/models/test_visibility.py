"""Observed truth of a hand-made drive: three sweeps in a grid of a few voxels."""

from types import SimpleNamespace

import numpy as np

from models.training.visibility import observed_truth
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE

GRID = GridSpec((-8.0, -8.0, -2.0), 0.5, (32, 32, 8))
CAR, ROAD, WALL = 4, 11, 15


class Drive:
    """Moves 1 m along y a frame; its sensor sits 1 m above the grid's origin."""

    spec = GRID
    rig = SimpleNamespace(grid_from_lidar=lambda: _shift(0, 0, 1))

    def __init__(self, returns: dict[int, list[tuple[float, float, float, int]]]) -> None:
        self.returns = returns  # by frame: x, y, z in that frame's grid, label

    def sweep(self, index: int):
        rows = np.array(self.returns.get(index, []), np.float32).reshape(-1, 4)
        points = np.c_[rows[:, :3], np.zeros(len(rows))].astype(np.float32)
        return SimpleNamespace(points=points, labels=rows[:, 3].astype(np.uint8)), _shift(0, index, 0)


def _shift(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def observe(returns: dict, semantics: np.ndarray | None = None, index: int = 10, earlier: tuple = ()) -> np.ndarray:
    semantics = np.zeros(GRID.size, np.uint8) if semantics is None else semantics
    frame = SimpleNamespace(semantics=semantics, map_from_grid=_shift(0, index, 0))
    drive = Drive(returns)
    return observed_truth(drive, index, frame, map(drive.sweep, earlier))


def at(truth: np.ndarray, x: float, y: float, z: float) -> int:
    (voxel,), _ = GRID.indices(np.array([[x, y, z]]))
    return int(truth[tuple(voxel)])


def test_returns_are_occupied_rays_are_free_and_the_rest_is_unknown():
    truth = observe({10: [(6.1, 0.1, 1.1, WALL)]})
    assert at(truth, 6.1, 0.1, 1.1) == WALL
    assert [at(truth, x, 0.1, 1.1) for x in (0.6, 3.1, 5.1)] == [0, 0, 0]  # from the sensor, not from the origin
    assert at(truth, 3.1, 0.1, 0.1) == IGNORE and at(truth, 7.1, 0.1, 1.1) == IGNORE


def test_sweeps_before_and_after_add_what_stands_still():
    truth = observe(
        {9: [(6.1, 0.1, 1.1, WALL)], 12: [(-6.1, 0.1, 1.1, CAR), (-4.1, 0.1, 1.1, WALL)], 13: [(3.1, 3.1, 1.1, WALL)]}
    )
    assert at(truth, 6.1, -0.9, 1.1) == WALL  # the vehicle was 1 m further back
    assert at(truth, -4.1, 2.1, 1.1) == WALL
    assert at(truth, -6.1, 2.1, 1.1) == IGNORE  # a car may have moved since
    assert not np.isin(truth, (CAR,)).any()
    assert at(truth, 3.1, 6.1, 1.1) == IGNORE  # three frames away


def test_sweeps_that_the_network_is_told_of_add_what_stands_still_and_free_nothing():
    returns = {10: [(6.1, 0.1, 1.1, WALL)], 4: [(3.1, 6.1, 1.1, WALL), (-6.1, 6.1, 1.1, CAR)]}
    told, untold = observe(returns, earlier=(4,)), observe(returns)
    assert at(told, 3.1, 0.1, 1.1) == WALL and at(untold, 3.1, 0.1, 1.1) == 0  # 6 m further back; 10's ray passes there
    assert at(told, -6.1, 0.1, 1.1) == IGNORE
    assert np.count_nonzero(told != untold) == 1


def test_complete_truth_names_what_a_return_lies_in_and_keeps_grazing_rays_from_freeing_the_road():
    semantics = np.zeros(GRID.size, np.uint8)
    semantics[:, :, 0] = ROAD  # -2.0 to -1.5
    semantics[20, 16, 2] = CAR  # x 2.0 to 2.5, z -1.0 to -0.5
    truth = observe({10: [(6.1, 0.1, -1.7, ROAD), (2.2, 0.2, -0.8, IGNORE)]}, semantics)
    assert at(truth, 6.1, 0.1, -1.7) == ROAD and at(truth, 2.2, 0.2, -0.8) == CAR
    grazed = [at(truth, x, 0.1, -1.3) for x in np.arange(4.1, 6, 0.5)]
    assert set(grazed) == {IGNORE}  # one voxel above the road
    assert at(truth, 2.6, 0.1, -0.2) == 0


def test_a_return_from_nothing_known_is_unknown():
    assert at(observe({10: [(6.1, 0.1, 1.1, IGNORE)]}), 6.1, 0.1, 1.1) == IGNORE
