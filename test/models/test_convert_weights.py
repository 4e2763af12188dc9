"""Weights of others find their places, and what finds none is named."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.small_model import CONFIG
from safetensors.torch import save_file

from models.training.convert_weights import RULES, convert, main, read_state, renamed
from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.checkpoint import load_checkpoint
from occfusion_ros.network.occfusion import OccFusion
from occfusion_ros.network.resnet import ResNet50

RESNET = replace(CONFIG, backbone="resnet50")


def openoccupancy_state() -> dict[str, torch.Tensor]:
    """Names and shapes as in a checkpoint of OpenOccupancy with an FPN of 16 channels; values are random."""
    torch.manual_seed(0)
    state = {
        f"img_backbone.{name}": torch.rand_like(value.float()).to(value.dtype)
        for name, value in ResNet50().state_dict().items()
    }
    for index, channels in enumerate((512, 1024, 2048)):
        state[f"img_neck.lateral_convs.{index}.conv.weight"] = torch.rand(16, channels, 1, 1)
        state[f"img_neck.lateral_convs.{index}.conv.bias"] = torch.rand(16)
        state[f"img_neck.fpn_convs.{index}.conv.weight"] = torch.rand(16, 16, 3, 3)
    return state | {"pts_bbox_head.occ_convs.0.weight": torch.rand(3)}


def test_a_backbone_and_a_neck_find_their_places():
    model, state = OccFusion(RESNET), openoccupancy_state()
    result = convert(model, state, RULES["openoccupancy"])
    assert torch.equal(model.backbone.layer3[2].conv2.weight, state["img_backbone.layer3.2.conv2.weight"])
    assert torch.equal(model.pyramid.lateral[1].bias, state["img_neck.lateral_convs.1.conv.bias"])
    assert torch.equal(model.pyramid.smooth[0].weight, state["img_neck.fpn_convs.0.conv.weight"])
    assert result.unplaced == ["img_neck.fpn_convs.2.conv.weight", "pts_bbox_head.occ_convs.0.weight"]
    assert len(result.placed) == len(state) - 2 and not result.misfits
    assert "decoder.output.weight" in result.missing and not any(n.startswith("backbone.") for n in result.missing)
    assert "no place: pts_bbox_head.occ_convs.0.weight" in str(result) and "got nothing: decoder.stem" in str(result)


def test_what_does_not_fit_is_named_with_both_shapes():
    state = {"conv1.weight": torch.zeros(64, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(8, 64, 1, 1)}
    result = convert(OccFusion(RESNET), state, RULES["torchvision"])
    assert result.placed == ["conv1.weight"]
    assert "does not fit: layer1.0.conv1.weight: expected [64, 64, 1, 1], got [8, 64, 1, 1]" in str(result)


def test_rules_are_tried_in_order_on_the_beginning_of_a_name():
    rules = ((r"a\.", "b."), (r"a", "c"))
    assert [renamed(name, rules) for name in ("a.a.x", "ax", "ba.")] == ["b.a.x", "cx", None]
    assert renamed("fc.weight", RULES["torchvision"]) is None


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_network_of_others_becomes_a_checkpoint(tmp_path, suffix, capsys):
    state, source = {"conv1.weight": torch.rand(64, 3, 7, 7)}, tmp_path / f"theirs{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, source)
    else:
        save_file(state, source)
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: mine\ntrain_backbone: true\nmodel: {backbone: resnet50, width: 16, decoded: 8, bev: [16]}\n"
    )
    out = tmp_path / "mine.safetensors"
    assert main([str(source), str(out), "--config", str(config), "--rules", "torchvision"]) == 0
    assert "1 tensors placed" in capsys.readouterr().out
    model, metadata = load_checkpoint(out)
    assert torch.equal(model.backbone.conv1.weight, state["conv1.weight"])
    assert metadata["trained_on"] == f"1 tensors of theirs{suffix}"
    with pytest.raises(SystemExit):
        main([str(source), str(tmp_path / "none.safetensors"), "--config", str(config), "--rule", "x=y"])
    assert "nothing in it fits" in capsys.readouterr().err and not (tmp_path / "none.safetensors").exists()


class Evil:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return Path.touch, (Path("written"),)


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps({"a": 1}), pickle.dumps(Evil())])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_what_is_no_state_dict_is_refused_and_never_run(tmp_path, content, suffix, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"bad{suffix}").write_bytes(content)
    with pytest.raises(ContractError, match=f"bad{suffix}: expected"):
        read_state(tmp_path / f"bad{suffix}")
    assert not (tmp_path / "written").exists()
