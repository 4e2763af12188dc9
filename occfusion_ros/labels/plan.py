"""What is to be labeled, cut into slices, and what the labels depend on."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..core.errors import DatasetError
from ..ros.node.parameters import NodeParameters
from ..ros.node.past_sweeps import OLDEST_S
from .bag_copies import RemoteBag
from .bag_frames import NS_PER_S

FORMAT = 1  # of what is written
LATE_S = 1.0  # sweeps are recorded so much later than they are stamped, or less


@dataclass(frozen=True)
class Recording:
    """A bag, or a scene of a nuScenes root.

    Attributes:
        name: by which its files are called. place: path of bag or root, or URL of a bag. scene: empty for a bag.
    """

    name: str
    place: str
    scene: str = ""


@dataclass(frozen=True)
class Settings:
    """What labels depend on, beside the recording.

    Attributes:
        parameters: the node's, model and memory among them.
        hindsight: whether later frames tell about earlier ones too.
        overlap_s: seconds before a slice, and with hindsight after it, that fill the memory; for earlier sweeps there
            are as many as count.
        formats: of `FORMATS`.
        picture_every: every so many sweeps are drawn; 0: none.
        every_s: of the sweeps of so many seconds one is labeled; 0: all are.
    """

    parameters: NodeParameters
    hindsight: bool = False
    overlap_s: float = 10.0
    formats: tuple[str, ...] = ("npz", "nuscenes")
    picture_every: int = 0
    every_s: float = 0.0

    @property
    def every_ns(self) -> int:
        """`every_s` in nanoseconds."""
        return round(self.every_s * NS_PER_S)

    @property
    def before_ns(self) -> int:
        """Nanoseconds before a slice whose frames are needed: for the memory, and as earlier sweeps."""
        remembered_s = self.overlap_s if self.parameters.memory != "none" else 0.0
        told_of_s = OLDEST_S + LATE_S if self.parameters.past_sweeps else 0.0
        return round(max(remembered_s, told_of_s) * NS_PER_S)

    @property
    def after_ns(self) -> int:
        """Nanoseconds after a slice whose frames are needed: for the memory of hindsight."""
        return round(self.overlap_s * NS_PER_S) if self.hindsight else 0


@dataclass(frozen=True)
class Slice:
    """A part of a recording, the unit of work: what was recorded in [start_ns, end_ns), nanoseconds.

    Attributes:
        name: unique. fingerprint: of everything that its labels depend on.
    """

    name: str
    recording: Recording
    start_ns: int
    end_ns: int
    fingerprint: str


def recordings(places: list[str]) -> list[Recording]:
    """The recordings at paths and URLs: bags, or all scenes of nuScenes roots, with names that differ.

    Raises:
        DatasetError: a path is not there.
    """
    found: list[Recording] = []
    for place in places:
        path = Path(place)
        if "://" in place:
            found.append(Recording(Path(RemoteBag(place).name).stem, place))
        elif not path.exists():
            raise DatasetError(f"there is no such recording: {path}")
        elif any(path.glob("*/sample_data.json")):
            from ..datasets.nuscenes import NuScenesReader

            found += [Recording(scene, str(path.resolve()), scene) for scene in NuScenesReader(path).scenes()]
        else:
            found.append(Recording(path.stem, str(path.resolve())))
    names = [recording.name for recording in found]
    return [
        Recording(
            f"{each.name}-{names[:at].count(each.name) + 1}" if each.name in names[:at] else each.name,
            each.place,
            each.scene,
        )
        for at, each in enumerate(found)
    ]


def slices(
    recording: Recording, settings: Settings, slice_s: float, model: bytes, span: tuple[int, int] = (0, 2**62)
) -> list[Slice]:
    """A recording cut into parts of `slice_s` seconds; a scene of nuScenes is one.

    Args:
        model: the contract, which has hashes of all files of the model.
        span: nanoseconds of a bag, see `BagFrames.span`.
    """
    spans = [span] if recording.scene else list(cut(*span, round(slice_s * NS_PER_S)))
    content = {
        "format": FORMAT,
        "version": __version__,
        "model": hashlib.sha256(model).hexdigest(),
        "settings": _plain(settings),
        "recording": recording.name,
        "of": [*spans[0][:1], *spans[-1][1:]],
    }
    return [
        Slice(f"{recording.name}-{index:04d}", recording, *span, _digest({**content, "span": span}))
        for index, span in enumerate(spans)
    ]


def cut(start_ns: int, end_ns: int, length_ns: int) -> Iterator[tuple[int, int]]:
    """[start, end) in parts of a length, the last one shorter; each moment lies in exactly one."""
    for begin in range(start_ns, end_ns, length_ns):
        yield begin, min(begin + length_ns, end_ns)


def manifest(settings: Settings, model: bytes) -> dict[str, Any]:
    """For people: what labels were made with."""
    return {
        "format": FORMAT,
        "version": __version__,
        "model": hashlib.sha256(model).hexdigest(),
        **_plain(settings),
    }


def _plain(settings: Settings) -> dict[str, Any]:
    """Values of JSON, with what files say in place of their names; how many threads compute is no part of it."""
    values = asdict(settings)
    parameters = values["parameters"]
    del parameters["threads"], parameters["model"]  # which is known by its contract
    if path := parameters["classes_file"]:
        parameters["classes_file"] = Path(path).read_text()
    masks = {name: Path(path).expanduser() for name, path in settings.parameters.camera_mask_files().items()}
    parameters["camera_masks"] = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in masks.items() if path.is_file()
    }
    return json.loads(json.dumps(values))


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
