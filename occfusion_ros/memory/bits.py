"""Blocks of voxels in which a voxel is a bit: small enough for a processor's cache, and quick to look through."""

import numpy as np
from numba import njit

WORD = 64  # voxels along z in a word


def words_of(size: tuple[int, ...]) -> tuple[int, int, int]:
    """Give the shape (X, Y, W) of the words for a block of (X, Y, Z) voxels: bit z % 64 of word z // 64."""
    return size[0], size[1], -(-size[2] // WORD)


def unpack(words: np.ndarray, depth: int) -> np.ndarray:
    """(X, Y, W) uint64 to (X, Y, depth) bool."""
    in_bytes = words.astype("<u8", copy=False).view(np.uint8)  # (X, Y, 8 * W)
    return np.unpackbits(in_bytes, axis=2, count=depth, bitorder="little").view(bool)


def pack(flags: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool to (X, Y, W) uint64; the inverse of `unpack`."""
    in_bytes = np.zeros((*flags.shape[:2], 8 * words_of(flags.shape)[2]), np.uint8)
    in_bytes[..., : -(-flags.shape[2] // 8)] = np.packbits(flags, axis=2, bitorder="little")
    return in_bytes.view("<u8").astype(np.uint64, copy=False)


@njit(nogil=True, cache=True, inline="always")
def wrapped(index, size):
    """Place in a ring, of an index of 0 to 2 * size - 1; far quicker than a division."""
    return index - size if index >= size else index


@njit(nogil=True, cache=True, inline="always")
def at_bit(words, x, y, z):
    """Whether the bit of a voxel is set."""
    return (words[x, y, z >> 6] >> np.uint64(z & 63)) & np.uint64(1) != 0


@njit(nogil=True, cache=True)
def turn(words, depth, by):
    """Turn the bits of every column, (X, Y, W) uint64, in place: that of voxel z comes to (z + by) % depth."""
    if by == 0:
        return
    count, rest = words.shape[2], depth - by
    old = np.empty(count, np.uint64)
    for x in range(words.shape[0]):
        for y in range(words.shape[1]):
            some = np.uint64(0)
            for w in range(count):
                old[w] = words[x, y, w]
                some |= old[w]
            if not some:
                continue
            for w in range(count):
                low, bit = w - (by >> 6), np.uint64(by & 63)  # shifted up
                new = old[low] << bit if low >= 0 else np.uint64(0)
                if bit and low >= 1:
                    new |= old[low - 1] >> (np.uint64(64) - bit)
                high, bit = w + (rest >> 6), np.uint64(rest & 63)  # shifted down: what came round
                if high < count:
                    new |= old[high] >> bit
                if bit and high + 1 < count:
                    new |= old[high + 1] << (np.uint64(64) - bit)
                words[x, y, w] = new
            spare = count * WORD - depth
            if spare:
                words[x, y, count - 1] &= ~np.uint64(0) >> np.uint64(spare)


@njit(nogil=True, cache=True)
def listed(words, without, offset, size, start, end):
    """The voxels, (N, 3) int32 from the low corner, whose bits are set, in slices x of a range from the low corner.

    Args:
        words: (X, Y, W) uint64, a ring. without: (X, Y, W) uint64; voxels to leave out, a ring along z alone.
        offset: (3,) int64, where the ring's low corner lies. size: (X, Y, Z).
    """
    found, count = np.empty((1 << 16, 3), np.int32), 0
    for vx in range(start, end):
        x = wrapped(vx + offset[0], size[0])
        for vy in range(words.shape[1]):
            y = wrapped(vy + offset[1], size[1])
            for w in range(words.shape[2]):
                word, z = words[x, y, w] & ~without[vx, vy, w], w << 6
                while word:
                    if not word & np.uint64(0xFF):
                        word >>= np.uint64(8)
                        z += 8
                        continue
                    if word & np.uint64(1):
                        if count == len(found):
                            more = np.empty((2 * count, 3), np.int32)
                            more[:count] = found
                            found = more
                        found[count, 0], found[count, 1] = vx, vy
                        found[count, 2] = wrapped(z - offset[2] + size[2], size[2])
                        count += 1
                    word >>= np.uint64(1)
                    z += 1
    return found[:count]


@njit(nogil=True, cache=True)
def nonzero(labels, start, end):
    """The voxels, (N, 3) int32, of (X, Y, Z) uint8 that are not 0, in slices x of a range, and their labels (N,)."""
    size = labels.shape
    step = 8 if size[2] % 8 == 0 else 1
    eight = labels.reshape(-1)[: labels.size // 8 * 8].view(np.uint64)  # neighbors along z, looked at together
    found, values, count = np.empty((1 << 17, 3), np.int32), np.empty(1 << 17, np.uint8), 0
    for x in range(start, end):
        for y in range(size[1]):
            for low in range(0, size[2], step):
                if step == 8 and not eight[((x * size[1] + y) * size[2] + low) >> 3]:
                    continue
                for z in range(low, low + step):
                    if labels[x, y, z]:
                        if count == len(values):
                            more, more_values = np.empty((2 * count, 3), np.int32), np.empty(2 * count, np.uint8)
                            more[:count], more_values[:count] = found, values
                            found, values = more, more_values
                        found[count, 0], found[count, 1], found[count, 2] = x, y, z
                        values[count] = labels[x, y, z]
                        count += 1
    return found[:count], values[:count]


@njit(nogil=True, cache=True)
def set_at(words, points, size):
    """Set the bits of the voxels in which points lie, (N, 3) float64 voxels, those outside left out."""
    for i in range(len(points)):
        x, y, z = points[i]
        if 0 <= x < size[0] and 0 <= y < size[1] and 0 <= z < size[2]:  # False for NaN
            words[int(x), int(y), int(z) >> 6] |= np.uint64(1) << np.uint64(int(z) & 63)
