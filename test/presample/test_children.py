import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from occfusion_ros.core import camera as geometry
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.presample.children import (
    child_voxels,
    describe_children,
    from_children,
    is_member,
    parents_of,
    to_children,
)
from occfusion_ros.presample.presampler import Presampler

COARSE = st.tuples(*[st.integers(1, 4)] * 3)


@given(COARSE, st.sampled_from([2, 4]), st.sampled_from([torch.uint8, torch.int64]))
def test_children_round_trip_and_agree_on_the_layout(coarse, factor, dtype):
    grid = GridSpec(size=tuple(n * factor for n in coarse))
    dense = torch.arange(grid.num_voxels).to(dtype).view(grid.size)
    children = to_children(dense, factor)
    assert torch.equal(from_children(children, grid, factor), dense)
    fine = torch.arange(grid.num_voxels)
    parent, child = parents_of(fine, grid, factor)
    assert torch.equal(children[parent, child], dense.flatten())
    assert torch.equal(child_voxels(parent, grid, factor).gather(1, child[:, None])[:, 0], fine)


def test_child_order_is_x_then_y_then_z():
    grid = GridSpec(size=(4, 4, 4))
    index = np.stack(np.unravel_index(child_voxels(torch.tensor([0]), grid, 4)[0].numpy(), grid.size), 1)
    assert index[1].tolist() == [0, 0, 1] and index[4].tolist() == [0, 1, 0] and index[16].tolist() == [1, 0, 0]


@given(st.lists(st.integers(0, 50)), st.sets(st.integers(0, 50)))
def test_membership(values, members):
    got = is_member(torch.tensor(values, dtype=torch.long), torch.tensor(sorted(members), dtype=torch.long))
    assert got.tolist() == [value in members for value in values]


def test_children_are_projected_as_the_geometry_says(config, frame):
    presampler, near = Presampler(config), config.preprocessing.near
    inputs = presampler(frame)
    parents = torch.arange(0, presampler.coarse.num_voxels, 4)
    children = describe_children(parents, presampler, inputs.image_from_grid, inputs.returns)
    fine = np.stack(np.unravel_index(child_voxels(parents, config.grid, 4).numpy(), config.grid.size), -1)
    extent = np.array(config.image_size[::-1])
    assert (children.parent_camera >= 0).sum() > 100 and (children.parent_camera < 0).sum() > 10
    for row, camera in enumerate(children.parent_camera.tolist()):
        if camera < 0:
            assert not children.child_seen[row].any()
            continue
        image_from_grid = inputs.image_from_grid[camera].double().numpy()
        pixels, depth = geometry.project(config.grid.centers(fine[row]), image_from_grid)
        uv = (pixels + 0.5) / extent
        margin = np.minimum(uv, 1 - uv).min(1)
        seen = children.child_seen[row].numpy() > 0
        sure = np.abs(margin) > 1e-3
        assert (seen == ((margin >= 0) & (depth > near)))[sure & (np.abs(depth - near) > 1e-3)].all()
        np.testing.assert_allclose(children.child_uv[row].numpy()[seen], uv[seen], atol=2e-4)


def test_children_with_returns_are_marked(config, frame):
    presampler = Presampler(config)
    inputs = presampler(frame)
    parents = torch.randperm(presampler.coarse.num_voxels)
    children = describe_children(parents, presampler, inputs.image_from_grid, inputs.returns)
    fine = child_voxels(parents, config.grid, 4)
    assert torch.equal(fine[children.child_return > 0].sort().values, inputs.returns)
    features = dict(zip(inputs.voxel_index.tolist(), inputs.voxel_features[:, :64]))
    for parent, returned in zip(parents.tolist(), children.child_return):
        if parent in features:  # the fuser and the refiner are told the same
            assert torch.equal(features[parent], returned)


def test_without_cameras_no_child_is_seen(config, frame):
    presampler = Presampler(config)
    children = describe_children(torch.arange(5), presampler, torch.empty((0, 4, 4)), torch.empty(0, dtype=torch.long))
    assert (children.parent_camera == -1).all()
    assert not children.child_seen.any() and not children.child_return.any()
