"""Contracts of an earlier format are brought to today's."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from export import upgrade as module
from occfusion_ros.core.preprocessing import UNRECORDED
from occfusion_ros.runtime.artifact import load_artifact

NANO = Path(__file__).parents[2] / "models" / "zoo" / "nano"


def of_format_2(artifact: Path, folder: Path) -> Path:
    """A copy whose contract is of format 2."""
    shutil.copytree(artifact, folder)
    data = yaml.safe_load((folder / "contract.yaml").read_text()) | {"format": 2}
    del data["preprocessing"], data["pytorch"]
    (folder / "contract.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return folder


def test_what_an_old_contract_lacks_is_added(small_artifact, tmp_path, capsys):
    folder = of_format_2(small_artifact, tmp_path / "old")
    before = load_artifact(folder).contract
    assert before.pytorch == "" and before.preprocessing == UNRECORDED
    assert module.main([str(folder)]) == 0 and "format 3" in capsys.readouterr().out
    after = load_artifact(folder).contract
    assert after == replace(before, pytorch=torch.__version__) == load_artifact(small_artifact).contract
    assert module.main([str(folder)]) == 0 and load_artifact(folder).contract == after


def test_a_damaged_program_is_named_and_nothing_is_written(small_artifact, tmp_path, capsys):
    folder = of_format_2(small_artifact, tmp_path / "old")
    (folder / "fuser.pt2").write_bytes(b"PK")
    before = (folder / "contract.yaml").read_text()
    with pytest.raises(SystemExit, match="2"):
        module.main([str(folder)])
    assert "upgrade: " in capsys.readouterr().err and (folder / "contract.yaml").read_text() == before


def test_the_shipped_contract_says_what_it_was_trained_with():
    data = yaml.safe_load((NANO / "contract.yaml").read_text())
    assert data["format"] == 3 and data["preprocessing"]["ego_radius"] == 1.5
    assert data["pytorch"] == module.programs_version(load_artifact(NANO)) != ""
