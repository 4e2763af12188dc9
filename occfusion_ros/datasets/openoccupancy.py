"""OpenOccupancy's label files: one row for each voxel that is not empty.

``scene_<scene token>/occupancy/<LiDAR token>.npy`` holds rows [z, y, x, class] or, in some versions,
[z, y, x, vx, vy, vz, class] (velocity, not used here) of a 512 x 512 x 40 grid in the LiDAR frame. A voxel's center is
``low + (index + 0.5) * 0.2`` metres. Class 0 is noise (here 255, ignored); voxels without a row are empty. Source: the
repository JeffWang987/OpenOccupancy, ``pipelines/loading.py`` and ``docs/prepare_data.md``.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..core.atomic import replacing
from ..core.errors import DatasetError
from ..core.grid import GridSpec
from ..core.labels import EMPTY, IGNORE, NUM_LABELS

NOISE = 0  # the class that stands for 255 in a file


def row_file(root: Path, scene_token: str, lidar_token: str) -> Path:
    """Where a sweep's labels lie below the root of the labels."""
    return root / f"scene_{scene_token}" / "occupancy" / f"{lidar_token}.npy"


def read_rows(path: Path) -> np.ndarray:
    """Labels of a file, (512, 512, 40) uint8 in the LiDAR frame; 0 empty, 255 ignored."""
    rows = load_array(path)
    if rows.ndim != 2 or rows.shape[1] not in (4, 7) or rows.dtype.kind not in "iuf":
        raise DatasetError(f"{path}: expected rows of 4 or 7 numbers, got shape {rows.shape} {rows.dtype}")
    x, y, z, label = (rows[:, column] for column in (2, 1, 0, -1))
    size = GridSpec().size
    for values, limit in zip((x, y, z, label), (*size, NUM_LABELS)):
        if not ((values >= 0) & (values < limit) & (values == np.floor(values))).all():
            raise DatasetError(
                f"{path}: expected whole indices below {size} and classes below {NUM_LABELS}, got others"
            )
    voxels = np.ravel_multi_index([axis.astype(np.intp) for axis in (x, y, z)], size)
    return vote(voxels, np.where(label == NOISE, IGNORE, label))


def write_rows(path: Path, labels: np.ndarray) -> None:
    """Write labels, (512, 512, 40) uint8, as rows, all or nothing."""
    rows = rows_of(check_labels(labels, path))
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, rows)


def rows_of(labels: np.ndarray) -> np.ndarray:
    """Rows [z, y, x, class], (N, 4) int16, of labels (X, Y, Z) uint8."""
    at = np.flatnonzero(labels)  # int64 of all voxels at once would take half a gigabyte
    x, y, z = np.unravel_index(at, labels.shape)
    rows = np.stack([z, y, x, labels.reshape(-1)[at]], axis=1).astype(np.int16)
    rows[rows[:, 3] == IGNORE, 3] = NOISE
    return rows


def check_labels(labels: np.ndarray, path: Path) -> np.ndarray:
    """The labels, (512, 512, 40) uint8 with 0 to 16 or 255; `path` is where they come from or go to."""
    size = GridSpec().size
    if labels.dtype != np.uint8 or labels.shape != size:
        raise DatasetError(f"{path}: expected uint8 {size}, got {labels.dtype} {labels.shape}")
    if ((labels >= NUM_LABELS) & (labels != IGNORE)).any():
        raise DatasetError(f"{path}: expected classes below {NUM_LABELS} or {IGNORE}, got others")
    return labels


def load_array(path: Path, key: str | None = None) -> np.ndarray:
    """The array of a ``.npy``, or the one named `key` of a ``.npz``."""
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if key is None else loaded[key]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


def vote(voxels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Grid of labels, (512, 512, 40) uint8, from (N,) int64 flat voxel indices and (N,) labels from 1 to 255.

    A voxel that is named several times gets its most frequent label and of equally frequent ones the lowest, as in
    OpenOccupancy; one that is not named is empty.
    """
    grid = np.full(GridSpec().size, EMPTY, np.uint8)
    cells = grid.reshape(-1)
    cells[voxels] = labels
    if np.count_nonzero(cells) == len(voxels):
        return grid
    keys, counts = np.unique(voxels * 256 + labels.astype(np.int64), return_counts=True)
    order = np.lexsort((-keys, counts))  # of writes to one voxel the last stays
    cells[keys[order] // 256] = keys[order] % 256
    return grid
