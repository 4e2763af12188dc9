"""Labels one slice of a recording: the worker that every runner runs."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.frames import OccupancyGrid, SensorFrame
from ..core.labels import EMPTY, IGNORE
from ..ros.node.classes_file import read_classes
from ..ros.node.frame_memory import FrameMemory, prepare_memory
from ..ros.node.lifecycle_node import load_pipeline
from ..ros.node.parameters import NodeParameters
from ..ros.node.past_sweeps import PastSweeps
from ..ros.transforms.tree import TransformError
from .bag_copies import BagCopies, RemoteBag
from .bag_frames import BagFrames, Moment
from .hindsight import Answer, Sweep, with_hindsight
from .plan import Recording, Settings, Slice
from .store import Store
from .sweep_files import SweepFiles


class Labeler:
    """Labels slices; made once in each process, because it loads the model.

    Args:
        settings: what labels depend on. out: where they go, see `Store`.
        copies: where bags by URL are kept. threads: CPU threads of the networks; 0: as many as there are cores.
    """

    def __init__(self, settings: Settings, out: str, copies: BagCopies, threads: int = 0) -> None:
        self._settings, self._store, self._copies = settings, Store(out), copies
        self._parameters = replace(settings.parameters, threads=threads)
        self._pipeline = load_pipeline(self._parameters)
        self._pipeline.confidence, self._pipeline.free_below = True, self._parameters.doubt
        self._relabeling = read_classes(self._parameters.classes_file, self._pipeline.contract.classes)
        prepare_memory(self._parameters)

    def __call__(self, part: Slice) -> dict[str, Any]:
        """Write the labels of a slice and, last, the file that says so; returns what `done` does.

        Raises:
            OccFusionError: the recording cannot be read, or nothing can be written.
        """
        with opened(part.recording, self._settings, self._copies) as frames:
            files = SweepFiles(self._store, part.recording.name, self._settings, self._relabeling.classes)
            moments = frames.moments(part.start_ns, part.end_ns, self._settings.before_ns, self._settings.after_ns)
            sweeps = [files.add_labels(*answered) for answered in self._answered(self._predicted(moments, files))]
            files.close(part.name)
            record = {
                "slice": part.name,
                "fingerprint": part.fingerprint,
                "recording": part.recording.name,
                "sweeps": sweeps,
                "dropped": {str(stamp): reason for stamp, reason in frames.dropped.items()},
                "faults": dict(sorted((frames.faults + files.faults).items())),
            }
        self._store.write(done_file(part), json.dumps(record, indent=1).encode())
        return short(record)

    def _predicted(self, moments: Iterator[Moment], files: SweepFiles) -> Iterator[tuple[Sweep, OccupancyGrid]]:
        """What the network says of each frame; what else is to be written of it is written at once."""
        pose = _Pose()
        past = PastSweeps(self._pipeline.contract, self._parameters, pose, lambda *_: None)
        for moment in moments:
            pose.fixed_from_grid = moment.fixed_from_grid
            if moment.begins_anew:
                past.start_over()
            frame = past(moment.frame, self._parameters)
            if not moment.wanted and self._parameters.memory == "none":  # an earlier sweep, and nothing more
                continue
            grid = replace(self._pipeline(frame), stage_ms={})  # times would make every run's files differ
            record = files.add_inputs(moment) if moment.wanted else {}
            bare = replace(moment.frame, cameras=())
            yield Sweep(bare, moment.fixed_from_grid, moment.wanted, moment.begins_anew, record), grid

    def _answered(self, predicted: Iterator[tuple[Sweep, OccupancyGrid]]) -> Iterator[tuple[Sweep, OccupancyGrid]]:
        """Wanted sweeps with their labels, in the order of time."""
        if not self._settings.hindsight:
            with self._memory(self._parameters) as answer:
                answers = ((sweep, answer(sweep, grid)) for sweep, grid in predicted)
                yield from ((sweep, self._relabeling(grid)) for sweep, grid in answers if sweep.wanted)
            return
        unknown = self._parameters.unknown
        parameters = replace(self._parameters, unknown="occluded" if unknown == "none" else unknown)
        for sweep, grid in with_hindsight(predicted, lambda: self._memory(parameters)):
            if unknown == "none":  # it was asked for to tell what is free from what is not known
                grid = replace(grid, labels=np.where(grid.labels == IGNORE, np.uint8(EMPTY), grid.labels))
            yield sweep, self._relabeling(grid)

    @contextmanager
    def _memory(self, parameters: NodeParameters) -> Iterator[Answer]:
        """Gives what answers frames one after another as the node would, beginning with an empty memory."""
        pose = _Pose()

        def answer(sweep: Sweep, predicted: OccupancyGrid) -> OccupancyGrid:
            pose.fixed_from_grid = sweep.fixed_from_grid
            if sweep.begins_anew:
                memory.start_over()
            return replace(memory(predicted, sweep.frame, parameters), stage_ms={})

        memory = FrameMemory(self._pipeline.contract, parameters, pose, lambda *_: None)
        try:
            yield answer
        finally:
            memory.close()


class _Pose:
    """Where the frame in work was, as the node's parts ask for it.

    Attributes:
        fixed_from_grid: (4, 4) float64, metres; None where it is not known.
    """

    def __init__(self) -> None:
        self.fixed_from_grid: np.ndarray | None = None

    def __call__(self, *_: SensorFrame | NodeParameters) -> np.ndarray:
        if self.fixed_from_grid is None:
            raise TransformError("no pose in the fixed frame")
        return self.fixed_from_grid


@contextmanager
def opened(recording: Recording, settings: Settings, copies: BagCopies) -> Iterator[BagFrames]:
    """The frames of a recording; a scene of nuScenes is made a bag first, for as long as it is read."""
    if not recording.scene:
        remote = "://" in recording.place
        with copies.opened(recording.place) if remote else nullcontext(Path(recording.place)) as path:
            yield BagFrames(path, settings.parameters, settings.every_ns)
        return
    from ..ros.tools.nuscenes_to_bag import convert_scene

    with tempfile.TemporaryDirectory(prefix="scene-") as folder:
        summary = convert_scene(_reader(Path(recording.place)), recording.scene, Path(folder), progress=False)
        yield BagFrames(summary.path, settings.parameters, settings.every_ns)


def span(recording: Recording, settings: Settings, copies: BagCopies, store: Store) -> tuple[int, int]:
    """Nanoseconds of a bag, see `BagFrames.span`; that of one by URL is kept, so that it is copied for it but once.

    Raises:
        OccFusionError: it cannot be read.
    """
    if "://" not in recording.place:
        with opened(recording, settings, copies) as frames:
            return frames.span()
    content = [RemoteBag(recording.place).key(), settings.parameters.clouds[0]]
    file = f"spans/{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}.json"
    if known := store.read(file):
        return tuple(json.loads(known))
    with opened(recording, settings, copies) as frames:
        found = frames.span()
    store.write(file, json.dumps(found).encode())
    return found


@lru_cache(maxsize=1)
def _reader(root: Path) -> Any:
    from ..datasets.nuscenes import NuScenesReader

    return NuScenesReader(root)


def done_file(part: Slice) -> str:
    """Name of the file that says that a slice is done."""
    return f"slices/{part.name}.json"


def done(store: Store, part: Slice) -> dict[str, Any] | None:
    """What became of a slice; None where it is not done, or with other settings."""
    content = store.read(done_file(part))
    record = json.loads(content) if content else {}
    return short(record) if record.get("fingerprint") == part.fingerprint else None


def short(record: dict[str, Any]) -> dict[str, Any]:
    """The figures of a slice's file, small enough to travel."""
    counts: dict[str, int] = {}
    for sweep in record["sweeps"]:
        for name, count in sweep["voxels"].items():
            counts[name] = counts.get(name, 0) + count
    return {
        "slice": record["slice"],
        "sweeps": len(record["sweeps"]),
        "dropped": len(record["dropped"]),
        "faults": record["faults"],
        "voxels": counts,
    }
