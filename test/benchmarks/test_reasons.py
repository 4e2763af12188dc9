"""Why parts of the method bring little: what is counted, on frames made by hand, and the lines about it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.made_up_study import made_up_reasons
from helpers.small_model import CONFIG, small_model
from helpers.tiny_training import make_frame

from benchmarks.ablation import reasons
from benchmarks.ablation.reasons_page import reasons_section
from occfusion_ros.core.labels import IGNORE
from occfusion_ros.network.checkpoint import save_checkpoint
from occfusion_ros.presample.presampler import FusedVoxels, Presampler


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A small network in the place of the shipped one; its weights and a few frames on its grid."""
    weights = tmp_path / "small.safetensors"
    save_checkpoint(weights, small_model(), {"model_id": "small", "trained_on": "", "accuracy": {}})
    for name, value in {"NETWORK": CONFIG, "MODEL": CONFIG, "WEIGHTS": weights, "NETWORKS": {"base": CONFIG}}.items():
        monkeypatch.setattr(reasons, name, value)
    paths = [tmp_path / f"{seed}.npz" for seed in range(4)]
    for seed, path in enumerate(paths):
        make_frame(seed).save(path)
    return weights, paths


def fused_voxels(count: list[int], away: list[float], uv: list, camera: list) -> FusedVoxels:
    """Fused voxels of which only that is known; two points each."""
    features = torch.zeros(len(count), 68)
    features[:, -4] = torch.tensor(count).double().log1p().float()
    features[:, -1] = torch.tensor(away) / CONFIG.presample.preprocessing.range_scale
    nothing = torch.zeros(0)
    return FusedVoxels(
        nothing, features, nothing, torch.tensor(uv), torch.tensor(camera), nothing, nothing, present=nothing
    )


def test_returns_are_counted_and_points_that_one_camera_sees_are_measured():
    height, width = CONFIG.presample.image_size
    voxels = fused_voxels(
        [0, 1000, 7, 3],
        [1.0, 2.0, 3.0, 30.0],
        [[[0.5, 0.5], [0.5 + 24 / width, 0.5]], [[0.5, 0.5], [0.5, 0.5 - 16 / height]], [[0, 0], [1, 1]], [[0, 0]] * 2],
        [[1, 1], [0, 0], [0, 1], [0, 0]],
    )
    away, count, spread = reasons.counts_and_spreads(voxels, CONFIG.presample).T
    assert away.tolist() == pytest.approx([1, 2, 3, 30]) and count.tolist() == [0, 1000, 7, 3]
    assert spread[[0, 1, 3]].tolist() == pytest.approx([3.0, 2.0, 0.0]) and np.isnan(spread[2])


def test_images_of_another_size_have_other_cells(small):
    frame = make_frame(0)
    height, width = CONFIG.presample.image_size
    matrix = np.array([[width / 2, 0, width / 2, 0], [0, height / 2, height / 2, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    ahead = np.float32(matrix @ np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 8], [0, 0, 0, 1]]))  # from the back
    frame = replace(frame, image_from_grid=ahead[None])
    larger = replace(CONFIG.presample, image_size=(3 * height, 3 * width))
    one, other = (reasons.points_of([frame], config) for config in (CONFIG.presample, larger))
    assert other[0]["spread"] == pytest.approx(3 * one[0]["spread"], rel=1e-3) and one[0]["spread"] > 0.1
    assert one[0]["sampled"] == other[0]["sampled"] > 0


def test_points_in_the_middle_leave_everything_else_as_it_is():
    frame = make_frame(0)
    matrices = torch.from_numpy(frame.image_from_grid)
    plain = Presampler(CONFIG.presample).prepare_points(frame.points, matrices)
    centered = reasons.Centered(CONFIG.presample).prepare_points(frame.points, matrices)
    assert torch.equal(plain.voxel_features, centered.voxel_features)
    assert (centered.point_features[..., :3].abs() < 1e-4).all() and plain.point_features[..., :3].abs().max() > 0.3


def test_what_is_in_a_frame_counts_where_it_is_observed():
    frame = make_frame(0)
    labels = frame.semantics.copy()
    labels[:48, 50:] = IGNORE
    assert reasons.content(replace(frame, semantics=labels)) == (
        2,
        int(np.isin(labels[:48], (4, 11)).sum()),
        int((labels[:48] == 4).sum()),
    )


def test_ranks_are_correlated():
    one = np.array([0.1, 5.0, 2.0, 9.0])
    assert reasons.rank_correlation(one, one**3) == pytest.approx(1)
    assert reasons.rank_correlation(one, -one) == pytest.approx(-1)


def test_everything_is_found_and_said(small):
    weights, paths = small
    found = reasons.reasons(paths, paths[:1], [weights, weights])
    assert found["points"]["swift"] == found["points"]["base"]
    near = found["points"]["swift"][0]
    assert near["none"] + near["filled"] + near["sampled"] == pytest.approx(1)
    assert set(found["without"]) == {"both", "fps", "synthetic", "none", "center", "blind"}
    hard = found["hardness"]
    assert hard["networks"] == hard["learned"] == pytest.approx(1), "the same weights thrice"
    one, other = (reasons.losses_of(small_model().eval(), paths, draw) for draw in range(2))
    assert (abs(one - other) > 1e-3).all(), "another draw"
    assert [row["share"] for row in hard["hardest"]] == [0.2, 0.7] and hard["hardest"][0]["loss"] >= 1
    text = "\n".join(reasons_section(found))
    lost = 100 * (found["without"]["both"]["miou"] - found["without"]["blind"]["miou"])
    assert f"lost: {lost:.1f} without cameras" in text


def test_with_one_seed_two_networks_are_not_compared():
    assert "not measured between two networks" in "\n".join(reasons_section(made_up_reasons(networks=1)))
