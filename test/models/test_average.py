"""The average of two trainings' weights, from file to file."""

from dataclasses import replace

import pytest
import torch
from helpers.small_model import CONFIG, small_model

from models.training.average import main
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint

METADATA = {"model_id": "small", "trained_on": "much; then little", "accuracy": {"before": {"iou": 1}}}


@pytest.fixture
def weights(tmp_path):
    """Files of a network before and after a training, and where the average goes."""
    paths = [tmp_path / name for name in ("before.safetensors", "after.safetensors", "new/average.safetensors")]
    for path, value in zip(paths, (1.0, 3.0)):
        model = small_model()
        torch.nn.init.constant_(model.coarse_head.weight, value)
        save_checkpoint(path, model, METADATA)
    return paths


@pytest.mark.parametrize(("options", "expected"), [([], 2.0), (["--share", "0.25"], 1.5), (["--share", "1"], 3.0)])
def test_weights_lie_between_those_before_and_after(weights, options, expected):
    assert main([*map(str, weights), *options]) == 0
    model, metadata = load_checkpoint(weights[2])
    assert (model.coarse_head.weight == expected).all()
    same = small_model().state_dict()
    assert all(
        torch.equal(value, same[name]) for name, value in model.state_dict().items() if "coarse_head.w" not in name
    )
    assert metadata["accuracy"] == {} and metadata["trained_on"].startswith("much; then little; averaged with")


def test_two_networks_have_no_average(weights, capsys):
    save_checkpoint(weights[0], small_model(replace(CONFIG, offsets=2)), METADATA)
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, weights)])
    assert "average: expected weights of one network" in capsys.readouterr().err
    assert not weights[2].exists()
