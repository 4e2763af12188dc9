"""The sparse convolution is the dense one where there is something, and the baseline has its published size."""

import pytest
import torch
import torch.nn.functional as F

from benchmarks.performance.mconet import GRID, MCONetLike
from benchmarks.performance.sparse_convolution import SparseConv3d, SparseTensor, flat_index, voxel_means

SIZE = (12, 10, 8)


def some_voxels(channels: int = 3) -> SparseTensor:
    torch.manual_seed(0)
    flat = torch.randperm(SIZE[0] * SIZE[1] * SIZE[2])[:60].sort().values
    places = torch.stack([flat // (SIZE[1] * SIZE[2]), flat // SIZE[2] % SIZE[1], flat % SIZE[2]], 1)
    return SparseTensor(places, torch.randn(60, channels), SIZE)


@pytest.mark.parametrize("stride", [1, 2])
def test_it_equals_a_dense_convolution_where_there_is_something(stride):
    layer, x = SparseConv3d(3, 5, stride).eval(), some_voxels()
    with torch.no_grad():
        got = layer(x)
        weight = layer.weight.permute(2, 1, 0).reshape(5, 3, 3, 3, 3)
        expected = F.conv3d(x.dense(), weight, stride=stride, padding=1) / (1 + layer.norm.eps) ** 0.5
    assert got.size == tuple(expected.shape[2:])
    at = tuple(got.places.T)
    assert torch.allclose(got.features, expected[0][:, at[0], at[1], at[2]].T, atol=1e-4)
    if stride == 1:
        assert torch.equal(got.places, x.places)
    else:  # every voxel that anything reaches is there
        there = (x.dense() != 0).any(1, keepdim=True).float()
        reached = F.conv3d(there, torch.ones(1, 1, 3, 3, 3), stride=2, padding=1)
        assert torch.equal(flat_index(got.places, got.size), reached.flatten().nonzero()[:, 0])


def test_points_are_averaged_by_voxel():
    points = torch.tensor([[0.1, 0.1, 0.1, 1.0], [0.3, 0.3, 0.3, 3.0], [1.1, 0.0, 0.0, 5.0], [99.0, 0, 0, 0]])
    voxels = voxel_means(points, (0.0, 0.0, 0.0), 0.5, SIZE)
    assert voxels.places.tolist() == [[0, 0, 0], [2, 0, 0]]
    assert voxels.features[:, 3].tolist() == [2.0, 5.0]


def test_the_baseline_answers_on_its_grid():
    with torch.device("meta"):
        model = MCONetLike().eval()
        features = model.image_branch(torch.zeros((2, 3, 64, 96), dtype=torch.uint8))
        image = model.view_transform(features, torch.zeros((2, 112, 4, 6), dtype=torch.long))
        voxels, logits = model.decoder(model.fusion(image, torch.zeros_like(image)))
        refined = model.refiner(voxels, features, torch.zeros(128, 3), torch.zeros(2, 128, 2))
    assert features.shape == (2, 512, 4, 6) and image.shape == (1, 80, *GRID)
    assert logits.shape == (1, 17, *GRID) and refined.shape == (128, 17)
