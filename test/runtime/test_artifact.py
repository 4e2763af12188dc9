import hashlib
import os
import shutil
from pathlib import Path

import pytest
import yaml

from occfusion_ros.core.contract import NetworkFile
from occfusion_ros.core.errors import ContractError
from occfusion_ros.runtime import artifact as module
from occfusion_ros.runtime.artifact import NETWORKS, Artifact, find_artifact, load_artifact


@pytest.fixture
def copy(small_artifact, tmp_path):
    """A private copy of a good artifact."""
    return shutil.copytree(small_artifact, tmp_path / "copy")


def edit_contract(folder, change):
    data = yaml.safe_load((folder / "contract.yaml").read_text())
    change(data)
    (folder / "contract.yaml").write_text(yaml.safe_dump(data))


def test_a_good_artifact_is_read_back(small_artifact):
    artifact = load_artifact(small_artifact)
    for network in NETWORKS:
        for file in artifact.network(network).files.values():
            assert hashlib.sha256(artifact.read(file)).hexdigest() == file.sha256


def test_a_truncated_engine_is_named_with_the_remedy(copy):
    network = copy / "fuser.onnx"
    network.write_bytes(network.read_bytes()[:-100])
    artifact = load_artifact(copy)
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected sha256 .* copy the whole artifact folder again"):
        artifact.read(artifact.contract.fuser.files["fp32"])


def test_a_tampered_engine_is_refused(copy):
    network = bytearray((copy / "refiner.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (copy / "refiner.onnx").write_bytes(network)
    artifact = load_artifact(copy)
    with pytest.raises(ContractError, match=r"refiner\.onnx: expected sha256"):
        artifact.read(artifact.contract.refiner.files["fp32"])


def test_a_missing_engine_is_named(copy):
    (copy / "refiner.onnx").unlink()
    artifact = load_artifact(copy)
    with pytest.raises(ContractError, match=r"refiner\.onnx: cannot be read \(No such file"):
        artifact.read(artifact.contract.refiner.files["fp32"])


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    (tmp_path / "contract.yaml").write_text("")
    os.mkfifo(tmp_path / "fuser.onnx")
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected a file, got a folder or device"):
        Artifact(tmp_path, None).read(NetworkFile("fuser.onnx", "0" * 64))


def test_an_oversized_engine_is_not_read_to_its_end(copy, monkeypatch):
    monkeypatch.setattr(module, "ENGINE_MAX_BYTES", 1000)
    artifact = load_artifact(copy)
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected at most 1000 bytes"):
        artifact.read(artifact.contract.fuser.files["fp32"])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "format must be one of 2, 3, 4, 5, 6, 7, 8, got 'NoneType'"),
        ("a: [", "expected YAML that export.to_onnx wrote"),
        ("format: 2\nmodel_id: !!python/object/apply:os.getcwd []\n", "expected YAML that export.to_onnx wrote"),
        ("format: 2\n", "grid: expected a mapping"),
        ("\x00", "expected YAML that export.to_onnx wrote"),
        ("#" * (module.CONTRACT_MAX_BYTES + 1), "expected at most"),
    ],
)
def test_a_damaged_contract_is_named(copy, text, message):
    (copy / "contract.yaml").write_text(text)
    with pytest.raises(ContractError, match=rf"contract\.yaml: .*{message}"):
        load_artifact(copy)


def test_an_unknown_key_is_refused(copy):
    edit_contract(copy, lambda data: data.update(surprise=1))
    with pytest.raises(ContractError, match=r"contract\.yaml: contract: missing \[\], unknown \['surprise'\]"):
        load_artifact(copy)


def test_an_engine_outside_the_folder_is_refused(copy):
    edit_contract(copy, lambda data: data["fuser"]["files"]["fp32"].update(name="../other.onnx"))
    with pytest.raises(ContractError, match="plain file name inside the artifact"):
        load_artifact(copy)


@pytest.mark.parametrize(
    "model, message",
    [
        ("", "got an empty string"),
        (
            "big",
            r"no model 'big' ships with this package; those that do: nano, nano_multisweep, swift; a folder .*: \./big",
        ),
        (".", r"contract\.yaml: no such file; give the folder that export.to_onnx wrote"),
        ("~/no_such_folder", r"/no_such_folder/contract\.yaml: no such file"),
        (Path("nano"), r"nano/contract\.yaml: no such file"),
        ("no/such/folder", r"no/such/folder/contract\.yaml: no such file"),
    ],
)
def test_what_is_not_there_is_named(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContractError, match=message):
        find_artifact(model)


@pytest.mark.parametrize("content", [(), ("notes.txt",), ("contract.yaml",)])
def test_a_folder_does_not_shadow_the_shipped_model_of_its_name(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    shipped_one = find_artifact("nano")
    (tmp_path / "nano").mkdir()
    for name in content:
        (tmp_path / "nano" / name).write_text("")
    assert find_artifact("nano") == shipped_one and shipped_one.is_absolute()
    if "contract.yaml" in content:
        for path in ("./nano", Path("nano"), str(tmp_path / "nano"), "../" + tmp_path.name + "/nano"):
            assert find_artifact(path).resolve() == tmp_path / "nano"


def test_a_shipped_model_is_found_by_name_where_it_is_installed(copy, tmp_path, monkeypatch):
    share = tmp_path / "install/share/occfusion_ros/models"
    share.mkdir(parents=True)
    copy.rename(share / "micro")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path / 'install'}")
    monkeypatch.chdir(tmp_path)
    assert find_artifact("micro") == share / "micro"
