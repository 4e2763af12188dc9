"""Write the contract of an artifact anew in today's format: `python -m export.upgrade ARTIFACT`.

Contracts of format 2 say neither which pre-processing the weights were trained with nor which PyTorch wrote the
programs; they are read as they are, and this adds what they lack. The network files stay as they are.
"""

import argparse
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

from occfusion_ros.core.command import one_sentence
from occfusion_ros.runtime.artifact import CONTRACT_FILE, Artifact, load_artifact

from .contract import write_contract


def programs_version(artifact: Artifact) -> str:
    """The PyTorch that wrote the fuser's program, as the program says; empty where there is none or it does not say."""
    file = artifact.contract.fuser.files.get("program")
    if file is None:
        return ""
    try:
        with zipfile.ZipFile(io.BytesIO(artifact.read(file))) as archive:
            name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
            version = str(json.loads(archive.read(name)).get("torch_version", ""))
    except (zipfile.BadZipFile, StopIteration, ValueError, AttributeError):
        return ""
    return version if re.fullmatch(r"[\w.+-]{0,60}", version) else ""


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m export.upgrade", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("artifact", type=Path, help="folder of an exported model; its contract.yaml is replaced")
    options = parser.parse_args(argv)
    with one_sentence(parser, "upgrade"):
        artifact = load_artifact(options.artifact)
        contract = artifact.contract
        write_contract(replace(contract, pytorch=contract.pytorch or programs_version(artifact)), artifact.folder)
    print(f"{artifact.folder / CONTRACT_FILE}: format {contract.to_dict()['format']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
