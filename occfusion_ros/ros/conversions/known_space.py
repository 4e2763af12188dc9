"""Which voxels are unknown, and which are remembered, in the compact forms of OccupancyGrid3D."""

import numpy as np

from ...core.errors import InvalidFrameError
from ...core.grid import GridSpec
from .occupied_voxels import OccupiedVoxels

LONGEST = np.iinfo(np.uint16).max  # run


def runs_of(unknown: np.ndarray) -> np.ndarray:
    """Write (N,) bool as the lengths, uint16, of runs that take turns, beginning with False; none without a True."""
    if not unknown.any():
        return np.zeros(0, np.uint16)
    turns = np.empty(len(unknown), bool)
    turns[0] = unknown[0]
    np.not_equal(unknown[1:], unknown[:-1], out=turns[1:])
    return _split(np.diff(np.flatnonzero(turns), prepend=0, append=len(unknown)))


def _split(lengths: np.ndarray) -> np.ndarray:
    """The same runs as uint16; those that are too long are taken apart by runs of length 0 of the other kind."""
    extra = np.maximum(lengths - 1, 0) // LONGEST  # pieces before the last one of each run
    last = np.arange(len(lengths)) + 2 * np.cumsum(extra)  # where the last piece lies
    pieces = np.zeros(len(lengths) + 2 * extra.sum(), np.uint16)
    pieces[last] = lengths - extra * LONGEST
    before = np.arange(extra.sum()) - np.repeat(np.cumsum(extra) - extra, extra)  # 0, 1, ... within each run
    pieces[np.repeat(last, extra) - 2 * (1 + before)] = LONGEST
    return pieces


def unknown_from_runs(runs: np.ndarray, count: int) -> np.ndarray:
    """(count,) bool from the lengths, uint16, of one or more runs; the inverse of `runs_of`.

    Raises:
        InvalidFrameError: they are not of so many voxels.
    """
    total = int(runs.sum(dtype=np.uint64))
    if total != count:
        raise InvalidFrameError(f"occupancy: expected runs of {count} known and unknown voxels, got {total}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def remembered_bits(remembered: np.ndarray, voxels: OccupiedVoxels) -> np.ndarray:
    """A bit for each of the voxels, uint8 with the lowest bit first: set for those that are remembered; none without.

    Args:
        remembered: (M,) int64 flat voxels, z fastest.
    """
    if not len(remembered):
        return np.zeros(0, np.uint8)
    spec = voxels.spec
    marked = np.zeros(spec.num_voxels, bool)
    marked[spec.flat_x_fastest(np.stack(spec.unflatten(remembered), axis=1))] = True
    return np.packbits(marked[voxels.flat], bitorder="little")


def remembered_from_bits(bits: np.ndarray, flat: np.ndarray, spec: GridSpec) -> np.ndarray:
    """(M,) int64 ascending flat voxels, z fastest, of those whose bits are set; the inverse of `remembered_bits`.

    Args:
        bits: uint8, for the voxels `flat`, (N,), x fastest.

    Raises:
        InvalidFrameError: they are not of so many voxels.
    """
    if not len(bits):
        return np.zeros(0, np.int64)
    marked = np.unpackbits(bits, bitorder="little").view(bool)
    if len(bits) != -(-len(flat) // 8) or marked[len(flat) :].any():
        raise InvalidFrameError(
            f"occupancy: expected {len(flat)} bits of what is remembered in {-(-len(flat) // 8)} bytes, the rest of "
            f"the last one 0, got {len(bits)} bytes"
        )
    x, y, z = spec.unflatten_x_fastest(flat[marked[: len(flat)]]).T
    return np.sort(spec.flatten(x, y, z))
