"""Pre-sampling asks for what it reads alone, and networks are fed with their inputs alone."""

from dataclasses import fields, replace

import numpy as np
import torch

from occfusion_ros.core.frames import PastPoints
from occfusion_ros.presample.children import ChildInputs, parents_of
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
    assert list(voxels.network_inputs(["present"])) == ["present"]
    assert set(ChildInputs.NETWORK_INPUTS) == {field.name for field in fields(ChildInputs)}


def test_coarse_voxels_with_a_return_of_the_sweep_are_flagged(config, frame):
    past = PastPoints(np.float32([[3.0, 3.0, 0.0, 0.5]]), np.float32([0.5]))
    lags = replace(config, preprocessing=replace(config.preprocessing, lags=True))
    for presampler, seen in ((Presampler(config), frame), (Presampler(lags), replace(frame, past=past))):
        voxels = presampler(seen)
        parents = parents_of(voxels.returns, config.grid, config.coarse_factor)[0]
        assert voxels.present.nonzero()[:, 0].tolist() == parents.unique().tolist()
        assert voxels.present.unique().tolist() == [0, 1]
