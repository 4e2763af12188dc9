"""What lies where occupancy labels were looked for and not found: those of other projects, or of ours elsewhere."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MOST = 2000  # entries that are looked at: roots hold hundreds of thousands
DEPTH = 3  # folders below the root


def explain(root: Path) -> str:
    """A sentence about the labels that lie nearest in or around a folder; empty where there are none.

    Layouts as the projects' own pages describe them: Occ3D's ``gts/<scene>/<sample>/labels.npz``, SurroundOcc's
    ``samples/<LiDAR file>.npy`` and OpenOccupancy's ``scene_<scene token>/occupancy/<LiDAR token>.npy``.
    """
    if next(root.glob("occupancy/*.npy"), None):
        return (
            f"{root / 'occupancy'} holds files of OpenOccupancy without their folder scene_<scene token>: they "
            f"belong in {root}/scene_<scene token>/occupancy"
        )
    for path in _folders(root):
        if next(path.glob("*/*/labels.npz"), None):
            return _other_grid(path, "Occ3D", 0.4)
        if next(path.glob("*.pcd.bin.npy"), None) or next(path.glob("samples/*.pcd.bin.npy"), None):
            return _other_grid(path, "SurroundOcc", 0.5)
        if path != root and next(path.glob("scene_*/occupancy/*.npy"), None):
            return f"{path} holds labels of OpenOccupancy: move its folders scene_* to {root}"
    return ""


def _other_grid(path: Path, project: str, voxel_size: float) -> str:
    return (
        f"{path} holds labels of {project}, whose grid (200 x 200 x 16 voxels of {voxel_size} m) is another, so "
        "that they cannot be used"
    )


def _folders(root: Path) -> Iterator[Path]:
    """The folder, those below it, the nearest first, and the one above; without what every data root holds."""
    level = [root]
    for _ in range(DEPTH):
        yield from level
        level = [child for path in level if not path.name.startswith("scene_") for child in _children(path)]
    yield root.parent


def _children(path: Path) -> list[Path]:
    usual = ("samples", "sweeps", "maps", "lidarseg", "panoptic")
    try:
        return sorted(child for child in islice(path.iterdir(), MOST) if child.is_dir() and child.name not in usual)
    except OSError:
        return []
