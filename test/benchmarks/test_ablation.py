"""The study end to end on made-up frames, what it keeps, what it counts, and the page that it writes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.made_up_study import made_up_reasons
from helpers.small_model import CONFIG
from helpers.tiny_training import make_frame

from benchmarks.ablation import __main__ as study
from benchmarks.ablation import frames, page
from benchmarks.ablation.accuracy import chosen_voxels
from benchmarks.ablation.training import train_config
from benchmarks.ablation.variants import ALL, ANYWHERE, NETWORKS, NONE, REFERENCE, SHARES, VARIANTS
from benchmarks.performance import cost
from benchmarks.performance.counting import macs
from models.training.predict import occupied_voxels
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.network.occfusion import FuserOutput, OccFusion, entropy

GRID = CONFIG.presample.grid
NAMES = (REFERENCE, "lidar")
SMALL = {name: replace(VARIANTS[name], model=replace(CONFIG, fusion=VARIANTS[name].model.fusion)) for name in NAMES}


def write_frames(folder, seeds, *_, **__) -> list:
    """One frame a drive on the whole grid, of which the middle holds a tiny frame."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, whole = [folder / f"{seed}.npz" for seed in seeds], GridSpec()
    for seed, path in zip(seeds, paths):
        frame, semantics = make_frame(seed), np.zeros(whole.size, np.uint8)
        x, y, _ = whole.indices(GRID.centers(np.zeros((1, 3))))[0][0]
        semantics[x : x + GRID.size[0], y : y + GRID.size[1]] = frame.semantics
        replace(frame, semantics=semantics, observed=semantics >= 0, grid=whole).save(path)
    return paths


@pytest.fixture(scope="module")
def quick_page(tmp_path_factory):
    """Page of a quick study of two small networks and the page after a second run that had nothing left to do."""
    folder = tmp_path_factory.mktemp("study")
    patch = pytest.MonkeyPatch()
    patch.setattr(frames, "prepare_all", write_frames)
    patch.setattr(frames, "WINDOW", GRID)
    patch.setattr(study, "VARIANTS", {**VARIANTS, **SMALL})
    patch.setattr(study, "prepare_all", write_frames)
    patch.setattr(study, "reasons", lambda train, test, references: made_up_reasons(len(references)))
    arguments = [
        "--quick",
        "--seeds",
        "1",
        "--variants",
        "lidar",
        "--out",
        str(folder),
        "--page",
        str(folder / "page.md"),
    ]
    assert study.main(arguments) == 0
    first = json.loads((folder / "page.json").read_text())
    patch.setattr(study, "train", None)  # nothing may be trained again
    assert study.main(arguments) == 0
    patch.undo()
    return folder, first, json.loads((folder / "page.json").read_text())


def test_a_quick_study_trains_measures_and_keeps(quick_page):
    folder, first, second = quick_page
    assert set(first["variants"]) == {REFERENCE, "lidar"} and first["variants"] == second["variants"]
    modes = first["variants"][REFERENCE]["seeds"]["0"]["modes"]
    assert set(modes) == {NONE, ALL, *SHARES, *ANYWHERE}
    assert all(0 <= modes[mode][figure] <= 1 for mode in modes for figure in ("iou", "miou"))
    assert modes[NONE]["refined"] == 0
    for share in (*SHARES.items(), *ANYWHERE.items()):
        assert modes[share[0]]["refined"] == pytest.approx(share[1] * modes[ALL]["refined"], abs=1)
    assert first["costs"]["lidar"]["gmacs"]["image branch"] == 0 < first["costs"][REFERENCE]["gmacs"]["image branch"]
    assert 0 < first["costs"]["lidar"]["memory"]["total"] < first["costs"][REFERENCE]["memory"]["total"]


def test_the_page_says_what_was_found_and_renders_again(quick_page):
    folder, _, found = quick_page
    text = (folder / "page.md").read_text()
    (folder / "page.md").unlink()
    assert study.main(["--render", "--page", str(folder / "page.md")]) == 0
    assert (folder / "page.md").read_text() == text
    iou = 100 * found["variants"]["lidar"]["seeds"]["0"]["modes"]["active25"]["iou"]
    assert f"| LiDAR only | {iou:.1f} ({iou:.1f} to {iou:.1f}) |" in text
    assert (folder / "images/results_refinement.png").stat().st_size > 5000


def test_results_of_other_settings_are_not_kept(tmp_path):
    path = tmp_path / "a.json"
    assert study.kept(path, {"steps": 1, "of": (1, 2)}, lambda: "old") == "old"
    assert study.kept(path, {"steps": 1, "of": (1, 2)}, lambda: "new") == "old"
    assert study.kept(path, {"steps": 2, "of": (1, 2)}, lambda: "new") == "new"


@pytest.mark.parametrize(
    ("miou", "verdict"),
    [
        ((0.3, 0.31), "better in every seed"),
        ((0.1, 0.12), "worse in every"),
        ((0.1, 0.31), "no difference that holds in every seed"),
    ],
)
def test_a_verdict_needs_every_seed(miou, verdict):
    def variant(values):
        return {"seeds": {str(seed): {"modes": {"active25": {"miou": value}}} for seed, value in enumerate(values)}}

    results = page.Results({"variants": {"a": variant(miou), "b": variant((0.2, 0.2))}})
    assert results.compare("a", "b").startswith(verdict)


def test_refinement_chooses_as_many_voxels_as_it_says():
    torch.manual_seed(0)
    model, total = OccFusion(CONFIG), CONFIG.coarse.num_voxels
    occupancy = torch.full((1, total, 64), -1.0)
    occupancy[0, 100:300, 7] = 1.0
    fuser = FuserOutput(torch.randn(1, total, 17), occupancy, torch.empty(0), torch.empty(0))
    assert occupied_voxels(model, fuser).nonzero()[:, 0].tolist() == list(range(100, 300))
    assert chosen_voxels(model, fuser, ALL).tolist() == list(range(100, 300))
    assert len(chosen_voxels(model, fuser, NONE)) == 0
    uncertainty = entropy(fuser.coarse[0])
    assert set(chosen_voxels(model, fuser, "anywhere25").tolist()) == set(uncertainty.topk(50).indices.tolist())
    active = chosen_voxels(model, fuser, "active10")
    assert set(active.tolist()) == {100 + i for i in uncertainty[100:300].topk(20).indices.tolist()}


def test_weights_are_measured_again_but_not_trained_again_for_another_refinement():
    settings = {"train": {"steps": 1}, "modes": ["none"]}
    assert study.alike(settings, {**settings, "modes": ("none", "all")})
    assert not study.alike(settings, {**settings, "train": {"steps": 2}})


def test_multiply_adds_of_known_layers():
    layer, image = torch.nn.Conv2d(3, 5, 3, padding=1), torch.zeros(1, 3, 8, 10)
    assert macs(lambda: layer(image))[0] == 8 * 10 * 3 * 5 * 9
    assert macs(lambda: torch.zeros(4, 6) @ torch.zeros(6, 7))[0] == 4 * 6 * 7


def test_parts_of_a_network_are_counted():
    small = cost.count(CONFIG, 40)
    parts = ("image branch", "fusion", "decoder", "refiner")
    assert small["total"] == pytest.approx(sum(small[part] for part in parts))
    assert all(small[part] > 0 for part in small)
    assert cost.count(CONFIG, 80)["refiner"] == pytest.approx(2 * small["refiner"])
    lift = cost.count(replace(CONFIG, fusion="lift_splat"), 40)
    assert lift["fusion"] > small["fusion"] and lift["decoder"] == small["decoder"]
    # Published: 4.09 GMACs for 224 x 224 with the classifier's 2 million, so six images of the base configuration ...
    base, scale = cost.count(NETWORKS["base"], 1), 6 * 896 * 1600 / 224**2
    assert base["image branch"] > 4.087 * scale
    assert base["parameters"] > 23.5


def test_every_variant_is_a_network_that_can_be_built():
    for variant in VARIANTS.values():
        with torch.device("meta"):
            OccFusion(variant.model)
        assert train_config(variant, 3, 100, 5).seed == 3
