"""Frames of one stamp: of all that they say of a voxel the strongest counts, once, whichever of them comes first.

Evidence that ends at a limit, votes and what moves depend on the order in which frames are added. So every frame notes
what the voxels that it changes were before. Another one of the same stamp starts from there, and each voxel is left to
whichever of the two says more of it: neither their order matters, nor that a frame comes twice.

A note is a uint64: the voxel's place in memory, what is said of it, and the three bytes that it had.
"""

import numpy as np
from numba import njit

from .columns import DEPTH, KNOWN, OCCUPIED, SETTLED, bit
from .volume import EVIDENCE, LABEL, LEAD, MOST

PREDICTED, PASSED, RETURNED = 1, 2, 3  # what a frame says of a voxel, the strongest last
BYTES, PLACE = 24, 34  # bits below what is said, and below the place
_BYTES, _PLACE = np.uint64(BYTES), np.uint64(PLACE)


@njit(nogil=True, cache=True)
def note(size, x, y, z, strength, label, evidence, before, lead):
    """Give the note of a voxel.

    Args:
        size: of the volume. x, y, z: its place in memory.
        strength, label: what is said of it; label 0: that it is free.
        evidence, before, lead: the bytes that it had, all 0 where nothing was known.
    """
    said = np.uint64(strength) << np.uint64(8) | np.uint64(label)
    had = np.uint64(evidence & 255) << np.uint64(16) | np.uint64(before) << np.uint64(8) | np.uint64(lead)
    return np.uint64((x * size[1] + y) * DEPTH + z) << _PLACE | said << _BYTES | had


@njit(nogil=True, cache=True)
def put(voxels, words, notes):
    """Give voxels of the volume the bytes in their notes, (N,) uint64; their bits follow."""
    for entry in notes:
        place = np.int64(entry >> _PLACE)
        column, z = place // DEPTH, place % DEPTH
        x, y, here = column // words.shape[1], column % words.shape[1], bit(z)
        evidence = np.int8(np.uint8(entry >> np.uint64(16) & np.uint64(255)))
        voxels[x, y, EVIDENCE, z] = evidence
        voxels[x, y, LABEL, z] = np.int8(np.uint8(entry >> np.uint64(8) & np.uint64(255)))
        voxels[x, y, LEAD, z] = np.int8(entry & np.uint64(127))
        for kind, so in ((OCCUPIED, evidence > 0), (KNOWN, evidence != 0), (SETTLED, evidence == -MOST)):
            words[x, y, kind] = words[x, y, kind] | here if so else words[x, y, kind] & ~here


def as_now(voxels: np.ndarray, words: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Give the notes with the bytes that their voxels have now, for `put` to bring them back."""
    column, z = np.divmod((notes >> _PLACE).astype(np.int64), DEPTH)
    at = *np.divmod(column, words.shape[1]), slice(None), z
    evidence, label, lead = voxels[at].view(np.uint8).astype(np.uint64).T
    return notes >> _BYTES << _BYTES | evidence << np.uint64(16) | label << np.uint64(8) | lead


def strongest(earlier: np.ndarray, later: np.ndarray) -> np.ndarray:
    """Give for each voxel of which there is a note the one that says most, by place; the bytes in them are the same."""
    notes = np.sort(np.concatenate([earlier, later]))
    places = notes >> _PLACE
    return notes[np.append(places[1:] != places[:-1], True)[: len(notes)]]
