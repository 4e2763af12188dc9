"""The average of two trainings' weights, from file to file."""

from dataclasses import replace

import pytest
import torch
from helpers.small_model import CONFIG, small_model

from models.training.average import main
from occfusion_ros.network.checkpoint import load_checkpoint, save_checkpoint

BEFORE = {"model_id": "small", "trained_on": "much", "accuracy": {"before": {"iou": 1}}}
AFTER = {**BEFORE, "trained_on": "much; then little"}


@pytest.fixture
def weights(tmp_path):
    """Files of a network before and after a training, and where the average goes; everything grew by 2."""
    paths = [tmp_path / name for name in ("before.safetensors", "after.safetensors", "new/average.safetensors")]
    for path, more, said in zip(paths, (0.0, 2.0), (BEFORE, AFTER)):
        model = small_model()
        for value in model.state_dict().values():
            value += int(more) if not value.is_floating_point() else more
        save_checkpoint(path, model, said)
    return paths


@pytest.mark.parametrize(("options", "more"), [([], 1.0), (["--share", "0.25"], 0.5), (["--share", "1"], 2.0)])
def test_weights_and_buffers_lie_between_those_before_and_after(weights, options, more):
    assert main([*map(str, weights), *options]) == 0
    model, metadata = load_checkpoint(weights[2])
    start = small_model().state_dict()
    for name, value in model.state_dict().items():
        expected = start[name] + (more if value.is_floating_point() else 2)  # counts are those of the later
        assert torch.allclose(value, expected, atol=1e-5), name
    assert metadata["accuracy"] == {} and metadata["trained_on"].startswith("much; then little; averaged with")


@pytest.mark.parametrize(
    ("model", "said", "why"),
    [
        (small_model(replace(CONFIG, offsets=2)), BEFORE, "expected weights of one network"),
        (small_model(), {**BEFORE, "trained_on": "other"}, "to be trained on from"),
        (small_model(), AFTER, "to be trained on from"),
    ],
)
def test_what_was_not_trained_on_from_it_has_no_average(weights, capsys, model, said, why):
    save_checkpoint(weights[0], model, said)
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, weights)])
    assert why in capsys.readouterr().err
    assert not weights[2].exists()
