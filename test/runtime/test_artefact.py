import hashlib
import os
import shutil
from pathlib import Path

import pytest
import yaml

from occfusion_ros.core.contract import EngineFile
from occfusion_ros.core.errors import ContractError
from occfusion_ros.runtime import artifact as module
from occfusion_ros.runtime.artifact import ENGINES, Artefact, find_artefact, load_artefact


@pytest.fixture
def copy(small_artefact, tmp_path):
    """A private copy of a good artefact."""
    return shutil.copytree(small_artefact, tmp_path / "copy")


def edit_contract(folder, change):
    data = yaml.safe_load((folder / "contract.yaml").read_text())
    change(data)
    (folder / "contract.yaml").write_text(yaml.safe_dump(data))


def test_a_good_artefact_is_read_back(small_artefact):
    artefact = load_artefact(small_artefact)
    for engine in ENGINES:
        for file in artefact.engine(engine).files.values():
            assert hashlib.sha256(artefact.read(file)).hexdigest() == file.sha256


def test_a_truncated_engine_is_named_with_the_remedy(copy):
    engine = copy / "fuser.onnx"
    engine.write_bytes(engine.read_bytes()[:-100])
    artefact = load_artefact(copy)
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected sha256 .* copy the whole artefact folder again"):
        artefact.read(artefact.contract.fuser.files["fp32"])


def test_a_tampered_engine_is_refused(copy):
    engine = bytearray((copy / "refiner.onnx").read_bytes())
    engine[len(engine) // 2] ^= 1
    (copy / "refiner.onnx").write_bytes(engine)
    artefact = load_artefact(copy)
    with pytest.raises(ContractError, match=r"refiner\.onnx: expected sha256"):
        artefact.read(artefact.contract.refiner.files["fp32"])


def test_a_missing_engine_is_named(copy):
    (copy / "refiner.onnx").unlink()
    artefact = load_artefact(copy)
    with pytest.raises(ContractError, match=r"refiner\.onnx: cannot be read \(No such file"):
        artefact.read(artefact.contract.refiner.files["fp32"])


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    (tmp_path / "contract.yaml").write_text("")
    os.mkfifo(tmp_path / "fuser.onnx")
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected a file, got a folder or device"):
        Artefact(tmp_path, None).read(EngineFile("fuser.onnx", "0" * 64))


def test_an_oversized_engine_is_not_read_to_its_end(copy, monkeypatch):
    monkeypatch.setattr(module, "ENGINE_MAX_BYTES", 1000)
    artefact = load_artefact(copy)
    with pytest.raises(ContractError, match=r"fuser\.onnx: expected at most 1000 bytes"):
        artefact.read(artefact.contract.fuser.files["fp32"])


@pytest.mark.parametrize("text, message", [
    ("", "format must be 2 or 3, got 'NoneType'"),
    ("a: [", "expected YAML written by export.to_onnx"),
    ("format: 2\nmodel_id: !!python/object/apply:os.getcwd []\n", "expected YAML written by export.to_onnx"),
    ("format: 2\n", "grid: expected a mapping"),
    ("\x00", "expected YAML written by export.to_onnx"),
    ("#" * (module.CONTRACT_MAX_BYTES + 1), "expected at most"),
])
def test_a_damaged_contract_is_named(copy, text, message):
    (copy / "contract.yaml").write_text(text)
    with pytest.raises(ContractError, match=rf"contract\.yaml: .*{message}"):
        load_artefact(copy)


def test_an_unknown_key_is_refused(copy):
    edit_contract(copy, lambda data: data.update(surprise=1))
    with pytest.raises(ContractError, match=r"contract\.yaml: contract: missing \[\], unknown \['surprise'\]"):
        load_artefact(copy)


def test_an_engine_outside_the_folder_is_refused(copy):
    edit_contract(copy, lambda data: data["fuser"]["files"]["fp32"].update(name="../other.onnx"))
    with pytest.raises(ContractError, match="plain file name inside the artefact"):
        load_artefact(copy)


@pytest.mark.parametrize("model, message", [
    ("", "got an empty string"),
    ("big", r"no model 'big' ships with this package; those that do: nano; a folder is given .*: \./big"),
    (".", r"contract\.yaml: no such file; give the folder that export.to_onnx wrote"),
    ("~/no_such_folder", r"/no_such_folder/contract\.yaml: no such file"),
    (Path("nano"), r"nano/contract\.yaml: no such file"),
    ("no/such/folder", r"no/such/folder/contract\.yaml: no such file"),
])
def test_what_is_not_there_is_named(model, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContractError, match=message):
        find_artefact(model)


@pytest.mark.parametrize("content", [(), ("notes.txt",), ("contract.yaml",)])
def test_a_folder_does_not_shadow_the_shipped_model_of_its_name(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    shipped_one = find_artefact("nano")
    (tmp_path / "nano").mkdir()
    for name in content:
        (tmp_path / "nano" / name).write_text("")
    assert find_artefact("nano") == shipped_one and shipped_one.is_absolute()
    if "contract.yaml" in content:
        for path in ("./nano", Path("nano"), str(tmp_path / "nano"), "../" + tmp_path.name + "/nano"):
            assert find_artefact(path).resolve() == tmp_path / "nano"


def test_a_shipped_model_is_found_by_name_where_it_is_installed(copy, tmp_path, monkeypatch):
    share = tmp_path / "install/share/occfusion_ros/models"
    share.mkdir(parents=True)
    copy.rename(share / "micro")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path / 'install'}")
    monkeypatch.chdir(tmp_path)
    assert find_artefact("micro") == share / "micro"
