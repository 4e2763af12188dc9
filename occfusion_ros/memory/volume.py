"""The volume of remembered voxels: it rolls along with the vehicle by whole voxels, so nothing is ever resampled.

A voxel takes three bytes: evidence for being occupied (positive) or free (negative), in units of a sixteenth of a
log-odds; the label that leads; and by how many frames it leads the others, by majority vote (Boyer and Moore,
"MJRTY: A Fast Majority Vote Algorithm", 1981). No evidence means that nothing is known. Bits beside them say where
evidence is positive, where there is any, and where no more can be added, so that most of the volume need not be looked
at.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

from .bits import WORD, at_bit, pack, unpack, words_of, wrapped

EVIDENCE, LABEL, LEAD = 0, 1, 2  # of a voxel's three bytes
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
        size: voxels along x, y and z.
        voxel_size: metres.
        low: (3,) int64, the low corner in voxels from the fixed frame's origin.
        voxels: (X, Y, Z, 3) int8: evidence, label (as uint8) and lead.
        occupied, known, settled: (X, Y, W) uint64 bits: evidence is positive; there is any; it is free, and cannot be
            more so.
    """

    def __init__(self, size: tuple[int, int, int], voxel_size: float) -> None:
        self.size = size
        self.voxel_size = voxel_size
        self.low = np.zeros(3, np.int64)
        self.voxels = np.zeros((*size, 3), np.int8)
        self.occupied = np.zeros(words_of(size), np.uint64)
        self.known = np.zeros(words_of(size), np.uint64)
        self.settled = np.zeros(words_of(size), np.uint64)

    @property
    def offset(self) -> np.ndarray:
        """(3,) int64: where the low corner lies in memory."""
        return self.low % self.size

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the volume takes."""
        return sum(part.nbytes for part in self._parts)

    @property
    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.voxels, self.occupied, self.known, self.settled

    def clear(self) -> None:
        """Forget everything."""
        for part in self._parts:
            part[:] = 0

    def content(self) -> tuple[np.ndarray, np.ndarray]:
        """Give what is known, (X, Y, Z) bool from the low corner, and the bytes of those voxels, (N, 3) int8."""
        back = tuple((-self.offset).tolist())
        known = np.roll(unpack(self.known, self.size[2]), back, (0, 1, 2))
        return known, np.roll(self.voxels, back, (0, 1, 2))[known]

    def restore(self, low: np.ndarray, known: np.ndarray, voxels: np.ndarray) -> None:
        """Take over what `content` gave of a volume of this size with its low corner at `low`."""
        self.low = low
        dense = np.zeros_like(self.voxels)
        dense[known] = voxels
        self.voxels[:] = np.roll(dense, tuple(self.offset.tolist()), (0, 1, 2))
        evidence = self.voxels[..., EVIDENCE]
        self.occupied[:], self.known[:], self.settled[:] = map(pack, (evidence > 0, evidence != 0, evidence == -MOST))

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
        index: list = [slice(None)] * 3
        index[axis] = places
        self.voxels[tuple(index)] = 0
        for bits in self._parts[1:]:
            if axis < 2:
                bits[tuple(index)] = 0
            else:
                for word in range(bits.shape[2]):
                    gone = sum(1 << int(z % WORD) for z in places if z // WORD == word)
                    bits[:, :, word] &= np.uint64(~gone & (1 << WORD) - 1)

    def volume_from_fixed(self) -> np.ndarray:
        """(4, 4) float64: metres in the fixed frame to voxels from the low corner."""
        matrix = np.eye(4)
        matrix[:3, :3] /= self.voxel_size
        matrix[:3, 3] = -self.low
        return matrix


@njit(nogil=True, cache=True)
def add_predicted(
    voxels,
    occupied,
    known,
    settled,
    offset,
    targets,
    rows,
    start,
    end,
    labels,
    passed,
    returned,
    claimed,
    movable,
    flat,
    gains,
):
    """Add what a frame says of the voxels that it predicts to be occupied.

    What moves takes a voxel over and leaves it at once; what stands still gathers evidence and votes.

    Args:
        voxels, occupied, known, settled, offset: of the volume.
        targets: (M, 3) int32 voxels from the low corner, each once; rows: (M,) int32 of `labels`.
        start, end: only targets with such x are added, so that several threads may share the work.
        labels: (N,) uint8, predicted.
        passed, returned: (X, Y, W) uint64 bits of the sweep, rings along z.
        claimed: (X, Y, W) uint64, a ring along z; bits of the targets are set.
        movable, flat: (256,) bool by label.
        gains: (3,) int64 of `Gains`.
    """
    size = voxels.shape
    for i in range(len(targets)):
        vx, vy, vz = targets[i]
        if not start <= vx < end:
            continue
        x, y, z = wrapped(vx + offset[0], size[0]), wrapped(vy + offset[1], size[1]), wrapped(vz + offset[2], size[2])
        label = labels[rows[i]]
        claimed[vx, vy, z >> 6] |= np.uint64(1) << np.uint64(z & 63)
        before, evidence = np.uint8(voxels[x, y, z, LABEL]), np.int64(voxels[x, y, z, EVIDENCE])
        if at_bit(returned, vx, vy, z):
            gain = gains[0]
        elif at_bit(passed, vx, vy, z) and not flat[label]:
            gain = gains[2]
        else:
            gain = gains[1]
        if gain > 0 and (movable[label] or movable[before]):  # someone came, or went
            evidence, lead, before = MOST if movable[label] else gain, 1, label
        elif gain < 0 and movable[before] and evidence > 0:  # it is not there any more
            evidence, lead, before = gain, 0, np.uint8(0)
        else:
            evidence = max(-MOST, min(MOST, evidence + gain))
            lead = np.int64(voxels[x, y, z, LEAD])
            if before == label:
                lead = min(127, lead + 1)
            elif before and lead:
                lead -= 1
            else:
                before, lead = label, 1
        _write(voxels, occupied, known, settled, x, y, z, evidence, before, lead)


@njit(nogil=True, cache=True)
def add_free(voxels, occupied, known, settled, offset, passed, claimed, start, end, movable, gain):
    """Add what a frame says of voxels that rays passed and that it does not claim, in the slices x of a range.

    Args:
        passed, claimed: (X, Y, W) uint64 bits, rings along z. gain: negative, of `Gains`.
    """
    size = voxels.shape
    for vx in range(start, end):
        x = wrapped(vx + offset[0], size[0])
        for vy in range(size[1]):
            y = wrapped(vy + offset[1], size[1])
            for w in range(passed.shape[2]):
                word, z = passed[vx, vy, w] & ~claimed[vx, vy, w] & ~settled[x, y, w], w << 6
                while word:
                    if not word & np.uint64(0xFF):
                        word >>= np.uint64(8)
                        z += 8
                        continue
                    if word & np.uint64(1):
                        evidence, label = np.int64(voxels[x, y, z, EVIDENCE]), np.uint8(voxels[x, y, z, LABEL])
                        evidence = gain if movable[label] and evidence > 0 else max(-MOST, evidence + gain)
                        if evidence > 0:
                            voxels[x, y, z, EVIDENCE] = evidence
                        else:
                            _write(voxels, occupied, known, settled, x, y, z, evidence, np.uint8(0), 0)
                    word >>= np.uint64(1)
                    z += 1


@njit(nogil=True, cache=True)
def fade(voxels, occupied, known, settled, start, end, units, movable_units, movable):
    """Take units of evidence from all voxels in the slices x of a range of memory, towards nothing known."""
    for x in range(start, end):
        for y in range(known.shape[1]):
            for w in range(known.shape[2]):
                word, z = known[x, y, w], w << 6
                while word:
                    if word & np.uint64(1):
                        label, evidence = np.uint8(voxels[x, y, z, LABEL]), np.int64(voxels[x, y, z, EVIDENCE])
                        less = movable_units if movable[label] else units
                        evidence = max(0, evidence - less) if evidence > 0 else min(0, evidence + less)
                        lead = np.int64(voxels[x, y, z, LEAD]) if evidence > 0 else 0
                        _write(
                            voxels,
                            occupied,
                            known,
                            settled,
                            x,
                            y,
                            z,
                            evidence,
                            label if evidence > 0 else np.uint8(0),
                            lead,
                        )
                    word >>= np.uint64(1)
                    z += 1


@njit(nogil=True, cache=True, inline="always")
def _write(voxels, occupied, known, settled, x, y, z, evidence, label, lead):
    voxels[x, y, z, EVIDENCE], voxels[x, y, z, LABEL], voxels[x, y, z, LEAD] = evidence, np.int8(label), lead
    bit, word = np.uint64(1) << np.uint64(z & 63), z >> 6
    if evidence > 0:
        occupied[x, y, word] |= bit
    else:
        occupied[x, y, word] &= ~bit
    if evidence == -MOST:
        settled[x, y, word] |= bit
    else:
        settled[x, y, word] &= ~bit
    if evidence != 0:
        known[x, y, word] |= bit
    else:
        known[x, y, word] &= ~bit
