"""Many recordings from few synthetic frames."""

import shutil
from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene
from synthetic.recording.root import Recording, write_nuscenes_root

MADE = "made.json"
HZ = 10.0  # as LiDARs turn


def make(folder: Path, sweeps: int, drives: int, frames: int, image_scale: float) -> dict[str, Any]:
    """Render drives, make a bag of each, and give each bag as many names as it takes for that many sweeps.

    Frames that are there are kept. Links stand for copies: `label_bags` takes each for a recording of its own.

    Returns:
        What was made, see `made`.
    """
    if sweeps % frames:
        raise DatasetError(f"expected --sweeps to be a multiple of --frames, got {sweeps} and {frames}")
    write_nuscenes_root(folder / "root", drives, frames, recording=Recording(HZ, image_scale))
    reader, bags = NuScenesReader(folder / "root"), folder / "bags"
    shutil.rmtree(bags, ignore_errors=True)
    (bags / "linked").mkdir(parents=True)
    files = [
        next(convert_scene(reader, scene, bags, progress=False).path.glob("*.mcap"))
        for scene in sorted(reader.scenes())
    ]
    for number in range(sweeps // frames):
        (bags / "linked" / f"recording-{number:04d}.mcap").symlink_to(files[number % len(files)].resolve())
    found = {"sweeps": sweeps, "drives": drives, "frames": frames, "hz": HZ, "image_scale": image_scale}
    write_json(folder / MADE, found)
    return found


def linked(folder: Path) -> list[Path]:
    """The recordings that `make` made.

    Raises:
        DatasetError: there are none.
    """
    if not (folder / MADE).is_file():
        raise DatasetError(f"{folder} has no recordings; make them: python -m benchmarks.labeling make {folder}")
    return sorted((folder / "bags" / "linked").iterdir())
