from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core import camera as geometry
from occfusion_ros.core.errors import InvalidFrameError
from occfusion_ros.presample.presampler import EGO_RADIUS, Presampler
from occfusion_ros.presample.projection import NEAR, assign_cameras, fit_camera


def test_shapes_whatever_the_frame(config, frame):
    queries, theta = config.fusion_queries, config.points_per_voxel
    for points, cameras in ((frame.points, 3), (frame.points, 0), (frame.points[:0], 3), (frame.points[:1], 1)):
        inputs = Presampler(config)(replace(frame, points=points, cameras=frame.cameras[:cameras]))
        assert inputs.images.shape == (max(cameras, 1), 3, 64, 128) and inputs.images.dtype == torch.uint8
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


def test_returns_are_the_fine_voxels_that_hold_a_usable_point(config, frame):
    points = np.vstack([frame.points, [[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [0, 0, 99, 0]]]).astype(np.float32)
    returns = Presampler(config)(replace(frame, points=points)).returns
    usable = frame.points[np.linalg.norm(frame.points[:, :2].astype(np.float64), axis=1) > EGO_RADIUS]
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


def test_voxels_with_returns_come_first_then_their_neighbours_each_nearest_first(config, frame):
    presampler = Presampler(config)
    points = np.float32([[3.0, 3.0, 0, 0], [-5.0, -5.0, 0, 0]])
    inputs = presampler(replace(frame, points=np.c_[points[:, :3], [0, 0]].astype(np.float32)))
    used = inputs.voxel_index[inputs.voxel_index < presampler.coarse.num_voxels]
    assert inputs.voxel_features[:2, 64].gt(0).all() and (inputs.voxel_features[2:, 64] == 0).all()
    assert len(used) == 54 and len(set(used.tolist())) == 54  # 27 voxels around each of the two
    distance = presampler.range[used]
    assert (distance[:2].diff() >= 0).all() and (distance[2:].diff() >= 0).all()


def test_too_many_cameras_are_refused(config, frame):
    with pytest.raises(InvalidFrameError, match="at most 2 cameras, got 3"):
        Presampler(replace(config, max_cameras=2))(frame)


def test_images_are_resized_and_cut_like_the_geometry_says(config, frame):
    """A vertical edge in the source lies where the fitted projection says it must."""
    camera = frame.cameras[0]
    image = np.zeros_like(camera.image)
    image[:, 100:] = 255
    fitted, image_from_grid = fit_camera(replace(camera, image=image), config.image_size, config.horizon)
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
    matrices = [fit_camera(c, size, config.horizon)[1] for c in frame.cameras[:cameras]]
    points = np.random.default_rng(seed).uniform(-6, 6, (40, 3)).astype(np.float32)
    stacked = torch.tensor(np.array(matrices).reshape(-1, 4, 4), dtype=torch.float32)
    uv, camera = assign_cameras(torch.from_numpy(points), stacked, size)
    for point, got_uv, got in zip(points, uv.numpy(), camera.tolist()):
        seen = {}
        for index, matrix in enumerate(matrices):
            pixel, depth = geometry.project(point[None].astype(np.float64), matrix)
            place = (pixel[0] + 0.5) / size[::-1]
            if depth[0] > NEAR and ((place >= 0) & (place <= 1)).all():
                seen[index] = (np.abs(place - 0.5).max(), place)
        if got < 0:
            assert all(margin > 0.5 - 1e-4 for margin, _ in seen.values())  # at most on the very edge
        else:
            assert seen[got][0] <= min(margin for margin, _ in seen.values()) + 1e-4
            np.testing.assert_allclose(got_uv, seen[got][1], atol=1e-4)

