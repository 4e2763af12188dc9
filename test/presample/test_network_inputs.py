"""Pre-sampling asks for what it reads alone, and networks are fed with their inputs alone."""

from dataclasses import fields

import torch

from occfusion_ros.presample.children import ChildInputs
from occfusion_ros.presample.presampler import FusedVoxels, Presampler


def test_points_are_prepared_without_a_pixel(config, frame):
    presampler = Presampler(config)
    presampler.start_images = None  # calling it fails
    one, other = presampler(frame), presampler.prepare_points(frame.points, presampler.projections(frame))
    assert all(torch.equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(FusedVoxels))


def test_networks_are_not_fed_with_what_they_do_not_read(config, frame):
    voxels = Presampler(config)(frame)
    assert list(voxels.network_inputs()) == [
        "voxel_index",
        "voxel_features",
        "point_features",
        "point_uv",
        "point_camera",
    ]
    assert {"returns", "image_from_grid"} <= set(vars(voxels))
    assert set(ChildInputs.NETWORK_INPUTS) == {field.name for field in fields(ChildInputs)}
