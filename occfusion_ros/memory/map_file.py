"""Memories as files: a compressed archive of numpy arrays with a header that is checked; nothing in it is executed.

An archive holds ``header``, JSON; ``known``, a bit for each voxel from the low corner, z fastest; and of each known
voxel ``evidence``, ``label`` and ``lead``, as in `volume`.
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..core.atomic import replacing
from ..core.errors import OccFusionError
from .memory import Memory, MemoryState
from .volume import MOST

FORMAT = 2
SUFFIX = ".npz"
VOXEL = ("evidence", "label", "lead")  # of each that is known
MAX_HEADER = 1 << 16  # bytes
FARTHEST = 1 << 40  # voxels from the fixed frame's origin
_DAMAGED = (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError)  # what readers raise


class MapError(OccFusionError):
    """A map that cannot be saved or loaded."""


def save_map(path: Path, memory: Memory, fixed_frame: str, classes: tuple[str, ...]) -> None:
    """Write what is remembered, whole or not at all.

    Args:
        path: a file that ends in .npz; its folder is made.
        memory: not in use meanwhile.
        fixed_frame: name of the frame that the volume stands still in.
        classes: names of the labels 1, 2, ...

    Raises:
        MapError: nothing is remembered, or `path` ends otherwise. WriteError: the file cannot be written.
    """
    _check_name(path)
    if not memory.state.frames:
        raise MapError("memory: nothing is remembered yet, so no map was written")
    known, voxels = memory.volume.content()
    header = _header(memory, fixed_frame, classes)
    header |= {"low": memory.volume.low.tolist(), "frames": memory.state.frames}
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(
            file,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            known=np.packbits(known),
            **dict(zip(VOXEL, voxels)),
        )


def load_map(path: Path, memory: Memory, fixed_frame: str, classes: tuple[str, ...]) -> None:
    """Have a memory take over a map in place of what it remembers; arguments as for `save_map`.

    Raises:
        MapError: it is no map, is damaged, or is of another grid, range, frame or model. The memory stays as it was.
    """
    _check_name(path)
    if not path.is_file():
        raise MapError(f"memory: there is no file {path}")
    volume, wanted = memory.volume, _header(memory, fixed_frame, classes)
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(_read(archive, "header", np.uint8, MAX_HEADER).tobytes())
            low, frames = _checked(path, header, wanted)
            count = int(np.prod(volume.size))
            packed = _read(archive, "known", np.uint8, -(-count // 8), exactly=True)
            known = np.unpackbits(packed, count=count).view(bool).reshape(volume.size)
            count = int(np.count_nonzero(known))
            voxels = np.stack([_read(archive, name, np.int8, count, exactly=True) for name in VOXEL])
    except _DAMAGED as error:
        raise MapError(f"memory: {path} is no map that can be read: {error}") from error
    evidence, label, lead = voxels
    whole = (-MOST <= evidence) & (evidence <= MOST) & (evidence != 0) & (lead >= 0) & (label <= len(classes))
    if not (whole & ((evidence > 0) == (label > 0))).all():
        raise MapError(f"memory: {path} is damaged: expected evidence and a label of every voxel")
    memory.reset("a map was loaded")
    volume.restore(low, known, voxels)
    memory.state = MemoryState(frames, resets=memory.state.resets, reset_reason=memory.state.reset_reason)


def _check_name(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise MapError(f"memory: expected a map file that ends in {SUFFIX}, got {str(path)!r}")


def _header(memory: Memory, fixed_frame: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """What must be the same where a map is saved and where it is loaded."""
    return {
        "format": FORMAT,
        "voxel_size": memory.volume.voxel_size,
        "size": list(memory.volume.size),
        "fixed_frame": fixed_frame,
        "classes": list(classes),
    }


def _checked(path: Path, header: Any, wanted: dict[str, Any]) -> tuple[np.ndarray, int]:
    """The low corner and the number of frames of a header that fits."""
    if not isinstance(header, dict):
        raise ValueError(f"expected a header, got {header!r:.100}")
    for name, value in wanted.items():
        if header.get(name) != value:
            hint = "; memory_range_m must be what it was" if name == "size" else ""
            raise MapError(f"memory: {path}: expected {name} {value}, got {header.get(name)!r:.200}{hint}")
    low, frames = header.get("low"), header.get("frames")
    whole = isinstance(low, list) and len(low) == 3 and all(type(v) is int and abs(v) < FARTHEST for v in low)
    if not whole or type(frames) is not int or not 0 < frames < FARTHEST:
        raise MapError(f"memory: {path}: expected low and frames, got {low!r:.100} and {frames!r:.100}")
    return np.array(low, np.int64), frames


def _read(archive: zipfile.ZipFile, name: str, dtype: type, most: int, exactly: bool = False) -> np.ndarray:
    """(N,) numbers of a member, read only once its own header claims no more than `most`."""
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name}: expected version 1.0 of the format, got {version}")
        shape, _, kind = np.lib.format.read_array_header_1_0(member)
        if kind != dtype or len(shape) != 1 or not 0 <= shape[0] <= most or (exactly and shape[0] != most):
            raise ValueError(f"{name}: expected {most} of {np.dtype(dtype)}, got {shape} of {kind}")
        data = member.read(shape[0])
    if len(data) != shape[0]:
        raise ValueError(f"{name}: expected {shape[0]} bytes, got {len(data)}")
    return np.frombuffer(data, dtype)
