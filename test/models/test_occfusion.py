"""The networks that OccFusion is compared with: same doors, geometry that can be checked by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG

import models
from models.training.config import load_config
from models.training.image_weights import take
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.fusion import FusedPoints
from occfusion_ros.network.lift_splat import DEPTH_BINS, DEPTH_LOW, DEPTH_STEP, LiftSplatFusion, depth_loss
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.network.resnet import ResNet50
from occfusion_ros.presample.children import describe_children
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.presample.projection import project

COARSE = GridSpec((-12.8, -12.8, -5.0), 0.2, (128, 128, 40)).coarse(4)
SIZE = (64, 96)
INTRINSICS = np.array([[48.0, 0, 47.5], [0, 48.0, 31.5], [0, 0, 1]])


def looking(yaw: float) -> torch.Tensor:
    """(4, 4) projection of a camera near the origin that looks along y, turned by `yaw` about z."""
    c, s = np.cos(yaw), np.sin(yaw)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    matrix[:3, 3] = [0.1, -0.2, 0.3]
    matrix[:3] = INTRINSICS @ matrix[:3]
    return torch.from_numpy(matrix).float()


def scene(config: ModelConfig) -> tuple[dict[str, torch.Tensor], Presampler]:
    """A batch of two frames with two cameras: arguments of `fuse` without the features."""
    presampler = Presampler(config.presample)
    cameras = torch.stack([looking(0.0), looking(3.0)])
    rows = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        points = np.c_[rng.normal(0, 3, (800, 2)), rng.normal(-1, 1, 800), rng.random(800)].astype(np.float32)
        inputs = presampler.prepare_points(points, cameras)
        rows.append({**inputs.network_inputs(), "image_from_grid": cameras})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0] if name != "images"}, presampler


def features() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn((4, c, SIZE[0] // s, SIZE[1] // s), generator=generator) for c, s in ((40, 8), (112, 16), (320, 32))
    ]


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, separables=0, offsets=2, refiner_width=64),
        replace(CONFIG, fusion="lift_splat"),
        replace(CONFIG, fusion="lidar"),
        replace(CONFIG, presample=replace(CONFIG.presample, use_lidar=False)),
    ],
    ids=["point", "shipped", "lift", "lidar", "camera"],
)
def test_every_variant_answers_and_learns(config):
    torch.manual_seed(0)
    model = OccFusion(config)
    batch, presampler = scene(config)
    output = model.fuse(features(), **batch)
    children = describe_children(torch.arange(40), presampler, batch["image_from_grid"][0], torch.arange(0, 999, 7))
    logits = model.refine(
        output, **{k: v[None].expand(2, *v.shape) for k, v in children.network_inputs().items()}, count=2
    )
    total = config.coarse.num_voxels
    assert output.coarse.shape == (2, total, 17) and output.occupancy.shape == (2, total, 64)
    assert logits.shape == (2, 40, 64, 17)
    loss = output.coarse.square().mean() + output.occupancy.square().mean() + logits.square().mean()
    if config.fusion == "lift_splat":
        assert output.auxiliary_loss.shape == (2,) and (output.auxiliary_loss > 0).all()
        loss = loss + output.auxiliary_loss.mean()
    else:
        assert output.auxiliary_loss is None
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None and not name.startswith("backbone.")]
    assert silent == []


def test_lidar_only_does_not_look_at_images():
    model = OccFusion(replace(CONFIG, fusion="lidar")).eval()
    batch, _ = scene(CONFIG)
    one, other = (model.fuse(maps, **batch) for maps in (features(), [level * 0 - 3 for level in features()]))
    assert torch.equal(one.coarse, other.coarse) and one.image_map.shape == (2, 0)


def test_camera_only_does_not_look_at_returns():
    config = replace(CONFIG, presample=replace(CONFIG.presample, use_lidar=False))
    batch, _ = scene(config)
    assert torch.equal(batch["voxel_features"][0], batch["voxel_features"][1])
    assert (batch["voxel_features"][..., :-1] == 0).all() and (batch["point_camera"] >= 0).any()


def lift_splat() -> LiftSplatFusion:
    torch.manual_seed(0)
    return LiftSplatFusion(8, COARSE, SIZE).eval()


@pytest.mark.parametrize(("yaw", "row", "column", "depth_bin"), [(0.0, 1, 3, 6), (1.3, 2, 0, 11), (-2.2, 0, 5, 2)])
def test_a_pixel_with_all_depth_in_one_bin_lands_where_projection_says(yaw, row, column, depth_bin):
    fusion, camera = lift_splat(), looking(yaw)
    depth, context = torch.zeros(1, DEPTH_BINS, 4, 6), torch.zeros(1, 8, 4, 6)
    depth[0, depth_bin, row, column], context[0, :, row, column] = 1, torch.arange(1.0, 9)
    voxels = fusion.splat(depth, context, camera[None, None])[0]
    landed = voxels.abs().sum(1).nonzero()[:, 0]
    assert len(landed) == 1 and voxels[landed[0]].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    # A point at the middle of that cell and bin, found by walking along the pixel's ray, projects back there.
    metres = DEPTH_LOW + (depth_bin + 0.5) * DEPTH_STEP
    pixel = np.array([(column + 0.5) / 6 * 96 - 0.5, (row + 0.5) / 4 * 64 - 0.5, 1]) * metres
    point = np.linalg.solve(camera[:3, :3].double().numpy(), pixel - camera[:3, 3].double().numpy())
    uv, visible = project(torch.tensor(point)[None, None].float(), camera[None], SIZE, near=0.5)
    assert visible.all() and uv[0, 0].tolist() == pytest.approx([(column + 0.5) / 6, (row + 0.5) / 4], abs=1e-4)
    index, inside = COARSE.indices(point[None])
    assert inside.all() and np.ravel_multi_index(index[0], COARSE.size) == landed[0].item()


def test_all_mass_inside_the_grid_is_kept_and_a_lost_camera_gives_nothing():
    fusion = lift_splat()
    lost = torch.diag(torch.tensor([0.0, 0, 0, 1]))
    lost[2, 3] = -1
    cameras = torch.stack([looking(0.5), lost])[None]
    depth, context = torch.rand(2, DEPTH_BINS, 4, 6), torch.rand(2, 8, 4, 6)
    inside = fusion.frustum_voxels(cameras, (4, 6)) >= 0  # (1, 2, 4, 6, bins)
    assert inside[0, 0].any() and not inside[0, 1].any()
    mass = (depth * inside[0].permute(0, 3, 1, 2)).sum(1, keepdim=True) * context
    assert torch.allclose(fusion.splat(depth, context, cameras).sum((0, 1)), mass.sum((0, 2, 3)), rtol=1e-4)


def test_measured_depth_is_that_of_the_nearest_return_in_a_cell():
    fusion, camera = lift_splat(), looking(0.0)
    # Three real returns on one ray and one synthetic point before them; the nearest real one is 5.3 m away.
    ray = torch.tensor([0.05, 1.0, -0.1])
    places = torch.stack([ray * d - torch.tensor([0.1, -0.3, 0.2]) for d in (9.0, 5.6, 5.31, 3.0)])
    index, inside = COARSE.indices(places.numpy())
    assert inside.all()
    flat = torch.from_numpy(np.ravel_multi_index(index.T, COARSE.size))
    position = (places - torch.from_numpy(COARSE.centers(index))) / COARSE.voxel_size
    point_features = torch.cat([position, torch.tensor([[1.0], [1], [1], [0]])], 1).float()
    uv, visible = project(places[None].float(), camera[None], SIZE, near=0.5)
    assert visible.all()
    points = FusedPoints(
        flat[None],
        point_features[None, :, None],
        uv[0][None, :, None],
        torch.zeros((1, 4, 1), dtype=torch.long),
        camera[None, None],
    )
    measured = fusion.measured_bins(points, (4, 6))
    assert (measured >= 0).sum() == 1
    u, v = uv[0, 2].tolist()
    _, depth = project_depth(camera, places[2])
    assert measured[0, 0, int(v * 4), int(u * 6)].item() == int((depth - DEPTH_LOW) / DEPTH_STEP)


def project_depth(camera: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, float]:
    pixel = camera[:3, :3] @ place.float() + camera[:3, 3]
    return pixel[:2] / pixel[2], pixel[2].item()


def test_depth_loss_is_small_where_the_distribution_is_right_and_ignores_the_rest():
    logits, measured = torch.zeros(2, DEPTH_BINS, 4, 6), torch.full((1, 2, 4, 6), -1)
    assert depth_loss(logits, measured, 1).item() == 0
    measured[0, 1, 2, 3] = 40
    assert depth_loss(logits, measured, 1).item() == pytest.approx(np.log(DEPTH_BINS), rel=1e-5)
    logits[1, 40, 2, 3] = 50
    assert depth_loss(logits, measured, 1).item() < 1e-6


def test_lift_splat_says_what_it_lacks():
    model = OccFusion(replace(CONFIG, fusion="lift_splat"))
    batch, _ = scene(CONFIG)
    with pytest.raises(ValueError, match="image_from_grid of 2 cameras, got None"):
        model.fuse(features(), **{**batch, "image_from_grid": None})


@pytest.mark.parametrize("wrong", [{"fusion": "sum"}, {"backbone": "vit"}])
def test_unknown_parts_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be one of .*got '{next(iter(wrong.values()))}'"):
        replace(CONFIG, **wrong)


def test_resnet50_has_the_size_and_the_names_of_the_published_one():
    with torch.device("meta"):
        model = ResNet50()
    assert sum(p.numel() for p in model.parameters()) == 23_508_032  # 25,557,032 less the classifier's 2,049,000
    names = model.state_dict()
    assert len(names) == 318  # 320 less fc.weight and fc.bias
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.0.weight",
        "layer2.3.bn2.num_batches_tracked",
        "layer4.2.conv3.weight",
    } <= set(names)
    assert names["layer3.0.conv2.weight"].shape == (256, 256, 3, 3)
    assert names["layer4.0.downsample.0.weight"].shape == (2048, 1024, 1, 1)


def test_resnet50_takes_the_published_weights_and_refuses_others():
    model = ResNet50().eval()
    weights = {
        **{k: v + 0.01 if v.is_floating_point() else v for k, v in model.state_dict().items()},
        "fc.weight": torch.zeros(1000, 2048),
        "fc.bias": torch.zeros(1000),
    }
    take(model, weights)
    assert torch.equal(model.conv1.weight, weights["conv1.weight"])
    levels = model(torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8))
    assert [tuple(level.shape[1:]) for level in levels] == [(512, 8, 12), (1024, 4, 6), (2048, 2, 3)]
    with pytest.raises(ValueError, match="ResNet50: missing"):
        take(model, {"classifier.weight": torch.zeros(1)})


def test_base_is_a_network_of_resnet50_features():
    _, base = load_config(Path(models.__file__).parent / "configs/base.yaml")
    with torch.device("meta"):
        model = OccFusion(base)
    assert isinstance(model.backbone, ResNet50) and base.presample.image_size == (896, 1600)
    assert model.pyramid.lateral[2].in_channels == 2048
