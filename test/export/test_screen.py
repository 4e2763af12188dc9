"""Networks whose screen lets a few coarse voxels pass: in PyTorch, exported, and in the pipeline."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.small_model import CONFIG, small_model
from helpers.tensorrt_subset import BUILDABLE, build_engine

from export.parity import of_all_voxels
from export.to_onnx import export
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.checkpoint import save_checkpoint
from occfusion_ros.network.occfusion import ModelConfig, OccFusion
from occfusion_ros.network.wrappers import FILLED, networks_of
from occfusion_ros.presample.presampler import Presampler
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.backends.protocol import BackendSettings
from occfusion_ros.runtime.pipeline import Pipeline

ROOM = 700
POINTS = np.random.default_rng(0).uniform(-6, 6, (3000, 4)).astype(np.float32)


def screened_model() -> OccFusion:
    """A small network with a screen."""
    return small_model(replace(CONFIG, screened=ROOM))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    """A network with a screen, exported; backends that disagree with it would be refused."""
    folder = tmp_path_factory.mktemp("screened")
    save_checkpoint(folder / "a.safetensors", screened_model(), {"model_id": "s", "trained_on": "", "accuracy": {}})
    export(folder / "a.safetensors", folder / "artifact", data=None, frames=1)
    return folder / "artifact"


def test_the_highest_pass_the_nearest_first():
    network, _ = networks_of(screened_model())
    total, meant = CONFIG.coarse.num_voxels, int(FILLED * ROOM)
    logits = torch.randn(1, total, generator=torch.Generator().manual_seed(0))
    found = network.passing(logits, torch.zeros(total))
    assert found.shape == (ROOM,) and found[meant:].unique().tolist() == [-1]
    assert set(found[:meant].tolist()) == set(logits[0].topk(meant).indices.tolist())
    assert (distance(found[:meant]).diff() > -1e-6).all()


def test_the_farthest_are_left_out_where_too_many_are_alike():
    network, _ = networks_of(screened_model())
    found = network.passing(torch.zeros(1, CONFIG.coarse.num_voxels), torch.zeros(CONFIG.coarse.num_voxels))
    assert len(found.unique()) == ROOM and distance(found).max() < 3.9  # a circle of 700 of 2,560 voxels


def distance(voxels: torch.Tensor, grid: GridSpec = CONFIG.coarse) -> torch.Tensor:
    """From the middle of a grid, along x and y, metres."""
    indices = np.stack(grid.unflatten(voxels.numpy()), 1)
    return torch.from_numpy(np.hypot(*grid.centers(indices)[:, :2].T)).float()


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_of_a_large_grid_fills_the_room_well(seed):
    config = ModelConfig(screened=24576)
    network, _ = networks_of(OccFusion(config))
    logits = torch.randn(1, 163840, generator=torch.Generator().manual_seed(seed))
    layer = torch.arange(163840) % config.coarse.size[2]
    logits += 4 * (layer == seed) - distance(torch.arange(163840), config.coarse) / 10  # mostly ground, mostly near
    found = network.passing(logits, torch.zeros(163840))
    passed = found[found >= 0]
    assert len(passed) > 0.75 * 24576 and len(passed.unique()) == len(passed)
    assert set(logits[0].topk(18_000).indices.tolist()) <= set(passed.tolist())


def test_what_passes_is_said_as_without_a_screen():
    model = screened_model()
    presampler = Presampler(model.config.presample)
    voxels = presampler(SensorFrame(0, POINTS))
    inputs = voxels.network_inputs()
    images = torch.zeros(1, 3, *model.config.presample.image_size, dtype=torch.uint8)
    with torch.no_grad():
        network, _ = networks_of(model)
        said = dict(zip(network.OUTPUTS, network(images, *inputs.values(), torch.zeros_like(voxels.present))))
        fused = model.fuse(model.backbone(images), **{name: value[None] for name, value in inputs.items()})
    rows = said["screened"] >= 0
    voxel = said["screened"][rows].long()
    assert set(voxel.tolist()) == set(fused.screen[0].topk(int(FILLED * ROOM)).indices.tolist())
    semantic = fused.coarse[0, :, 1:].argmax(-1) + 1
    assert torch.equal(said["semantic"][rows], semantic[voxel].byte())
    odds = fused.occupancy[0] + model.occupancy_shift[semantic][:, None]
    occupied = said["occupancy"][rows] >= 128
    sure = odds[voxel].abs() > 1e-4
    assert torch.equal(occupied[sure], (odds[voxel] > 0)[sure]) and occupied.any()


def test_an_exported_screen_is_said_in_the_contract_and_answers_alike(artifact):
    contract = load_artifact(artifact).contract
    assert {t.name: t.shape for t in contract.fuser.outputs}["screened"] == (ROOM,)
    grids = [
        Pipeline.load(artifact, backend, settings=BackendSettings(1, "fp32"))(SensorFrame(0, POINTS))
        for backend in ("torch", "onnxruntime")
    ]
    assert (grids[0].labels == grids[1].labels).mean() > 0.9999
    free = Pipeline.load(artifact, "torch", settings=BackendSettings(1, "fp32"))
    free.free_below = 0.02
    marked = free(SensorFrame(0, POINTS)).labels
    known = marked != 255
    assert np.array_equal(marked[known], grids[0].labels[known]) and not grids[0].labels[~known].any()
    assert 1000 < (~known).sum() <= ROOM * 64, "nothing that the screen blocks is in doubt"


def test_tensorrt_would_build_it(artifact):
    model = onnx.load(artifact / "fuser.onnx")
    graph = model.graph
    assert {node.op_type for node in graph.node} <= BUILDABLE
    numbers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert [int(numbers[n.input[1]].item()) for n in graph.node if n.op_type == "TopK"] == [int(FILLED * ROOM)]
    build_engine(model)


def test_a_return_that_the_screen_blocks_is_occupied_all_the_same(artifact):
    pipeline = Pipeline.load(artifact, "onnxruntime", settings=BackendSettings(1, "fp32"))
    run, said = pipeline.fuser.run, {}
    pipeline.fuser.run = lambda inputs: said.setdefault("fuser", run(inputs))
    grid, spec = pipeline(SensorFrame(0, POINTS)), CONFIG.presample.grid
    indices, inside = spec.indices(POINTS[:, :3])
    returned = np.ravel_multi_index((indices[inside] // CONFIG.presample.coarse_factor).T, CONFIG.coarse.size)
    blocked = ~np.isin(returned, said["fuser"]["screened"].numpy())
    assert blocked.sum() > 100
    away = np.hypot(*POINTS[inside, :2].T) > CONFIG.presample.preprocessing.ego_radius + 0.2
    assert (grid.labels[tuple(indices[inside][blocked & away].T)] > 0).all()


def test_voxels_that_only_one_of_two_screens_lets_pass_count_as_the_references():
    def said(screened, uncertainty):
        rows = len(screened)
        return {
            "semantic": torch.zeros(rows, dtype=torch.uint8),
            "screened": torch.tensor(screened),
            "uncertainty": torch.tensor(uncertainty),
            "semantic_confidence": torch.arange(1, rows + 1, dtype=torch.uint8),
            "occupancy": torch.full((rows, 64), 7, dtype=torch.uint8),
        }

    ours, reference = said([4, 1, 0], [0.4, 0.1, 0.9]), said([1, 4, 2, -1], [0.2, 0.5, 0.3, 9.0])
    found = of_all_voxels(ours, reference, 5)
    assert found["uncertainty"].tolist() == pytest.approx([0, 0.1, 0.3, 0, 0.4])
    assert found["semantic_confidence"].tolist() == [0, 2, 3, 0, 1]
    assert found["occupancy"][:, 5].tolist() == [0, 7, 7, 0, 7]
    plain = {"semantic": torch.zeros(5)}
    assert of_all_voxels(plain, plain, 5) is plain


def test_what_is_flagged_passes_before_all_else():
    network, _ = networks_of(screened_model())
    total = CONFIG.coarse.num_voxels
    logits = torch.randn(1, total, generator=torch.Generator().manual_seed(0))
    lowest = logits[0].argsort()[:200]
    found = network.passing(logits, torch.zeros(total).index_fill(0, lowest, 1))
    meant = int(FILLED * ROOM)
    assert set(found[found >= 0].tolist()) == set(lowest.tolist()) | set(logits[0].topk(meant - 200).indices.tolist())
    assert (found >= 0).sum() == meant


def test_far_flagged_voxels_pass_before_many_that_are_alike():
    network, _ = networks_of(screened_model())
    total = CONFIG.coarse.num_voxels
    farthest = distance(torch.arange(total)).argsort()[-300:]
    found = network.passing(torch.zeros(1, total), torch.zeros(total).index_fill(0, farthest, 1))
    assert set(farthest.tolist()) == set(found[:300].tolist()) and len(found.unique()) == ROOM
    assert (distance(found[300:]).diff() > -1e-6).all()
