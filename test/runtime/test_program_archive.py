"""Programs are read, and whatever PyTorch would unpickle, evaluate or execute is refused before it sees it."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from occfusion_ros.core.errors import BackendError, ContractError
from occfusion_ros.core.shipped import shipped
from occfusion_ros.runtime.backends.program_archive import checked_archive
from occfusion_ros.runtime.backends.torch_backend import read_program

SHIPPED = shipped("models/nano", "models/zoo/nano")
MODEL, WEIGHTS, SAMPLES = "models/model.json", "data/weights/model_weights_config.json", "data/sample_inputs/model.pt"
TOUCH = "__import__('pathlib').Path('written').touch()"


class Evil:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        return open, ("written", "w")


EVIL = pickle.dumps(Evil())


@pytest.fixture
def program(tmp_path, monkeypatch) -> bytes:
    """The shipped refiner's program, in a folder where an attack that works leaves a file."""
    monkeypatch.chdir(tmp_path)
    yield (SHIPPED / "refiner.pt2").read_bytes()
    assert not (tmp_path / "written").exists(), "an attack was carried out"


def rewritten(content: bytes, changed: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A program's archive with some files replaced, added or (None) left out."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        files = {name.partition("/")[2]: source.read(name) for name in source.namelist()} | changed
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", compression) as target:
        for name, data in files.items():
            if data is not None:
                target.writestr(f"refiner/{name}", data)
    return result.getvalue()


def edited(content: bytes, file: str, change) -> bytes:
    """A program's archive in which one JSON file was passed through `change`."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        root = source.namelist()[0].split("/")[0]
        data = json.loads(source.read(f"{root}/{file}"))
    change(data)
    return rewritten(content, {file: json.dumps(data).encode()})


@pytest.mark.parametrize("network", ["fuser", "refiner"])
def test_what_the_exporter_writes_is_read(network):
    content = (SHIPPED / f"{network}.pt2").read_bytes()
    assert isinstance(read_program(content, network), torch.nn.Module)


@pytest.mark.parametrize(
    "name",
    [
        "data/weights/model.pt",
        "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0",
        "data/aotinductor/model/x.so",
        "models/other.json",
        "serialized_state_dict.pt",
        "Models/model.json",
        "data/weights/../weights/weight_0",
    ],
)
def test_files_that_the_exporter_does_not_write_are_refused(program, name):
    with pytest.raises(ContractError, match=r"refiner\.pt2: expected JSON and raw tensors alone.*got file"):
        read_program(rewritten(program, {name: EVIL}), "refiner.pt2")


def test_sample_inputs_are_refused(program):
    with pytest.raises(ContractError, match=f"got {len(EVIL)} bytes of sample inputs"):
        read_program(rewritten(program, {SAMPLES: EVIL}), "refiner.pt2")


def test_a_file_that_occurs_twice_is_refused(program):
    """Readers differ in which of the two they take."""
    result = io.BytesIO(program)
    with zipfile.ZipFile(result, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], EVIL)
    with pytest.raises(ContractError, match="got file 'second "):
        read_program(result.getvalue(), "refiner.pt2")


def test_compressed_files_are_not_unpacked(program):
    with pytest.raises(ContractError, match="got file 'compressed "):
        read_program(rewritten(program, {}, zipfile.ZIP_DEFLATED), "refiner.pt2")


def test_pytorch_gets_the_files_that_were_looked_at_and_nothing_else(program):
    """Whatever lies before, between or behind them, where another reader might find other files."""
    hidden = rewritten(program, {SAMPLES: EVIL})
    with zipfile.ZipFile(checked_archive(hidden + program, "refiner.pt2")) as archive:
        assert archive.read(f"program/{SAMPLES}") == b"" and archive.testzip() is None
    assert EVIL not in checked_archive(hidden + program, "refiner.pt2").getvalue()


@pytest.mark.parametrize("value", [True, 1, "yes"])
def test_pickled_tensors_are_refused(program, value):
    attack = edited(program, WEIGHTS, lambda data: next(iter(data["config"].values())).update(use_pickle=value))
    with pytest.raises(ContractError, match="pickled"):
        read_program(attack, "refiner.pt2")
    escaped = attack.replace(b"use_pickle", b"use_pickl\\u0065")
    with pytest.raises(ContractError):
        read_program(escaped, "refiner.pt2")


def first_expression(data) -> dict:
    """The first node of a JSON value that holds a shape expression."""
    if isinstance(data, dict):
        found = data if "expr_str" in data else None
        return found or next(filter(None, map(first_expression, data.values())), None)
    return next(filter(None, map(first_expression, data)), None) if isinstance(data, list) else None


def graph(data: dict) -> dict:
    return data["graph_module"]["graph"]


ATTACKS = {
    "expression": lambda data: first_expression(data).update(expr_str=TOUCH),
    "expression of an attribute": lambda data: first_expression(data).update(expr_str="Symbol('s1').__class__"),
    "guard": lambda data: data["guards_code"].append(TOUCH),
    "guard of an attribute": lambda data: data["guards_code"].append("L['parent'].numpy()"),
    "range of an expression": lambda data: data["range_constraints"].update({TOUCH: {"min_val": 0, "max_val": 1}}),
    "operator": lambda data: graph(data)["nodes"][0].update(target="torch.os.system"),
    "operator of the loader": lambda data: graph(data)["nodes"][0].update(target="torch.hub.load"),
    "operator on files": lambda data: graph(data)["nodes"][0].update(target="torch.ops.aten.from_file.default"),
    "higher-order operator": lambda data: graph(data)["nodes"][0].update(target="torch.ops.higher_order.cond"),
    "node name": lambda data: graph(data)["nodes"][0].update(name=f"x = {TOUCH}; y"),
    "input name": lambda data: graph(data)["inputs"][0]["as_tensor"].update(name=f"x={TOUCH}"),
    "tensor name": lambda data: graph(data)["tensor_values"].update({f"{TOUCH}": {}}),
    "tree of a class": lambda data: data["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "os.system", "context": "null", "children_spec": []}]'
    ),
    "tree of an enum": lambda data: data["graph_module"]["module_call_graph"][0]["signature"].update(
        in_spec='[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": true}]", "children_spec": []}]'
    ),
    "metadata": lambda data: graph(data)["nodes"][0]["metadata"].update(torch_fn="a;b('c')"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_would_be_evaluated_or_executed_is_refused(program, attack):
    with pytest.raises(ContractError, match=r"refiner\.pt2: expected JSON and raw tensors alone.*got (text|name) "):
        read_program(edited(program, MODEL, ATTACKS[attack]), "refiner.pt2")


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: b"",
        lambda c: c[:-200],
        lambda c: b"PK" + c[9:],
        lambda c: c[:2000],
        lambda c: rewritten(c, {MODEL: None}),
        lambda c: rewritten(c, {MODEL: b"[" * 9999}),
        lambda c: rewritten(c, {WEIGHTS: b"[]"}),
        lambda c: rewritten(c, {MODEL: b"\xff"}),
    ],
)
def test_a_damaged_program_is_named(program, damage):
    with pytest.raises(
        (ContractError, BackendError),
        match=r"refiner\.pt2: (expected .*copy the artifact again|expected JSON|exported with)",
    ):
        read_program(damage(program), "refiner.pt2")
