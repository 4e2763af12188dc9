"""What a `torch.export` archive may hold before PyTorch reads it.

PyTorch unpickles some files of an archive, evaluates its shape expressions and executes its guards. Here an archive is
looked through by rules that only what the exporter writes can pass, and written anew, so that PyTorch reads exactly
the bytes that were looked at.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from ...core.errors import ContractError

_FILE = re.compile(
    r"(?:models/model\.json|data/(?:weights|constants)/(?:model_(?:weights|constants)_config\.json"
    r"|(?:weight|tensor)_\d+)|data/sample_inputs/model\.pt|archive_format|archive_version|byteorder"
    r"|version|\.data/(?:serialization_id|version)|\.format_version|\.storage_alignment)"
)
_EMPTY = "data/sample_inputs/model.pt"  # always there; PyTorch would unpickle it, and ours hold nothing

_WORD = re.compile(r"[\w.]*", re.ASCII)  # names end up in code that PyTorch generates
_OPERATOR = re.compile(r"torch\.ops\.aten\.(?!from_file)\w+\.\w+|torch\.sym_\w+|_operator\.\w+", re.ASCII)
_EXPRESSION = re.compile(
    r"(?:Symbol\('[su]\d+'|\b(?:Add|Mul|Integer|IntTrueDiv|FloorDiv|CeilDiv|CleanDiv|Mod|PythonMod"
    r"|Max|Min)\(|\b(?:positive|nonnegative|integer)=(?:True|False)|\b[su]?\d+\b|[(),*+ -])*"
)
_GUARD = re.compile(r"(?:L\['\w+'\]|\.size\(\)\[\d+\]|\b\d+\b|[=!<>]=|//|[()<>*+% -])*", re.ASCII)
_TREE = re.compile(r'(?:[][{},: \d]|null|"(?:type|context|children_spec|builtins\.(?:tuple|list|dict)|null|\[\])")*')
_VERSION = re.compile(r"[\w.+]*", re.ASCII)
_RULES = {
    "target": _OPERATOR,
    "as_operator": _OPERATOR,
    "expr_str": _EXPRESSION,
    "guards_code": _GUARD,
    "in_spec": _TREE,
    "out_spec": _TREE,
    "torch_version": _VERSION,
}
_KEYS = {"range_constraints": _EXPRESSION}


def checked_archive(content: bytes, file: str) -> io.BytesIO:
    """The archive of a program, written anew from files that hold nothing to be unpickled, evaluated or executed.

    Args:
        content: an archive as `torch.export.save` writes it.
        file: its name, for messages.

    Raises:
        ContractError: it holds something else. BadZipFile, ValueError: it is damaged.
    """
    files = _files(content)
    wrong = list(_wrong_files(files)) or list(_wrong_json(files))
    if wrong:
        raise ContractError(
            f"{file}: expected JSON and raw tensors alone, as export.to_onnx writes them, got "
            f"{', '.join(wrong[:3]):.300}: it is not loaded; export the model again"
        )
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(f"program/{name}", data)
    result.seek(0)
    return result


def _files(content: bytes) -> dict[str, bytes]:
    """Content by name without the folder; what is compressed or occurs twice is kept under a name that is refused."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for item in archive.infolist():
            name = item.filename.partition("/")[2]
            if item.compress_type != zipfile.ZIP_STORED:
                files[f"compressed {item.filename}"] = b""
            else:
                files[name if name not in files else f"second {name}"] = archive.read(item)
    return files


def _wrong_files(files: dict[str, bytes]) -> Iterator[str]:
    yield from (f"file {name!r}" for name in files if not _FILE.fullmatch(name))
    if files.get(_EMPTY):
        yield f"{len(files[_EMPTY])} bytes of sample inputs"


def _wrong_json(files: dict[str, bytes]) -> Iterator[str]:
    for name, data in files.items():
        if name.endswith("_config.json"):
            yield from _wrong_payloads(json.loads(data.decode()))
        elif name.endswith(".json"):
            yield from _wrong_texts(json.loads(data.decode()))


def _wrong_payloads(config: Any) -> Iterator[str]:
    """Tensors that PyTorch would unpickle, or would read from elsewhere."""
    for name, payload in config["config"].items():
        if payload["use_pickle"] is not False or not re.fullmatch(r"(?:weight|tensor)_\d+", payload["path_name"]):
            yield f"tensor {name!r} that is pickled or no raw file"


def _wrong_texts(value: Any, rule: re.Pattern = _WORD, keys: re.Pattern = _WORD) -> Iterator[str]:
    """Texts and keys of a JSON value that do not keep the rule of the field they stand in."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not keys.fullmatch(key):
                yield f"name {key!r}"
            yield from _wrong_texts(entry, _RULES.get(key, _WORD), _KEYS.get(key, _WORD))
    elif isinstance(value, list):
        for entry in value:
            yield from _wrong_texts(entry, rule)
    elif isinstance(value, str) and not rule.fullmatch(value):
        yield f"text {value!r}"
