"""Pixels that show no scene count as not seen, whatever lies there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occfusion_ros.core.frames import ImageMask, SensorFrame
from occfusion_ros.core.lens import BROWN, FISHEYE, Lens
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.presample.projection import network_map, seen_pixels, shows


def with_masks(frame: SensorFrame, *masks: np.ndarray | None) -> SensorFrame:
    masks = [mask if mask is None else ImageMask(mask) for mask in masks]
    return replace(frame, cameras=tuple(replace(c, mask=m) for c, m in zip(frame.cameras, masks)))


def below(share: float, size: tuple[int, int] = (90, 160)) -> np.ndarray:
    """A bonnet: the lower part of an image."""
    return np.arange(size[0])[:, None].repeat(size[1], 1) >= share * size[0]


def test_without_masks_nothing_changes(config, frame):
    presampler, clear = Presampler(config), with_masks(frame, *[np.zeros((90, 160), bool)] * 3)
    plain, masked = presampler(frame), presampler(clear)
    assert presampler.seen_pixels(frame) is None and presampler.seen_pixels(clear) is None
    assert torch.equal(plain.point_camera, masked.point_camera) and torch.equal(plain.point_uv, masked.point_uv)


def test_points_behind_a_bonnet_are_seen_by_no_camera(config, frame):
    presampler = Presampler(config)
    plain, masked = presampler(frame), presampler(with_masks(frame, below(0.5), None, None))
    first = plain.point_camera == 0
    fitted = seen_pixels(replace(frame.cameras[0], mask=ImageMask(below(0.5))), config.image_size, config.horizon)
    hidden = first & ~shows(fitted[None], torch.zeros((), dtype=torch.long), *plain.point_uv.unbind(-1))
    assert 0 < hidden.sum() < first.sum()
    assert (masked.point_camera[hidden] != 0).all()
    assert torch.equal(masked.point_camera[first & ~hidden], plain.point_camera[first & ~hidden])
    assert torch.equal(masked.point_camera[~first], plain.point_camera[~first])
    for name, tensor in masked.network_inputs().items():
        assert tensor.shape == plain.network_inputs()[name].shape and tensor.dtype == plain.network_inputs()[name].dtype


def test_a_point_hidden_from_one_camera_is_given_to_another_that_sees_it(config, frame):
    twice = replace(frame, cameras=(frame.cameras[0], replace(frame.cameras[0], name="twin")))
    presampler = Presampler(config)
    got = presampler(with_masks(twice, np.ones((90, 160), bool), None))
    assert (got.point_camera == 1).any() and not (got.point_camera == 0).any()
    assert torch.equal(got.point_camera == 1, presampler(twice).point_camera == 0)


@pytest.mark.parametrize("size", [(90, 160), (45, 80), (180, 320)])
def test_masks_of_any_size_hide_the_same(config, frame, size):
    camera = replace(frame.cameras[0], mask=ImageMask(below(0.5, size)))
    seen = seen_pixels(camera, config.image_size, config.horizon)
    place = network_map(None, tuple(camera.intrinsics.ravel()), (90, 160), config.image_size, config.horizon)
    clear = place[..., 1].abs() > 0.03
    assert torch.equal(seen[clear], (place[..., 1] < 0)[clear]) and seen.any() and not seen.all()


def test_children_are_seen_as_points_are(config, frame):
    presampler = Presampler(config)
    covered = with_masks(frame, below(0.5), None, np.ones((90, 160), bool))
    masked, seen = presampler(covered), presampler.seen_pixels(covered)
    parents = masked.voxel_index[masked.voxel_index < presampler.coarse.num_voxels]
    plain = describe_children(parents, presampler, masked.image_from_grid, masked.returns)
    got = describe_children(parents, presampler, masked.image_from_grid, masked.returns, seen)
    assert not (got.parent_camera == 2).any() and (plain.parent_camera == 2).any()
    kept = got.parent_camera == plain.parent_camera
    inside = shows(seen, plain.parent_camera.clamp(min=0)[:, None], *plain.child_uv.unbind(-1))
    assert torch.equal(got.child_seen[kept], (plain.child_seen * inside)[kept])
    assert (got.child_seen[kept] < plain.child_seen[kept]).any()


def test_what_no_ray_of_the_lens_reaches_is_not_seen(config, frame):
    """A fisheye's image is a disc smaller than the ideal image; a barrel's corners fold back."""
    camera = frame.cameras[0]
    narrow = tuple((camera.intrinsics * (0.4, 0.4, 1) + [[0, 0, 48], [0, 0, 27], [0, 0, 0]] * np.array(1)).ravel())
    for lens in (Lens(FISHEYE, narrow, (4.0,)), Lens(BROWN, tuple(camera.intrinsics.ravel()), (-1.2,))):
        seen = seen_pixels(replace(camera, lens=lens), config.image_size, config.horizon)
        assert seen is not None and 0.05 < seen.float().mean() < 0.98
        assert seen[config.image_size[0] // 4, config.image_size[1] // 2] and not seen[-1, -1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_assignment_with_masks_against_brute_force(config, frame, seed):
    rng = np.random.default_rng(seed)
    masked = with_masks(frame, *(rng.random((90, 160)) < 0.5 for _ in range(3)))
    presampler = Presampler(config)
    plain, got = presampler(frame), presampler(masked)
    places = [seen_pixels(camera, config.image_size, config.horizon) for camera in masked.cameras]
    height, width = config.image_size
    for query, point in np.argwhere(plain.point_camera.numpy() >= 0)[::37]:
        camera = int(plain.point_camera[query, point])
        u, v = plain.point_uv[query, point].tolist()
        shown = bool(places[camera][min(int(v * height), height - 1), min(int(u * width), width - 1)])
        assert (int(got.point_camera[query, point]) == camera) == shown
