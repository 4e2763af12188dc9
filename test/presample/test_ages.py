"""What earlier sweeps add to the inputs of a network that was trained with them, and to no other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from occfusion_ros.core.frames import PastPoints, SensorFrame
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.presample.ages import NUM_AGES
from occfusion_ros.presample.presampler import FusedVoxels, PresampleConfig, Presampler


@pytest.fixture(scope="module")
def aged(config) -> PresampleConfig:
    """The same network with lags, and a query for every voxel with returns."""
    return replace(config, fusion_queries=2000, preprocessing=Preprocessing(lags=True))


@pytest.fixture(scope="module")
def later(frame) -> SensorFrame:
    """The frame with three earlier sweeps: two shifted ones, and one of things that are gone; some points are none."""
    rng = np.random.default_rng(4)
    moved = [frame.points + np.float32([shift, -shift, 0, 0]) for shift in (0.25, 1.1)]
    gone = np.c_[rng.uniform(-9, 9, (800, 2)), rng.uniform(-3, 7, 800), rng.uniform(0, 1.2, 800)].astype(np.float32)
    gone[0] = np.nan
    points, lags = np.concatenate([*moved, gone]), np.repeat(np.float32([0.1, 0.7, 2.0]), [2000, 2000, 800])
    return replace(frame, past=PastPoints(points, lags))


def children(points: np.ndarray, config: PresampleConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat coarse voxel and child of the points inside the grid, and which of all these are."""
    indices, inside = config.grid.indices(points[:, :3])
    fine, factor = indices[inside], config.coarse_factor
    child = np.ravel_multi_index((fine % factor).T, (factor,) * 3)
    return config.grid.coarse(factor).flatten(*(fine // factor).T), child, inside


def differing(one: FusedVoxels, other: FusedVoxels) -> set[str]:
    """Names of the tensors that are not the same to the bit."""
    return {name for name, tensor in vars(one).items() if not torch.equal(tensor, getattr(other, name))}


def test_a_model_without_lags_does_not_look_at_earlier_sweeps(config, frame, later):
    assert not differing(Presampler(config)(frame), Presampler(config)(later))


def test_without_earlier_sweeps_a_model_with_lags_is_told_what_others_are(config, aged, frame):
    plain = Presampler(replace(aged, preprocessing=Preprocessing()))(frame)
    inputs, at = Presampler(aged)(frame), config.coarse_factor**3
    assert differing(plain, inputs) == {"voxel_features"} and inputs.voxel_features.shape[1] == aged.num_features
    assert torch.equal(inputs.voxel_features[:, :at], plain.voxel_features[:, :at])
    assert torch.equal(inputs.voxel_features[:, at + NUM_AGES :], plain.voxel_features[:, at:])
    mean, now, before = inputs.voxel_features[:, at : at + NUM_AGES].unbind(1)
    assert not mean.any() and not before.any() and torch.equal(now, plain.voxel_features[:, at])


def test_every_voxel_says_how_old_the_newest_return_of_each_child_is_and_how_many_there_are(aged, later):
    inputs, cells = Presampler(aged)(later), aged.coarse_factor**3
    outside = np.hypot(later.points[:, 0], later.points[:, 1]) > aged.preprocessing.ego_radius
    newest = np.full((Presampler(aged).coarse.num_voxels, cells), np.inf)
    counts = np.zeros((2, len(newest)))
    voxel, child, _ = children(later.points[outside], aged)
    newest[voxel, child] = 0
    np.add.at(counts[0], voxel, 1)
    voxel, child, inside = children(later.past.points, aged)
    np.minimum.at(newest, (voxel, child), later.past.lags[inside])
    np.add.at(counts[1], voxel, 1)
    for index, features in zip(inputs.voxel_index.tolist(), inputs.voxel_features.numpy()):
        if index < len(newest):
            fresh = 1 / (1 + newest[index])
            assert np.allclose(features[:cells], fresh, atol=1e-6)
            mean = newest[index][np.isfinite(newest[index])].mean() if fresh.any() else 0
            expected = [mean, *np.log1p(counts[:, index])]
            assert np.allclose(features[cells : cells + NUM_AGES], expected, atol=1e-5)
    assert (counts[0] > 0).sum() > 200 and ((counts[0] == 0) & (counts[1] > 0)).sum() > 200


def test_present_returns_stay_those_of_the_present_sweep_and_stand_for_their_voxels(aged, frame, later):
    alone, inputs = Presampler(aged)(frame), Presampler(aged)(later)
    assert torch.equal(alone.returns, inputs.returns)
    rows = {index: row for row, index in enumerate(inputs.voxel_index.tolist())}
    for row, index in enumerate(alone.voxel_index.tolist()):
        if alone.point_features[row, 0, 3] and index in rows:  # with a present return
            assert torch.equal(alone.point_features[row], inputs.point_features[rows[index]])
            assert torch.equal(alone.voxel_features[row, -4:], inputs.voxel_features[rows[index], -4:])
    assert inputs.point_features[..., 3].sum() > 1.4 * alone.point_features[..., 3].sum()


def test_voxels_with_present_returns_are_fused_first_and_those_with_earlier_ones_before_their_neighbors(aged, later):
    presampler = Presampler(replace(aged, fusion_queries=700))
    now, ever = (features > 0 for features in Presampler(aged)(later).voxel_features[:, [65, 64 + NUM_AGES]].unbind(1))
    first = presampler(later).voxel_features
    assert int(now.sum()) < 700 < int(ever.sum())
    assert (first[: now.sum(), 65] > 0).all() and not first[now.sum() :, 65].any() and (first[:, 67] > 0).all()


def test_neither_the_order_of_earlier_points_matters_nor_how_they_lie_in_memory(aged, later):
    order = np.random.default_rng(0).permutation(len(later.past.lags))
    shuffled = PastPoints(np.asfortranarray(later.past.points[order]), later.past.lags[order])
    assert not differing(Presampler(aged)(later), Presampler(aged)(replace(later, past=shuffled)))


def test_the_road_below_the_vehicle_is_known_from_when_it_was_ahead(aged, frame):
    below = PastPoints(np.float32([[0.1, 0.1, -1.84, 0.5]]), np.float32([0.4]))
    inputs = Presampler(aged)(replace(frame, points=frame.points[:0], past=below))
    (row,) = (inputs.voxel_features[:, :64].sum(1) > 0).nonzero()
    assert torch.isclose(inputs.voxel_features[row, :64].sum(), torch.tensor(1 / 1.4)) and not len(inputs.returns)


def test_without_lidar_nothing_of_earlier_sweeps_is_used(aged, frame, later):
    blind = Presampler(replace(aged, use_lidar=False))
    assert not differing(blind(frame), blind(later))
