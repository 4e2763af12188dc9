"""What the networks are fed with one fixed frame, held to a hash: whoever changes it must raise the version."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from occfusion_ros.core import preprocessing
from occfusion_ros.core.frames import CameraImage, PastPoints, SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.preprocessing import Preprocessing
from occfusion_ros.presample.ages import NUM_AGES
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import PresampleConfig, Presampler

CONFIG = PresampleConfig(
    GridSpec((-8.0, -8.0, -2.0), 0.25, (64, 64, 16)),
    points_per_voxel=3,
    fusion_queries=400,
    image_size=(32, 64),
    horizon=0.25,
    max_cameras=4,
)
HASHES = {1: "153615dd9569cc6ebd6b1d2c040da50609fefb524cbd9384c13d36f016de74ff"}
"""By version of pre-processing. Where the hash is another one, models that are trained already are fed with something
that they do not know: undo it, or raise `core.preprocessing.VERSION`, add the new hash and train anew."""
LAGS = replace(CONFIG, preprocessing=Preprocessing(lags=True))
HASHES_WITH_LAGS = {1: "1fc109454cbf634eaa418ecd374f8383c4826cae04134fe61ebb25ba42d529f4"}
"""The same of a model that is told of earlier sweeps."""
STEP = 2.0**-8  # of floats; far from what rounding differs by between processors and versions of PyTorch
CLEAR = 1e-3  # in such steps: nothing that is rounded on the way lies as near as this to the border between two steps


def fixed_camera(name: str, side: int, scale: int) -> CameraImage:
    """A camera that looks along y (side 1) or against it (-1), its picture `scale` times the size of the network's.

    Red rises by columns, green has one bright pixel, blue one value: what becomes of them does not hang on how a
    library rounds.
    """
    height, width = 40 * scale, 64 * scale
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width) * (4 // scale) // 2
    image[20 * scale, 30 * scale, 1], image[..., 2] = 255, 77
    camera_from_grid = np.eye(4)
    camera_from_grid[:3, :3] = [[side, 0, 0], [0, 0, -1], [0, side, 0]]
    camera_from_grid[:3, 3] = [0.125, 0.25, -0.375]
    intrinsics = np.array([[48.0 * scale, 0, 31.5 * scale], [0, 48.0 * scale, 12 * scale], [0, 0, 1]])
    return CameraImage(name, image, intrinsics, camera_from_grid)


def fixed_frame(order: int = 0) -> SensorFrame:
    """Returns on a lattice of 2**-9 m, crowded near the vehicle, and some that must not count."""
    rng = np.random.default_rng(7)
    points = np.rint(np.c_[rng.normal(0, 3, (3000, 2)), rng.uniform(-2, 2, 3000)] * 512) / 512
    points = np.c_[points, rng.integers(0, 257, 3000) / 256].astype(np.float32)
    points = np.vstack([points, np.float32([[np.nan, 1, 0, 0], [99, 0, 0, 1], [2, 2, 0, np.nan], [2, 3, 0, 7]])])
    if order:
        points = np.random.default_rng(order).permutation(points)
    return SensorFrame(5, points, (fixed_camera("ahead", 1, 1), fixed_camera("behind", -1, 2)))


def tensors(config: PresampleConfig, frame: SensorFrame) -> dict[str, torch.Tensor]:
    """All that the fuser and the refiner are told of a frame, by name."""
    presampler = Presampler(config)
    inputs = presampler(frame)
    children = describe_children(inputs.voxel_index[:100], presampler, inputs.image_from_grid, inputs.returns)
    told = {name: tensor for name, tensor in vars(inputs).items() if name != "present"}  # which follows from `returns`
    return {"images": presampler.prepare_images(frame), **told, **vars(children)}


def fingerprint(config: PresampleConfig, frame: SensorFrame) -> str:
    """SHA-256 of all tensors; floats in steps of `STEP`."""
    digest = hashlib.sha256()
    for name, tensor in tensors(config, frame).items():
        values = (tensor.double() / STEP).round().long() if tensor.is_floating_point() else tensor.long()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode() + values.numpy().tobytes())
    return digest.hexdigest()


def with_past(frame: SensorFrame, order: int = 0) -> SensorFrame:
    """The frame with returns of three earlier sweeps; ages whose shares are exact."""
    rng = np.random.default_rng(8)
    points = np.rint(np.c_[rng.normal(0, 4, (4000, 2)), rng.uniform(-2, 2, 4000)] * 512) / 512
    points = np.c_[points, rng.integers(0, 257, 4000) / 256].astype(np.float32)
    lags, chosen = rng.choice(np.float32([0.25, 1.0, 3.0]), 4000), np.random.default_rng(order).permutation(4000)
    return replace(frame, past=PastPoints(points[chosen], lags[chosen]))


@pytest.mark.parametrize("order", range(3))
def test_what_networks_are_fed_with_is_that_of_the_version(order):
    assert fingerprint(CONFIG, fixed_frame(order)) == HASHES[preprocessing.VERSION]
    assert fingerprint(LAGS, with_past(fixed_frame(order), order)) == HASHES_WITH_LAGS[preprocessing.VERSION]


@pytest.mark.parametrize("config, frame", [(CONFIG, fixed_frame()), (LAGS, with_past(fixed_frame()))])
def test_the_hash_does_not_hang_on_rounding(config, frame):
    inputs = tensors(config, frame)
    rounded = inputs["voxel_features"][:, 64 : 65 + NUM_AGES * config.preprocessing.lags]  # the others are exact
    if config.preprocessing.lags:
        fresh = inputs["voxel_features"][:, :64].unique()
        assert fresh.tolist() == pytest.approx([0, 0.25, 0.5, 0.8, 1])
        rounded = torch.cat([rounded.flatten(), fresh])
    for values in (inputs["point_uv"], inputs["child_uv"], rounded):
        assert (values.double() / STEP % 1 - 0.5).abs().min() > CLEAR


def test_the_frame_has_all_that_matters():
    inputs = tensors(CONFIG, fixed_frame())
    assert set(inputs["point_camera"].unique().tolist()) == {-1, 0, 1} and len(inputs["returns"]) > 1000
    assert inputs["point_features"][..., 3].mean().item() not in (0, 1) and inputs["child_seen"].unique().numel() == 2
    assert (inputs["voxel_features"][:, 64] > np.log(CONFIG.points_per_voxel + 1)).any()  # some are to be chosen from


@pytest.mark.parametrize("change", [{"ego_radius": 3.0}, {"near": 2.0}, {"range_scale": 40.0}])
def test_every_length_of_the_contract_is_used(change):
    other = replace(CONFIG, preprocessing=replace(Preprocessing(), **change))
    assert fingerprint(other, fixed_frame()) != fingerprint(CONFIG, fixed_frame())
