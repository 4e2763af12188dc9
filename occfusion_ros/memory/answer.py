"""A frame's answer from its own prediction and the volume, column by column."""

import numpy as np
from numba import njit

from ..core.labels import IGNORE
from .columns import (
    ALL,
    DEPTH,
    KNOWN,
    OCCUPIED,
    bit,
    column_start,
    column_steps,
    highest,
    lowest,
    outline,
    reach,
    run_at,
    shifted_down,
    span,
    turned_down,
    wrapped,
)
from .evidence import IS_FLAT, IS_MOVABLE, IS_THING
from .volume import LABEL

NONE, NOT_REACHED, IN_DOUBT = 0, 1, 2  # which voxels become unknown


@njit(nogil=True, cache=True)
def answer(
    out, own, returned, volume_from_grid, voxels, words, offset, claimed, passed, start, end, kinds, show, unknown
):
    """Correct what a frame predicts, fill it with what is remembered, and mark what is not known.

    A voxel is looked up where its center lies. What the frame predicts is answered as free where that was seen, but
    not where its own sweep returned, nor flat ground, which rays graze; else by the vote, things aside. What is
    remembered fills voxels that the frame does not claim, if in a neighbor, where the two are turned to each other.

    Args:
        out: (X, Y, Z) uint8, the predicted labels; slices x of a range are changed in place.
        own, returned: (X, Y) uint64, bits of the grid: predicted occupied; with a return.
        volume_from_grid: (4, 4) float64, both in voxels from their low corners.
        voxels, words, offset: of the volume. claimed, passed: (X, Y) uint64, bits of it from its low corner.
        kinds: (256,) uint8, what labels are.
        show: whether what is movable may be filled in.
        unknown: `NONE`; `NOT_REACHED`: empty voxels of which nothing is known become IGNORE; `IN_DOUBT`: those that are
            predicted as IGNORE stay so only there, and are free elsewhere.

    Returns:
        (M,) int64, flat voxels that were filled, ascending, z fastest.
    """
    filled, count, nowhere = np.empty(1 << 16, np.int64), 0, np.zeros(3, np.int64)
    size, depth, steps = passed.shape, out.shape[2], column_steps(volume_from_grid)
    around = outline(words[:, :, KNOWN if unknown else OCCUPIED], offset, steps, depth)
    if unknown:
        around |= outline(passed, nowhere, steps, depth)
    for gx in range(start, end):
        for gy in range(out.shape[1]):
            if count + depth > len(filled):
                filled = np.append(filled, np.empty(len(filled), np.int64))
            column = column_start(volume_from_grid, gx, gy)
            first, last = reach(around, column, steps, depth)
            if own[gx, gy]:
                first, last = min(first, lowest(own[gx, gy])), max(last, highest(own[gx, gy]) + 1)
            dark = ALL if first >= last else ~span(first, last)
            while first < last:
                vx, vy, up, after = run_at(column, steps, first, last)
                here = span(first, after)
                if 0 <= vx < size[0] and 0 <= vy < size[1]:
                    x, y, turn = wrapped(vx + offset[0], size[0]), wrapped(vy + offset[1], size[1]), up + offset[2]
                    full, any_ = (
                        turned_down(words[x, y, OCCUPIED], offset[2]),
                        turned_down(words[x, y, KNOWN], offset[2]),
                    )
                    free = shifted_down(any_ & ~full, up) & here & own[gx, gy]
                    if free:
                        _correct(out, gx, gy, free & ~returned[gx, gy], kinds)
                    full = shifted_down(full, up) & here
                    if full & own[gx, gy]:
                        _name(out, gx, gy, full & own[gx, gy], voxels, x, y, turn, kinds)
                    full &= ~(own[gx, gy] | shifted_down(claimed[vx, vy], up))
                    if full:
                        count = _fill(out, gx, gy, full, voxels, x, y, turn, kinds, show, filled, count)
                    here &= ~shifted_down(any_ | passed[vx, vy], up)
                dark |= here
                first = after
            if unknown == NOT_REACHED and dark & ~own[gx, gy]:
                _mark(out, gx, gy, dark & ~own[gx, gy])
            elif unknown == IN_DOUBT and ~dark & ~own[gx, gy]:
                _settle(out, gx, gy, dark)
    return filled[:count]


@njit(nogil=True, cache=True)
def _correct(out, gx, gy, some, kinds):
    """Answer some voxels of a column as free, but for flat ground. `out` is (Z,) uint8; `some` uint64 bits of it."""
    while some:
        z = lowest(some)
        some &= ~bit(z)
        if not kinds[out[gx, gy, z]] & IS_FLAT:
            out[gx, gy, z] = 0


@njit(nogil=True, cache=True)
def _name(out, gx, gy, some, voxels, x, y, turn, kinds):
    """Name some voxels of a column as remembered: `labels` (64,), whose places are those of `out` and `turn`."""
    while some:
        z = lowest(some)
        some &= ~bit(z)
        remembered = np.uint8(voxels[x, y, LABEL, (z + turn) & (DEPTH - 1)])
        if not (kinds[out[gx, gy, z]] & IS_THING or kinds[remembered] & IS_MOVABLE):
            out[gx, gy, z] = remembered


@njit(nogil=True, cache=True)
def _fill(out, gx, gy, some, voxels, x, y, turn, kinds, show, filled, count):
    """Fill some voxels of a column, where empty; their flat places, from `flat` on, go to `filled` from `count` on."""
    while some:
        z = lowest(some)
        some &= ~bit(z)
        remembered = np.uint8(voxels[x, y, LABEL, (z + turn) & (DEPTH - 1)])
        if show or not kinds[remembered] & IS_MOVABLE:
            out[gx, gy, z] = remembered
            filled[count] = (np.int64(gx) * out.shape[1] + gy) * out.shape[2] + z
            count += 1
    return count


@njit(nogil=True, cache=True)
def _mark(out, gx, gy, some):
    """Make some voxels of a column unknown."""
    for z in range(out.shape[2]):  # without a branch, so that many are done at once
        out[gx, gy, z] = IGNORE if some >> np.uint64(z) & np.uint64(1) else out[gx, gy, z]


@njit(nogil=True, cache=True)
def _settle(out, gx, gy, dark):
    """Make voxels of a column free that are in doubt, but for those that are dark."""
    for z in range(out.shape[2]):
        known = out[gx, gy, z] == IGNORE and not dark >> np.uint64(z) & np.uint64(1)
        out[gx, gy, z] = 0 if known else out[gx, gy, z]
