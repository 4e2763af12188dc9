"""The devkit's index of a nuScenes root, where tables and files are missing that only labels and maps need."""

import json
import logging
import tempfile
from pathlib import Path

from ..core.errors import DatasetError, one_line

logger = logging.getLogger(__name__)

NEEDED = ("sensor", "calibrated_sensor", "ego_pose", "scene", "sample", "sample_data")
BOXES = ("sample_annotation", "instance", "category")  # the devkit needs all of them for one
OTHERS = ("attribute", "visibility")
NO_MAP = {"token": "", "log_tokens": [], "filename": "none.png"}  # the devkit wants one; nothing here reads maps


def load_tables(root: Path, version: str):  # -> nuscenes.nuscenes.NuScenes
    """The tables of a version; what labels alone need may be missing, and is named once.

    Raises:
        DatasetError: a needed table is missing or damaged, or the devkit.
    """
    try:
        from nuscenes.nuscenes import NuScenes
    except ImportError as error:
        raise DatasetError(f"nuScenes data needs nuscenes-devkit and what it imports; missing: {error.name}") from error
    logger.info("loading the tables of %s in %s", version, root)
    with tempfile.TemporaryDirectory(prefix="nuscenes-") as index:
        _gather(root / version, Path(index, version))
        try:
            tables = NuScenes(version, index, verbose=False)
        except (AssertionError, OSError, KeyError, ValueError, TypeError) as error:  # the devkit checks with assert
            raise DatasetError(
                f"cannot load the tables of {version} in {root}: {_damaged(root / version)}{one_line(error)}"
            ) from error
    tables.dataroot = str(root)
    return tables


def load_table(path: Path) -> list[dict]:
    """The rows of a table.

    Raises:
        DatasetError: it is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: expected a table, got {one_line(error)}") from error


def _gather(folder: Path, index: Path) -> None:
    """Links to the tables that the devkit is to read, empty ones for the others; it reads no labels of points."""
    if missing := [str(folder / f"{name}.json") for name in NEEDED if not (folder / f"{name}.json").is_file()]:
        raise DatasetError(f"expected the tables {', '.join(NEEDED)}; missing: {', '.join(missing)}")
    missing = [folder / f"{name}.json" for name in (*BOXES, *OTHERS) if not (folder / f"{name}.json").is_file()]
    if missing:
        logger.warning(
            "missing, so that there are no boxes or labels, which bags do not need: %s", ", ".join(map(str, missing))
        )
    boxes = not {path.stem for path in missing} & set(BOXES)
    index.mkdir()
    (index.parent / NO_MAP["filename"]).touch()
    (index / "map.json").write_text(json.dumps([NO_MAP]))
    (index / "log.json").write_text("[]")
    for name in (*NEEDED, *BOXES, *OTHERS):
        path = folder / f"{name}.json"
        if path in missing or (name == "sample_annotation" and not boxes):
            (index / path.name).write_text("[]")
        else:
            (index / path.name).symlink_to(path.resolve())


def _damaged(folder: Path) -> str:
    """The first table that is none, with a colon; empty where all are."""
    for name in (*NEEDED, *BOXES, *OTHERS):
        if (path := folder / f"{name}.json").is_file():
            try:
                load_table(path)
            except DatasetError:
                return f"{path}: "
    return ""
