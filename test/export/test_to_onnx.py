import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import small_model

from export import to_onnx as exporter
from export.parity import LIMITS, Comparison, Reference, Report, compare, eager_pipeline, examine
from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.frames import SensorFrame
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.runtime.artifact import load_artifact


def test_the_artifact_is_complete_and_says_how_well_it_agrees(small_artifact):
    assert sorted(p.name for p in small_artifact.iterdir()) == sorted(
        exporter.written_files(load_artifact(small_artifact).contract)
    )
    report = json.loads((small_artifact / "parity.json").read_text())
    assert report["processor"] and "frame_ms" not in report["backends"][0]
    assert report["passed"] and report["model"] == "small" and report["reference"] == "PyTorch"
    by_backend = {(b["backend"], b["precision"]): b["comparisons"] for b in report["backends"]}
    assert {("onnxruntime", "fp32"), ("onnxruntime", "fp16"), ("torch", "fp32")} <= set(by_backend)
    assert {c["frame"] for c in by_backend["onnxruntime", "fp32"]} == {
        "synthetic 0",
        "one camera",
        "no cameras",
    }
    for (_, precision), comparisons in by_backend.items():
        grids = [c for c in comparisons if c["quantity"] == "grid, refine active"]
        assert len(grids) == 3 and min(c["agreement"] for c in grids) >= LIMITS[precision].agreement
        assert min(c["occupied"] for c in grids) >= LIMITS[precision].occupied


def test_the_contract_holds_what_training_fixed(small_artifact):
    contract, config = load_artifact(small_artifact).contract, small_model.CONFIG
    assert contract.grid == config.presample.grid and contract.image_size == config.presample.image_size
    assert (contract.model_id, contract.max_cameras, contract.refine_budget) == ("small", 6, 40)
    _, said = load_checkpoint(small_artifact / "weights.safetensors")
    assert set(said) == {"model_id", "trained_on", "accuracy"}, "nothing of the machine that it was trained on"
    images = contract.fuser.inputs[0]
    assert (images.name, images.dtype, images.shape) == ("images", "uint8", ("cameras", 3, 64, 96))


def test_another_network_than_the_exported_one_is_found_out(small_artifact):
    model = small_model.small_model()
    with torch.no_grad():
        model.occupancy_shift += 0.3
        model.refiner.head[-1].weight.neg_()
        model.coarse_head.bias[0] += 0.1
    points = np.random.default_rng(0).uniform(-6, 6, (3000, 4)).astype(np.float32)
    reference = Reference(
        eager_pipeline(model, load_artifact(small_artifact).contract), {"no cameras": SensorFrame(0, points)}, []
    )
    report = examine(small_artifact, "onnxruntime", "fp32", reference)
    for quantity in ("fuser occupied", "fuser uncertainty", "refiner labels", "grid, refine none"):
        assert f"onnxruntime fp32: {quantity} on no cameras" in report.failures
    assert report.frame_ms > 0


def test_accuracy_is_compared_on_labeled_frames(small_artifact):
    points = np.random.default_rng(0).uniform(-6, 6, (3000, 4)).astype(np.float32)
    pipeline = eager_pipeline(small_model.small_model(), load_artifact(small_artifact).contract)
    frame = SensorFrame(0, points)
    report = examine(
        small_artifact, "torch", "fp32", Reference(pipeline, {"a": frame}, [(frame, pipeline(frame).labels)])
    )
    assert report.miou[0] == 1 and report.miou[1] > 0.999 and not report.failures
    report.miou = (1.0, 0.98)
    assert report.failures == ["torch fp32: mIoU 0.9800 against 1.0000"]


@pytest.mark.parametrize("got, passed", [([1.0, 100.05], True), ([1.0, 100.2], False), ([1.0, float("nan")], False)])
def test_tolerance_of_tensors(got, passed):
    comparison = compare("f", "q", torch.tensor(got), torch.tensor([1.0, 100.0]))
    assert comparison.keeps(LIMITS["fp32"]) is passed
    assert comparison.keeps(LIMITS["int8"]) is bool(np.isfinite(got).all())


def test_tolerance_of_labels():
    reference = torch.zeros(1_000_000, dtype=torch.uint8)
    reference[:20000] = 11  # the empty rest must not hide a disagreement
    for wrong, passed in ((2, True), (3, False)):
        for label, where in ((4, slice(0, wrong)), (0, slice(0, wrong)), (11, slice(20000, 20000 + wrong))):
            got = reference.clone()
            got[where] = label
            assert compare("f", "q", got, reference).keeps(LIMITS["fp32"]) is passed
    nothing = torch.zeros(5, dtype=torch.uint8)
    assert compare("f", "q", nothing, nothing).keeps(LIMITS["fp32"])


@pytest.fixture
def quick_export(small_artifact, tmp_path, monkeypatch):
    """`export` with networks that are there already and a comparison that says what the test wants."""

    def copy_engines(model, folder):
        networks = {network: exporter.engine_files(network) for network in ("fuser", "refiner")}
        for name in (name for files in networks.values() for name in files.values()):
            shutil.copy(small_artifact / name, folder / name)
        return tuple(exporter.engine_spec(folder, files) for files in networks.values())

    def run(agreement: float, precision: str = "fp32"):
        report = Report("onnxruntime", precision, [Comparison("f", "labels", agreement=agreement, occupied=agreement)])
        monkeypatch.setattr(exporter, "Reference", lambda *_: None)
        monkeypatch.setattr(exporter, "runnable", lambda _: [("onnxruntime", precision)])
        monkeypatch.setattr(exporter, "examine", lambda *_: report)
        return exporter.export(checkpoint, tmp_path / "out", None, 1)[0]

    monkeypatch.setattr(exporter, "export_engines", copy_engines)
    monkeypatch.setattr(exporter, "parity_frames", lambda *_: {})
    checkpoint = small_model.save_small_checkpoint(tmp_path / "weights.safetensors")
    return run


def test_nothing_is_written_when_engines_disagree(quick_export, tmp_path):
    with pytest.raises(ContractError, match="PyTorch, nothing was written: onnxruntime fp32: labels on f"):
        quick_export(0.9)
    assert not any((tmp_path / "out").iterdir())


def test_half_precision_that_disagrees_is_left_out(quick_export, tmp_path, capsys):
    contract = quick_export(0.9, "fp16")
    assert set(contract.fuser.files) == set(contract.refiner.files) == {"fp32", "weights"}
    assert "left out, so that GPUs run in float32: onnxruntime fp16: labels on f" in capsys.readouterr().out
    assert load_artifact(tmp_path / "out").contract == contract
    assert not list((tmp_path / "out").glob("*fp16*"))


def test_an_export_replaces_its_own_files_and_leaves_others(quick_export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("model card")
    (tmp_path / "out" / "contract.yaml").write_text("old")
    contract = quick_export(1.0)
    written = ["README.md", *exporter.written_files(contract)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(written)
    assert load_artifact(tmp_path / "out").contract.model_id == "small"


@pytest.mark.parametrize(
    "config",
    [
        replace(small_model.CONFIG, fusion="lidar"),
        replace(small_model.CONFIG, fusion="lift_splat"),
        replace(small_model.CONFIG, presample=replace(small_model.CONFIG.presample, sampling="fps")),
        replace(small_model.CONFIG, presample=replace(small_model.CONFIG.presample, use_lidar=False)),
    ],
)
def test_networks_to_compare_with_are_refused(config, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, OccFusion(config), {"model_id": "other", "trained_on": "nothing", "accuracy": {}})
    with pytest.raises(ContractError, match="expected fusion point, sampling both and use_lidar true, got {"):
        exporter.export(path, tmp_path / "out", None, 1)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_without_its_story_is_refused(small_artifact):
    networks = load_artifact(small_artifact).contract
    with pytest.raises(ContractError, match="expected 'trained_on' in the checkpoint's metadata"):
        exporter.make_contract(small_model.small_model(), {"model_id": "m"}, "", (networks.fuser, networks.refiner))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["missing.safetensors", "out"], "missing.safetensors: expected a checkpoint"),
        (["missing.safetensors", "out", "--frames", "0"], "expected 1 or more"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        exporter.main(arguments)
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shipped", [False, True])
def test_engine_files_do_not_tell_where_they_were_made(small_artifact, shipped):
    root = Path(__file__).parents[2]
    folder = root / "models/zoo/nano" if shipped else small_artifact
    for path in folder.glob("*.onnx"):
        content = path.read_bytes()
        traces = (str(root).encode(), b'stack_trace"', b'File "', b"site-packages")
        assert not [trace for trace in traces if trace in content], path.name
