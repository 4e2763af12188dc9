"""`label_bags` on a tiny recording with a model that costs nothing."""

import json
from pathlib import Path

from benchmarks.load.null_model import write_null_model
from occfusion_ros.datasets.nuscenes import NuScenesReader
from occfusion_ros.labels.__main__ import main
from occfusion_ros.ros.tools.nuscenes_to_bag import convert_scene
from occfusion_ros.runtime.artifact import load_artifact

from .tiny_nuscenes import SCENE, TinyRoot


def tiny_bag(folder: Path, samples: int = 2) -> Path:
    """A bag of key frames in steps of 0.1 s, and one sweep more 0.05 s after the first."""
    reader = NuScenesReader(TinyRoot(folder / "root", samples=samples).root)
    return convert_scene(reader, SCENE, folder, sweeps=True, progress=False).path


def null_arguments(folder: Path, like: str = "nano") -> list[str]:
    """Of the command, but for bags and place: a model, the tiny bag's cameras, and slices of a sweep or two."""
    values = {
        "model": write_null_model(folder / "null", load_artifact(like).contract),
        "cameras": "[cam_front, cam_back]",
        "backend": "onnxruntime",
        "fixed_frame": "map",
    }
    return [word for name, value in values.items() for word in ("-p", f"{name}:={value}")] + ["--slice-s", "0.05"]


def label(bag: Path | str, out: Path, *words: str) -> dict[str, bytes]:
    """Files by name that the command writes where all goes well."""
    assert main([str(bag), str(out), "--picture-every", "0", *words]) == 0
    return files(out)


def files(out: Path) -> dict[str, bytes]:
    """Contents of the files below a folder, by name."""
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def sweeps(written: dict[str, bytes]) -> list[dict]:
    """Records of all sweeps, in the order of slices."""
    return [
        sweep for name in sorted(written) if name.startswith("slices/") for sweep in json.loads(written[name])["sweeps"]
    ]
