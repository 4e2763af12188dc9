"""The shipped models on real LiDAR sweeps that they were never trained on."""

import json
from pathlib import Path

import pytest

from models import evaluate

NANO, MULTISWEEP = (Path(__file__).parents[2] / "models/zoo" / name for name in ("nano", "nano_multisweep"))
TRUE_GROUND = 0.406  # IoU of the sweep's voxels with the ground interpolated from the sweep's true ground labels


def test_beats_interpolated_true_ground_on_the_real_drive(nuscenes_sample, tmp_path, capsys):
    figures = tmp_path / "figures.json"
    assert evaluate.main(["--data", str(nuscenes_sample), "--artifact", str(NANO), "--json", str(figures)]) == 0
    result = json.loads(figures.read_text())
    assert result["frames"] == 6 and len(result["per_class"]) == 16
    assert result["iou"] > TRUE_GROUND + 0.04 and result["miou"] > 0.15
    assert f"IoU {result['iou']:.3f}" in capsys.readouterr().out


def test_earlier_sweeps_tell_a_model_that_was_trained_with_them_more_on_the_real_drive(nuscenes_sample, tmp_path):
    found = []
    for sweeps in (0, 5):
        words = ["--data", str(nuscenes_sample), "--artifact", str(MULTISWEEP), "--past-sweeps", str(sweeps)]
        assert evaluate.main([*words, "--json", str(tmp_path / "figures.json")]) == 0
        found.append(json.loads((tmp_path / "figures.json").read_text()))
    alone, told = found
    assert alone["iou"] > TRUE_GROUND + 0.04 and alone["miou"] > 0.15
    assert told["iou"] > alone["iou"] + 0.04 and told["miou"] > alone["miou"] + 0.005


def test_without_labels_it_says_so(nuscenes_sample, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["--data", str(nuscenes_sample), "--artifact", str(NANO), "--scene", "nus-scene0061"])
    assert "no sample with an occupancy truth among 1 samples" in capsys.readouterr().err
