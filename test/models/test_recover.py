"""Weights come back from an exported model as they went in."""

from pathlib import Path

import pytest
import torch

from models import recover
from models.training.checkpoint import load_checkpoint
from occfusion_ros.runtime.artifact import load_artifact

REPOSITORY = Path(__file__).parents[2]
NANO = REPOSITORY / "models" / "zoo" / "nano"


def test_the_shipped_weights_come_back(tmp_path, capsys):
    out = tmp_path / "new" / "nano.safetensors"
    assert recover.main([str(NANO), str(out)]) == 0 and str(out) in capsys.readouterr().out
    model, metadata = load_checkpoint(out)
    tensors, contract = recover.program_tensors(load_artifact(NANO)), load_artifact(NANO).contract
    state = model.state_dict()
    assert state.keys() == tensors.keys() and all(torch.equal(state[name], tensors[name]) for name in state)
    assert metadata["model_id"] == "nano" and metadata["trained_on"] == contract.trained_on
    assert "synthetic validation" in next(iter(metadata["accuracy"]))  # a mapping again, which export takes


def test_another_configuration_is_refused(tmp_path, capsys):
    other = REPOSITORY / "models" / "configs" / "base.yaml"
    with pytest.raises(SystemExit, match="2"):
        recover.main([str(NANO), str(tmp_path / "out"), "--config", str(other)])
    assert "expected the configuration of" in capsys.readouterr().err and not (tmp_path / "out").exists()
