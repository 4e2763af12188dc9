import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.presample.points import (
    LOCAL_STEPS,
    VoxelPoints,
    farthest_points,
    presample,
    synthetic_pattern,
    voxelize,
)

THETA = st.integers(1, 6)


@st.composite
def clouds(draw) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Few voxels, so that some are crowded; coarse positions, so that some points coincide."""
    count = draw(st.integers(0, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([3, 1000]))
    return (
        torch.from_numpy(rng.integers(0, 5, count) * 7),
        torch.from_numpy(rng.integers(0, steps, (count, 3)) / steps),
        torch.from_numpy(rng.uniform(-0.5, 1.5, count).astype(np.float32)),
    )


@given(clouds(), THETA)
def test_every_voxel_gets_exactly_theta_points_inside_it(cloud, theta):
    points = voxelize(*cloud)
    local, real = presample(points, theta)
    assert local.shape == (len(points.voxel), theta, 3) and real.shape == local.shape[:2]
    assert ((local >= 0) & (local < LOCAL_STEPS)).all()
    assert points.voxel.tolist() == sorted(set(cloud[0].tolist()))
    assert (real.sum(1) == points.count.clamp(max=theta)).all()


@given(clouds(), THETA, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(cloud, theta, random):
    order = list(range(len(cloud[0])))
    random.shuffle(order)
    shuffled = [tensor[torch.tensor(order, dtype=torch.long)] for tensor in cloud]
    for one, other in zip(presample(voxelize(*cloud), theta), presample(voxelize(*shuffled), theta)):
        assert torch.equal(one, other)


@given(clouds(), THETA)
def test_real_points_are_returns_and_none_is_lost_where_there_is_room(cloud, theta):
    points = voxelize(*cloud)
    local, real = presample(points, theta)
    for row, (start, count) in enumerate(zip(points.start, points.count)):
        own = {tuple(p) for p in points.local[start : start + count].tolist()}
        chosen = {tuple(p) for p in local[row][real[row]].tolist()}
        assert chosen <= own and (count > theta or chosen == own)
        filled = local[row][~real[row]]
        assert torch.equal(filled, synthetic_pattern(theta)[len(local[row]) - len(filled) :])


def brute_force_farthest(points: np.ndarray, theta: int) -> list[int]:
    """Textbook farthest point sampling from the first point; ties go to the lower index."""
    chosen = [0]
    for _ in range(theta - 1):
        distance = ((points[:, None] - points[chosen][None]) ** 2).sum(2).min(1)
        chosen.append(int(distance.argmax()))
    return chosen


@given(clouds(), THETA)
def test_farthest_point_sampling_against_brute_force(cloud, theta):
    points = voxelize(*cloud)
    selected = farthest_points(points, theta)
    crowded = [row for row, count in enumerate(points.count) if count > theta]
    assert len(selected) == len(crowded)
    for got, row in zip(selected, crowded):
        start, count = points.start[row], points.count[row]
        expected = brute_force_farthest(points.local[start : start + count].numpy(), theta)
        assert (got - start).tolist() == expected


def test_farthest_points_reach_the_corners():
    local = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2], [LOCAL_STEPS - 1] * 3])
    intensity = torch.zeros(4, dtype=torch.long)
    points = VoxelPoints(torch.tensor([0]), torch.tensor([0]), torch.tensor([4]), local, intensity)
    assert farthest_points(points, 2).tolist() == [[0, 3]]


@given(THETA)
def test_synthetic_points_are_a_prefix_of_one_even_sequence(theta):
    pattern, longer = synthetic_pattern(theta), synthetic_pattern(1024)
    assert torch.equal(pattern, longer[:theta])
    octants = (longer >= LOCAL_STEPS // 2).long() @ torch.tensor([4, 2, 1])
    assert (torch.bincount(octants, minlength=8) - 128).abs().max() <= 10  # random points: about 20


@settings(max_examples=20)
@given(st.floats(-1, 2, width=32) | st.just(float("nan")))
def test_intensity_is_brought_into_range(value):
    points = voxelize(torch.zeros(1, dtype=torch.long), torch.zeros((1, 3), dtype=torch.float64), torch.tensor([value]))
    assert 0 <= points.intensity.item() <= 65535
