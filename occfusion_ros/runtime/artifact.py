"""Model artifacts on disk: `contract.yaml` and the network files it names, checked before anything is loaded."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from ..core.contract import ModelContract, NetworkFile, NetworkSpec
from ..core.errors import ContractError
from ..core.shipped import shipped_places

CONTRACT_FILE = "contract.yaml"
NAME = re.compile(r"[^/~.][^/]*")  # of a shipped model; anything else is a path
NETWORKS = ("fuser", "refiner")
CONTRACT_MAX_BYTES = 1 << 20
ENGINE_MAX_BYTES = 2 << 30  # the limit of the ONNX file format


@dataclass(frozen=True)
class Artifact:
    """A folder whose contract has been validated."""

    folder: Path
    contract: ModelContract

    def network(self, name: str) -> NetworkSpec:
        """One of `NETWORKS`."""
        return {"fuser": self.contract.fuser, "refiner": self.contract.refiner}[name]

    def read(self, file: NetworkFile) -> bytes:
        """Content of a network file, verified against the contract.

        Raises:
            ContractError: missing, too large, or not the file that was exported.
        """
        path = self.folder / file.name
        content = _read(path, ENGINE_MAX_BYTES)
        digest = hashlib.sha256(content).hexdigest()
        if digest != file.sha256:
            raise ContractError(
                f"{path}: expected sha256 {file.sha256}, got {digest} ({len(content)} bytes): the "
                "file is damaged or of another export; copy the whole artifact folder again or export "
                "anew"
            )
        return content


def load_artifact(model: str | Path) -> Artifact:
    """Find and validate an artifact.

    Args:
        model: see `find_artifact`.

    Raises:
        ContractError: it is not there or is damaged.
    """
    import yaml

    folder = find_artifact(model)
    path = folder / CONTRACT_FILE
    try:
        return Artifact(folder, ModelContract.from_dict(yaml.safe_load(_read(path, CONTRACT_MAX_BYTES))))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ContractError(
            f"{path}: expected YAML that export.to_onnx wrote, got {error!r:.300}: export anew"
        ) from error
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error


def find_artifact(model: str | Path) -> Path:
    """Folder of an artifact.

    Args:
        model: a folder: a `Path`, or a text with a separator (./mine, ~/mine); or the name of a shipped model. Which of
            the two a text is does not hang on what lies in the working directory.

    Raises:
        ContractError: there is no such artifact.
    """
    if not str(model):
        raise ContractError("model: expected a folder or the name of a shipped model, got an empty string")
    if isinstance(model, str) and NAME.fullmatch(model):
        return _shipped_model(model)
    folder = Path(model).expanduser()
    if not (folder / CONTRACT_FILE).is_file():
        raise ContractError(f"{folder / CONTRACT_FILE}: no such file; give the folder that export.to_onnx wrote")
    return folder


def _shipped_model(name: str) -> Path:
    """Folder of a shipped model."""
    found = {
        path.parent.name: path.parent
        for place in reversed(shipped_places("models", "models/zoo"))
        for path in place.glob(f"*/{CONTRACT_FILE}")
    }
    if name not in found:
        raise ContractError(
            f"no model {name!r} ships with this package; those that do: {', '.join(sorted(found))}; a "
            f"folder is given with its separator: ./{name}"
        )
    return found[name]


def _read(path: Path, limit: int) -> bytes:
    if path.exists() and not path.is_file():
        raise ContractError(f"{path}: expected a file, got a folder or device: export or copy the artifact again")
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ContractError(
            f"{path}: cannot be read ({error.strerror}); the artifact is incomplete: export or copy it again"
        ) from error
    if len(content) > limit:
        raise ContractError(f"{path}: expected at most {limit} bytes, got more; this is not a file of an artifact")
    return content
