from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core import camera as geometry
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.presample.projection import (
    _resized,
    _resized_rows,
    assign_cameras,
    fit_pixels,
    fit_projection,
    project,
)


def test_shapes_whatever_the_frame(config, frame):
    queries, theta = config.fusion_queries, config.points_per_voxel
    for points, cameras in ((frame.points, 3), (frame.points, 0), (frame.points[:0], 3), (frame.points[:1], 1)):
        presampler, seen = Presampler(config), replace(frame, points=points, cameras=frame.cameras[:cameras])
        inputs, images = presampler(seen), presampler.prepare_images(seen)
        assert images.shape == (max(cameras, 1), 3, 64, 128) and images.dtype == torch.uint8
        assert inputs.image_from_grid.shape == (cameras, 4, 4)
        assert inputs.voxel_index.shape == (queries,) and inputs.voxel_features.shape == (queries, 68)
        assert inputs.point_features.shape == (queries, theta, 4) and inputs.point_uv.shape == (queries, theta, 2)
        assert inputs.point_camera.shape == (queries, theta) and inputs.point_camera.max() < max(cameras, 1)
        assert (inputs.point_camera[inputs.voxel_index == Presampler(config).coarse.num_voxels] == -1).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_points_does_not_matter(config, frame, seed):
    shuffled = np.random.default_rng(seed).permutation(frame.points)
    one, other = (Presampler(config)(replace(frame, points=p)) for p in (frame.points, shuffled))
    for name, tensor in vars(one).items():
        assert torch.equal(tensor, getattr(other, name)), name


def test_projection_rounds_every_operation_by_itself_and_so_alike_everywhere():
    """A matrix product adds up in the order that suits the processor; NumPy's single operations tell what must come."""
    rng = np.random.default_rng(3)
    points, matrix = rng.normal(0, 20, (500, 3)).astype(np.float32), rng.normal(0, 60, (4, 4)).astype(np.float32)
    (x, y, z), size, near = points.T, (256, 704), np.float32(0.5)
    u, v, depth = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in matrix[:3])
    depth = np.maximum(depth, near)
    u, v = ((pixels / depth + np.float32(0.5)) / np.float32(extent) for pixels, extent in ((u, 704), (v, 256)))
    seen = (depth > near) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    assert seen.any() and not seen.all()
    uv, camera = assign_cameras(torch.from_numpy(points), torch.from_numpy(matrix)[None], size, 0.5)
    assert np.array_equal(camera.numpy() == 0, seen) and np.array_equal(uv.numpy()[seen], np.stack([u, v], 1)[seen])
    uv, visible = project(torch.from_numpy(points)[None], torch.from_numpy(matrix)[None], size, 0.5)
    assert np.array_equal(visible.numpy()[0], seen) and np.array_equal(uv.numpy()[0][seen], np.stack([u, v], 1)[seen])


def test_the_circle_of_the_vehicle_is_left_out_unless_the_vehicle_is_removed_already(config, frame):
    near = np.float32([[0.5, 0.5, 0, 0.2], [0, -1.3, 0.3, 0.1]])
    with_near = replace(frame, points=np.vstack([frame.points, near]))
    removed = replace(
        frame, points=np.vstack([frame.points[np.hypot(*frame.points[:, :2].T) > 2], near]), body_removed=True
    )
    index = np.ravel_multi_index(config.grid.indices(near[:, :3])[0].T, config.grid.size)
    assert not np.isin(index, Presampler(config)(with_near).returns.numpy()).any()
    assert np.isin(index, Presampler(config)(removed).returns.numpy()).all()


def test_returns_are_the_fine_voxels_that_hold_a_usable_point(config, frame):
    points = np.vstack([frame.points, [[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [0, 0, 99, 0]]]).astype(np.float32)
    returns = Presampler(config)(replace(frame, points=points)).returns
    distance = np.linalg.norm(frame.points[:, :2].astype(np.float64), axis=1)
    usable = frame.points[distance > config.preprocessing.ego_radius]
    index, inside = config.grid.indices(usable[:, :3])
    assert returns.tolist() == np.unique(np.ravel_multi_index(index[inside].T, config.grid.size)).tolist()


def test_features_describe_the_returns_of_a_voxel(config, frame):
    corner = np.float32([[1.61, 1.61, -1.99, 0.5], [2.39, 1.61, -1.99, 0.25], [2.39, 1.62, -1.99, 0.0]])
    inputs = Presampler(config)(replace(frame, points=corner))
    assert inputs.voxel_index[0].item() == (10 * 16 + 10) * 10
    features = inputs.voxel_features[0]
    assert features[:64].nonzero()[:, 0].tolist() == [0, 48]  # children (0, 0, 0) and (3, 0, 0)
    assert features[64].item() == pytest.approx(np.log(4)) and features[66].item() == pytest.approx(0.25, abs=1e-4)
    assert features[67].item() == pytest.approx(np.linalg.norm([2.0, 2.0, -1.6]) / 50)
    assert inputs.point_features[0, :, 3].tolist() == [1, 1, 1] and inputs.point_features[1, :, 3].sum() == 0


def test_voxels_with_returns_come_first_then_their_neighbors_then_the_others_each_nearest_first(config, frame):
    presampler = Presampler(config)
    points = np.float32([[3.0, 3.0, 0, 0], [-5.0, -5.0, 0, 0]])
    inputs = presampler(replace(frame, points=points))
    chosen = inputs.voxel_index
    assert inputs.voxel_features[:2, 64].gt(0).all() and (inputs.voxel_features[2:, 64] == 0).all()
    index = torch.stack([chosen // 160, chosen // 10 % 16, chosen % 10], 1)
    gap = (index[:, None] - index[None, :2]).abs().amax(-1).amin(1)
    assert (gap[2:54] == 1).all() and (gap[54:] > 1).all()  # 27 voxels around each of the two
    assert len(set(chosen.tolist())) == config.fusion_queries
    distance = presampler.range[chosen]
    assert all((part.diff() >= 0).all() for part in distance.split([2, 52, config.fusion_queries - 54]))


def test_queries_beyond_the_grid_are_padding(config, frame):
    total = Presampler(config).coarse.num_voxels
    inputs = Presampler(replace(config, fusion_queries=total + 40))(replace(frame, points=frame.points[:0]))
    assert sorted(inputs.voxel_index[:total].tolist()) == list(range(total))
    assert (inputs.voxel_index[total:] == total).all() and (inputs.point_camera[total:] == -1).all()
    assert (inputs.point_camera[:total] >= 0).any()  # without a single return there is something to fuse


def test_without_lidar_returns_tell_nothing(config, frame):
    deaf = Presampler(replace(config, use_lidar=False))
    one, other = (deaf(replace(frame, points=points)) for points in (frame.points, frame.points[:0]))
    assert all(torch.equal(tensor, getattr(other, name)) for name, tensor in vars(one).items())
    assert not len(one.returns) and (one.point_features[..., 3] == 0).all()


@pytest.mark.parametrize(
    ("sampling", "seen"), [("both", [3, 3, 3]), ("fps", [3, 1, 0]), ("synthetic", [3, 3, 3]), ("none", [3, 1, 0])]
)
def test_cameras_see_the_points_that_the_sampling_keeps(config, frame, sampling, seen):
    """A voxel with four returns, one with one and their neighbors, all in front of the first camera."""
    crowd = [[0.1 + step, 4.1, 0.3, 0] for step in (0.0, 0.1, 0.2, 0.6)]
    points = np.float32([*crowd, [0.1, 5.0, 0.3, 0]])
    inputs = Presampler(replace(config, sampling=sampling))(replace(frame, points=points, cameras=frame.cameras[:1]))
    count = (inputs.point_camera >= 0).sum(1)
    in_front = (
        (inputs.voxel_index == v).nonzero()[0, 0]
        for v in ((8 * 16 + 13) * 10 + 2, (8 * 16 + 14) * 10 + 2, (8 * 16 + 15) * 10 + 2)
    )
    assert [count[row].item() for row in in_front] == seen
    position = inputs.point_features[0, :, 0].double() + 0.5  # along x in the crowded voxel, 0..1
    expected = {"both": [0.125, 0.875, 0.375], "fps": [0.125, 0.875, 0.375], "none": [0.125, 0.25, 0.375]}
    if sampling in expected:
        assert position.tolist() == pytest.approx(expected[sampling], abs=1e-4)
    assert inputs.point_features[0, :, 3].tolist() == [0.0 if sampling == "synthetic" else 1.0] * 3


def test_an_unknown_sampling_is_refused(config):
    with pytest.raises(ValueError, match="both, fps, synthetic, none, got 'all'"):
        replace(config, sampling="all")


def test_too_many_cameras_are_refused(config, frame):
    with pytest.raises(InvalidFrameError, match="at most 2 cameras, got 3"):
        Presampler(replace(config, max_cameras=2))(frame)


def test_images_are_resized_and_cut_like_the_geometry_says(config, frame):
    """A vertical edge in the source lies where the fitted projection says it must."""
    camera = frame.cameras[0]
    image = np.zeros_like(camera.image)
    image[:, 100:] = 255
    fitted = fit_pixels(replace(camera, image=image), config.image_size, config.horizon)
    assert fitted.shape == (3, *config.image_size)
    row = fitted[0, 30].numpy().astype(float)
    found = np.interp(127.5, row, np.arange(len(row)))
    fit = geometry.fit_image(image.shape[:2], config.image_size, camera.intrinsics[1, 2], config.horizon)
    expected = (99.5 + 0.5) * fit.resized[1] / image.shape[1] - 0.5 - fit.left
    assert found == pytest.approx(expected, abs=0.5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cameras=st.integers(0, 3))
def test_camera_assignment_against_brute_force(config, frame, seed, cameras):
    size = config.image_size
    matrices = [fit_projection(c, size, config.horizon) for c in frame.cameras[:cameras]]
    points = np.random.default_rng(seed).uniform(-6, 6, (40, 3)).astype(np.float32)
    stacked = torch.tensor(np.array(matrices).reshape(-1, 4, 4), dtype=torch.float32)
    uv, camera = assign_cameras(torch.from_numpy(points), stacked, size, config.preprocessing.near)
    for point, got_uv, got in zip(points, uv.numpy(), camera.tolist()):
        seen = {}
        for index, matrix in enumerate(matrices):
            pixel, depth = geometry.project(point[None].astype(np.float64), matrix)
            place = (pixel[0] + 0.5) / size[::-1]
            if depth[0] > config.preprocessing.near and ((place >= 0) & (place <= 1)).all():
                seen[index] = (np.abs(place - 0.5).max(), place)
        if got < 0:
            assert all(margin > 0.5 - 1e-4 for margin, _ in seen.values())  # at most on the very edge
        else:
            assert seen[got][0] <= min(margin for margin, _ in seen.values()) + 1e-4
            np.testing.assert_allclose(got_uv, seen[got][1], atol=1e-4)


@pytest.mark.parametrize("source", [(900, 1600), (1080, 1920), (375, 1242), (901, 1600), (256, 704), (480, 640)])
def test_rows_that_are_cut_out_have_the_pixels_of_the_whole_image(source):
    image = torch.randint(0, 256, (*source, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = image.permute(2, 0, 1)[None]
    for width in (704, 512):
        size = (max(256, round(source[0] * width / source[1])), width)
        whole = _resized(image, size)
        for top in (0, 7, size[0] - 181):
            assert torch.equal(_resized_rows(image, size, top, 181), whole[:, :, top : top + 181])
