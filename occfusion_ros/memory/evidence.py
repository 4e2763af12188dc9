"""What a frame adds to the volume, column by column, and what time takes away."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..core.labels import FLAT_GROUND, MOVABLE, THINGS
from .columns import (
    DEPTH,
    KNOWN,
    OCCUPIED,
    SETTLED,
    bit,
    column_start,
    column_steps,
    lowest,
    outline,
    reach,
    run_at,
    shifted_down,
    span,
    turned_up,
    wrapped,
)
from .equal_stamps import PASSED, PREDICTED, RETURNED, note
from .volume import EVIDENCE, LABEL, LEAD, MOST

IS_MOVABLE, IS_FLAT, IS_THING = 1, 2, 4  # of a label


@dataclass(frozen=True)
class Gains:
    """Evidence that one frame gives a voxel, in units; found on one LiDAR drive and one with cameras.

    Attributes:
        returned: something returned from it, and the network says that it is occupied.
        predicted: the network says so, and no ray came there.
        passed: rays passed it; where the network says that it is occupied all the same, flat ground aside: rays that
            graze the road pass voxels that hold it, between the rings of returns.
    """

    returned: int = 48
    predicted: int = 8
    passed: int = -12


def _kinds() -> np.ndarray:
    kinds = np.zeros(256, np.uint8)
    for kind, labels in ((IS_MOVABLE, MOVABLE), (IS_FLAT, FLAT_GROUND), (IS_THING, THINGS)):
        kinds[list(labels)] |= kind
    return kinds


KINDS = _kinds()
GAINS = np.array([Gains.returned, Gains.predicted, Gains.passed])


@njit(nogil=True, cache=True)
def add(voxels, words, offset, labels, own, grid_from_volume, passed, returned, claimed, start, end, kinds, gains):
    """Add what a frame says: of the voxels that it predicts to be occupied, and of those that its rays passed.

    A voxel of the volume is claimed as occupied by the frame where its center lies in a voxel that is predicted so.

    Args:
        voxels, words, offset: of the volume, in which slices x of a range, from the low corner, are changed.
        labels: (X, Y, Z) uint8, predicted. own: (X, Y) uint64, bits of the grid: which are occupied.
        grid_from_volume: (4, 4) float64, both in voxels from their low corners.
        passed, returned: (X, Y) uint64, bits of the sweep in the volume, from its low corner.
        claimed: like them; written.
        kinds: (256,) uint8, what labels are. gains: (3,) int64 of `Gains`.

    Returns:
        (M,) uint64, notes of the voxels that were changed, see `equal_stamps`.
    """
    notes, count = np.empty(1 << 16, np.uint64), 0
    size, grid, steps, turn = passed.shape, own.shape, column_steps(grid_from_volume), offset[2]
    around = outline(own, np.zeros(3, np.int64), steps, DEPTH)
    for vx in range(start, end):
        x = wrapped(vx + offset[0], size[0])
        for vy in range(size[1]):
            y = wrapped(vy + offset[1], size[1])
            if count + DEPTH > len(notes):
                notes = np.append(notes, np.empty(len(notes), np.uint64))
            column, claims, rays = column_start(grid_from_volume, vx, vy), np.uint64(0), passed[vx, vy]
            first, last = reach(around, column, steps, DEPTH)
            while first < last:
                gx, gy, up, after = run_at(column, steps, first, last)
                if 0 <= gx < grid[0] and 0 <= gy < grid[1] and own[gx, gy]:
                    some = shifted_down(own[gx, gy], up) & span(first, after)
                    if some:
                        claims |= some
                        hits = returned[vx, vy]
                        count = _add_predicted(
                            voxels, words, x, y, turn, some, labels, gx, gy, up, rays, hits, kinds, gains, notes, count
                        )
                first = after
            claimed[vx, vy] = claims
            free = turned_up(rays & ~claims, turn) & ~words[x, y, SETTLED]
            if free:
                count = _add_free(voxels, words, x, y, free, kinds, gains[2], notes, count)
    return notes[:count]


@njit(nogil=True, cache=True)
def _add_predicted(voxels, words, x, y, turn, some, labels, gx, gy, up, passed, returned, kinds, gains, notes, count):
    """Add what a frame says of the voxels of a column that it predicts to be occupied.

    What moves takes a voxel over and leaves it at once; what stands still gathers evidence and votes.

    Args:
        x, y: place of the column in the volume's memory. turn: of its ring.
        some: uint64, bits of the voxels from the low corner. passed, returned: bits of the sweep's rays like them.
        gx, gy: the column of `labels` that says it. up: a voxel's place in it less its place from the low corner.
        notes: (N,) uint64, to be written from `count` on.

    Returns:
        How many notes there are.
    """
    occupied, known, settled = words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED]
    while some:
        place = lowest(some)
        at = bit(place)
        some &= ~at
        z = (place + turn) & (DEPTH - 1)
        here, label, evidence, before, lead = bit(z), np.int64(labels[gx, gy, place + up]), 0, 0, 0
        if known & here:
            evidence = np.int64(voxels[x, y, EVIDENCE, z])
        if occupied & here:
            before, lead = np.int64(np.uint8(voxels[x, y, LABEL, z])), np.int64(voxels[x, y, LEAD, z])
        if returned & at:
            gain, strength = gains[0], RETURNED
        elif passed & at and not kinds[label] & IS_FLAT:
            gain, strength = gains[2], PASSED
        else:
            gain, strength = gains[1], PREDICTED
        notes[count] = note(words.shape, x, y, z, strength, label, evidence, before, lead)
        count += 1
        if gain > 0 and (kinds[label] | kinds[before]) & IS_MOVABLE:  # someone came, or went
            evidence, lead, before = MOST if kinds[label] & IS_MOVABLE else gain, 1, label
        elif gain < 0 and kinds[before] & IS_MOVABLE:  # it is not there any more
            evidence = gain
        else:
            evidence = max(-MOST, min(MOST, evidence + gain))
            if before == label:
                lead = min(127, lead + 1)
            elif before and lead:
                lead -= 1
            else:
                before, lead = label, 1
        voxels[x, y, EVIDENCE, z], voxels[x, y, LABEL, z], voxels[x, y, LEAD, z] = evidence, before, lead
        occupied = occupied | here if evidence > 0 else occupied & ~here
        known = known | here if evidence != 0 else known & ~here
        settled = settled | here if evidence == -MOST else settled & ~here
    words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED] = occupied, known, settled
    return count


@njit(nogil=True, cache=True)
def _add_free(voxels, words, x, y, free, kinds, gain, notes, count):
    """Add that rays passed voxels of a column, uint64 bits as in its ring, which the frame does not claim."""
    occupied, known, settled = words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED]
    while free:
        z = lowest(free)
        here = bit(z)
        free &= ~here
        evidence, before, lead = np.int64(0), np.int64(0), np.int64(0)
        if known & here:
            evidence = np.int64(voxels[x, y, EVIDENCE, z])
        if occupied & here:
            before, lead = np.int64(np.uint8(voxels[x, y, LABEL, z])), np.int64(voxels[x, y, LEAD, z])
        notes[count] = note(words.shape, x, y, z, PASSED, 0, evidence, before, lead)
        count += 1
        evidence = gain if kinds[before] & IS_MOVABLE else max(-MOST, evidence + gain)
        voxels[x, y, EVIDENCE, z] = evidence
        if evidence <= 0:
            occupied &= ~here
        known = known | here if evidence != 0 else known & ~here
        if evidence == -MOST:
            settled |= here
    words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED] = occupied, known, settled
    return count


@njit(nogil=True, cache=True)
def fade(voxels, words, start, end, units, movable_units, kinds):
    """Take units of evidence from all voxels in the slices x of a range of memory, towards nothing known."""
    for x in range(start, end):
        for y in range(words.shape[1]):
            occupied, known, settled = words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED]
            left = known
            while left:
                z = lowest(left)
                here = bit(z)
                left &= ~here
                evidence, less = np.int64(voxels[x, y, EVIDENCE, z]), units
                if occupied & here and kinds[np.uint8(voxels[x, y, LABEL, z])] & IS_MOVABLE:
                    less = movable_units
                faded = max(0, evidence - less) if evidence > 0 else min(0, evidence + less)
                voxels[x, y, EVIDENCE, z] = faded
                if faded == 0:
                    known, occupied = known & ~here, occupied & ~here
                if faded != -MOST:
                    settled &= ~here
            words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED] = occupied, known, settled
