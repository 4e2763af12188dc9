"""The volume of remembered voxels: it rolls along with the vehicle by whole voxels, so nothing is ever resampled.

A voxel takes three bytes: evidence for being occupied (positive) or free (negative), in units of a sixteenth of a
log-odds; the label that leads; and by how many frames it leads the others, by majority vote (Boyer and Moore,
"MJRTY: A Fast Majority Vote Algorithm", 1981). No evidence means that nothing is known. Bits beside them say where
evidence is positive, where there is any, and where no more can be added, so that most of the volume need not be looked
at. It is 64 voxels high, of which the bits fit into a word.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from .columns import (
    DEPTH,
    bit,
    column_start,
    column_steps,
    lowest,
    outline,
    pack,
    reach,
    run_at,
    shifted_down,
    span,
    turned_up,
    unpack,
    wrapped,
)

EVIDENCE, LABEL, LEAD = 0, 1, 2  # of a voxel's three bytes
OCCUPIED, KNOWN, SETTLED = 0, 1, 2  # of a column's three words
IS_MOVABLE, IS_FLAT, IS_THING = 1, 2, 4  # of a label
MOST = 64  # units; evidence ends there on both sides: 4 log-odds


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


class RollingVolume:
    """Evidence, labels and leads of voxels that stand still in the fixed frame.

    All arrays are rings: a voxel keeps its place in memory for as long as it is in the volume.

    Attributes:
        size: voxels along x, y and z; 64 along z.
        voxel_size: metres.
        low: (3,) int64, the low corner in voxels from the fixed frame's origin.
        voxels: (X, Y, 3, 64) int8: evidence of what is known; label (as uint8) and lead, 0 to 127, of voxels that
            are occupied. What they hold of others means nothing.
        words: (X, Y, 3) uint64 bits: evidence is positive; there is any; it is free, and cannot be more so.
    """

    def __init__(self, wide: int, voxel_size: float) -> None:
        """
        Args:
            wide: voxels along x and y. voxel_size: metres.
        """
        self.size = (wide, wide, DEPTH)
        self.voxel_size = voxel_size
        self.low = np.zeros(3, np.int64)
        self.voxels = np.zeros((wide, wide, 3, DEPTH), np.int8)
        self.words = np.zeros((wide, wide, 3), np.uint64)

    @property
    def offset(self) -> np.ndarray:
        """(3,) int64: where the low corner lies in memory."""
        return self.low % self.size

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the volume takes."""
        return self.voxels.nbytes + self.words.nbytes

    def clear(self) -> None:
        """Forget everything."""
        self.words[:] = 0

    def content(self) -> tuple[np.ndarray, np.ndarray]:
        """Give what is known, (X, Y, Z) bool from the low corner, and the bytes of those voxels, (3, N) int8."""
        back = tuple((-self.offset).tolist())
        known, full = (np.roll(unpack(self.words[..., k], DEPTH), back, (0, 1, 2)) for k in (KNOWN, OCCUPIED))
        voxels = np.stack([np.roll(self.voxels[:, :, k], back, (0, 1, 2))[known] for k in (EVIDENCE, LABEL, LEAD)])
        voxels[1:] *= full[known]
        return known, voxels

    def restore(self, low: np.ndarray, known: np.ndarray, voxels: np.ndarray) -> None:
        """Take over what `content` gave of a volume of this size with its low corner at `low`."""
        self.low = low
        for k, values in enumerate(voxels):
            dense = np.zeros(self.size, np.int8)
            dense[known] = values
            self.voxels[:, :, k] = np.roll(dense, tuple(self.offset.tolist()), (0, 1, 2))
        evidence = self.voxels[:, :, EVIDENCE]
        for k, flags in enumerate((evidence > 0, evidence != 0, evidence == -MOST)):
            self.words[..., k] = pack(flags)

    def center_on(self, position: np.ndarray) -> None:
        """Roll so that a position, (3,) metres in the fixed frame, is in the middle; what leaves is forgotten."""
        low = np.round(position / self.voxel_size).astype(np.int64) - np.asarray(self.size) // 2
        for axis, (old, new) in enumerate(zip(self.low, low)):
            if abs(new - old) >= self.size[axis]:
                self.clear()
            elif new != old:
                first = old if new > old else new
                self._forget(axis, np.arange(first, first + abs(new - old)) % self.size[axis])
        self.low = low

    def _forget(self, axis: int, places: np.ndarray) -> None:
        """Empty the slices at these places in memory."""
        if axis < 2:
            np.moveaxis(self.words, axis, 0)[places] = 0
        else:
            self.words &= ~np.bitwise_or.reduce(np.uint64(1) << places.astype(np.uint64))

    def volume_from_fixed(self) -> np.ndarray:
        """(4, 4) float64: metres in the fixed frame to voxels from the low corner."""
        matrix = np.eye(4)
        matrix[:3, :3] /= self.voxel_size
        matrix[:3, 3] = -self.low
        return matrix


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
    """
    size, grid, steps, turn = passed.shape, own.shape, column_steps(grid_from_volume), offset[2]
    around = outline(own, np.zeros(3, np.int64), steps, DEPTH)
    for vx in range(start, end):
        x = wrapped(vx + offset[0], size[0])
        for vy in range(size[1]):
            y = wrapped(vy + offset[1], size[1])
            column, claims, rays = column_start(grid_from_volume, vx, vy), np.uint64(0), passed[vx, vy]
            first, last = reach(around, column, steps, DEPTH)
            while first < last:
                gx, gy, up, after = run_at(column, steps, first, last)
                if 0 <= gx < grid[0] and 0 <= gy < grid[1] and own[gx, gy]:
                    some = shifted_down(own[gx, gy], up) & span(first, after)
                    if some:
                        claims |= some
                        hits = returned[vx, vy]
                        _add_predicted(voxels, words, x, y, turn, some, labels, gx, gy, up, rays, hits, kinds, gains)
                first = after
            claimed[vx, vy] = claims
            free = turned_up(rays & ~claims, turn) & ~words[x, y, SETTLED]
            if free:
                _add_free(voxels, words, x, y, free, kinds, gains[2])


@njit(nogil=True, cache=True)
def _add_predicted(voxels, words, x, y, turn, some, labels, gx, gy, up, passed, returned, kinds, gains):
    """Add what a frame says of the voxels of a column that it predicts to be occupied.

    What moves takes a voxel over and leaves it at once; what stands still gathers evidence and votes.

    Args:
        x, y: place of the column in the volume's memory. turn: of its ring.
        some: uint64, bits of the voxels from the low corner. passed, returned: bits of the sweep's rays like them.
        gx, gy: the column of `labels` that says it. up: a voxel's place in it less its place from the low corner.
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
            gain = gains[0]
        elif passed & at and not kinds[label] & IS_FLAT:
            gain = gains[2]
        else:
            gain = gains[1]
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


@njit(nogil=True, cache=True)
def _add_free(voxels, words, x, y, free, kinds, gain):
    """Add that rays passed voxels of a column, uint64 bits as in its ring, which the frame does not claim."""
    occupied, known, settled = words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED]
    while free:
        z = lowest(free)
        here = bit(z)
        free &= ~here
        evidence = gain
        if known & here and not (occupied & here and kinds[np.uint8(voxels[x, y, LABEL, z])] & IS_MOVABLE):
            evidence = max(-MOST, voxels[x, y, EVIDENCE, z] + gain)
        voxels[x, y, EVIDENCE, z] = evidence
        if evidence <= 0:
            occupied &= ~here
        known = known | here if evidence != 0 else known & ~here
        if evidence == -MOST:
            settled |= here
    words[x, y, OCCUPIED], words[x, y, KNOWN], words[x, y, SETTLED] = occupied, known, settled


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
