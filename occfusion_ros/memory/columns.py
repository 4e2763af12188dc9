"""Blocks of voxels in which a column along z is one word: a few operations look through a column, or move it.

A block that is turned and shifted against another has, in each of its columns, a few runs of voxels whose centers lie
in one column of the other, each as far above or below as the next: bits are carried by shifting words.
"""

from math import floor

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

DEPTH = 64  # voxels that a column has, used or not: bits of a word
BLOCK = 8  # columns along x and y that are looked at together
ALL = ~np.uint64(0)
OCCUPIED, KNOWN, SETTLED = 0, 1, 2  # the words that a column of the volume has, see `compiled_volume`
_ONE, _LAST = np.uint64(1), np.uint64(DEPTH - 1)


def unpack(words: np.ndarray, depth: int) -> np.ndarray:
    """(X, Y) uint64 to (X, Y, depth) bool."""
    in_bytes = words.astype("<u8", copy=False)[..., None].view(np.uint8)  # (X, Y, 8)
    return np.unpackbits(in_bytes, axis=2, count=depth, bitorder="little").view(bool)


def pack(flags: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool to (X, Y) uint64; the inverse of `unpack`."""
    in_bytes = np.zeros((*flags.shape[:2], DEPTH // 8), np.uint8)
    in_bytes[..., : -(-flags.shape[2] // 8)] = np.packbits(flags, axis=2, bitorder="little")
    return in_bytes.view("<u8")[..., 0].astype(np.uint64)  # (X, Y)


@njit(nogil=True, cache=True, inline="always")
def wrapped(index, size):
    """Place in a ring, of an index of 0 to 2 * size - 1; far quicker than a division."""
    return index - size if index >= size else index


@njit(nogil=True, cache=True)
def bit(place):
    """Give the word in which one bit is set."""
    return _ONE << np.uint64(place)


@intrinsic
def lowest(_typing, word):
    """Place of the lowest bit that is set, of a word that is not 0."""

    def generate(context, builder, _signature, args):
        return builder.cttz(args[0], context.get_constant(types.boolean, True))

    return types.int64(types.uint64), generate


@intrinsic
def highest(_typing, word):
    """Place of the highest bit that is set, of a word that is not 0."""

    def generate(context, builder, _signature, args):
        zeros = builder.ctlz(args[0], context.get_constant(types.boolean, True))
        return builder.sub(context.get_constant(types.int64, DEPTH - 1), zeros)

    return types.int64(types.uint64), generate


@njit(nogil=True, cache=True)
def turned_up(word, by):
    """Turn a column that is a ring: the bit of voxel z comes to (z + by) % 64; `by` is 0 to 63."""
    return word << np.uint64(by) | word >> (np.uint64(DEPTH - by) & _LAST)


@njit(nogil=True, cache=True)
def turned_down(word, by):
    """Turn a column back, see `turned_up`."""
    return word >> np.uint64(by) | word << (np.uint64(DEPTH - by) & _LAST)


@njit(nogil=True, cache=True)
def shifted_down(word, by):
    """Shift a column: the bit of voxel z comes to z - by, or is lost; `by` is any whole number."""
    if by >= 0:
        return word >> np.uint64(by) if by < DEPTH else np.uint64(0)
    return word << np.uint64(-by) if by > -DEPTH else np.uint64(0)


@njit(nogil=True, cache=True)
def span(first, end):
    """Give the word whose bits `first` to `end` - 1 are set, at least one and at most 64 of them."""
    return ALL >> np.uint64(DEPTH - (end - first)) << np.uint64(first)


@njit(nogil=True, cache=True)
def column_steps(matrix):
    """Give what all columns of a block have in common that lie in another one as a matrix says, see `run_at`.

    Args:
        matrix: (4, 4) float64 from this block to the other, both in voxels from their low corners.

    Returns:
        Steps along the other's x, y and z from voxel to voxel of a column, along z less one voxel; their inverses.
    """
    x, y, z = matrix[0, 2], matrix[1, 2], matrix[2, 2] - 1
    return x, y, z, 1 / x if x else np.inf, 1 / y if y else np.inf, 1 / z if z else np.inf


@njit(nogil=True, cache=True)
def column_start(matrix, x, y):
    """Give where the center of the lowest voxel of column (x, y) lies in another block; arguments as above."""
    cx, cy = x + 0.5, y + 0.5
    return (
        matrix[0, 0] * cx + matrix[0, 1] * cy + matrix[0, 2] * 0.5 + matrix[0, 3],
        matrix[1, 0] * cx + matrix[1, 1] * cy + matrix[1, 2] * 0.5 + matrix[1, 3],
        matrix[2, 0] * cx + matrix[2, 1] * cy + matrix[2, 2] * 0.5 + matrix[2, 3],
    )


@njit(nogil=True, cache=True)
def run_at(start, steps, first, depth):
    """Find how far from voxel `first` up a column stays within one column of another block.

    Args:
        start, steps: what `column_start` and `column_steps` give. first: 0 to depth - 1. depth: voxels of the column.

    Returns:
        x and y of the other column; by how many voxels it lies higher there; the voxel after the last of the run.
    """
    x, y, z = start
    there_x, there_y, up = floor(x + first * steps[0]), floor(y + first * steps[1]), floor(z + first * steps[2])
    end = min(
        _leaves(x, there_x, steps[0], steps[3]),
        _leaves(y, there_y, steps[1], steps[4]),
        _leaves(z, up, steps[2], steps[5]),
    )
    return there_x, there_y, up, max(first + 1, int(min(end, np.float64(depth))))


@njit(nogil=True, cache=True)
def _leaves(start, there, step, inverse):
    """The first voxel of a column that lies beyond the face towards which it leans; infinity: none does."""
    if step < 0:
        return np.floor((there - start) * inverse) + 1
    return np.ceil((there + 1 - start) * inverse)


@njit(nogil=True, cache=True)
def outline(words, offset, steps, depth):
    """Give for blocks of 8 x 8 columns which voxels are set in or around them, so that others can be passed over.

    Args:
        words: (X, Y) uint64, a ring whose low corner lies at `offset`, (3,) int64.
        steps: of the columns, `depth` voxels high, that look into it, see `column_steps`.

    Returns:
        (A, B) uint64: of each block and those that a column may lean into from it; blocks beyond the sides come first
        and last.
    """
    size = words.shape
    wide, high = -(-size[0] // BLOCK), -(-size[1] // BLOCK)
    lean_x, lean_y = _lean(steps[0], depth), _lean(steps[1], depth)
    own, around = np.zeros((wide, high), np.uint64), np.zeros((wide + 2 * lean_x, high + 2 * lean_y), np.uint64)
    for vx in range(size[0]):
        x = wrapped(vx + offset[0], size[0])
        for vy in range(size[1]):
            own[vx // BLOCK, vy // BLOCK] |= words[x, wrapped(vy + offset[1], size[1])]
    for bx in range(wide):
        for by in range(high):
            if own[bx, by]:
                word = turned_down(own[bx, by], offset[2])
                for x in range(bx, bx + 2 * lean_x + 1):
                    for y in range(by, by + 2 * lean_y + 1):
                        around[x, y] |= word
    return around


@njit(nogil=True, cache=True)
def _lean(step, depth):
    """How many blocks a column may reach beyond the one in which its middle lies."""
    return int(min(abs(step) * depth / 2, 1e6)) // BLOCK + 1


@njit(nogil=True, cache=True)
def reach(around, start, steps, depth):
    """Give the range of a column outside of which nothing is set in the other block: first voxel, and after the last.

    Args:
        around: what `outline` gives. start, steps: see `run_at`. depth: voxels of the column.
    """
    x = floor((start[0] + 0.5 * depth * steps[0]) / BLOCK) + _lean(steps[0], depth)
    y = floor((start[1] + 0.5 * depth * steps[1]) / BLOCK) + _lean(steps[1], depth)
    if not (0 <= x < around.shape[0] and 0 <= y < around.shape[1] and around[x, y]):
        return depth, 0
    word, ends = around[x, y], (floor(start[2]), floor(start[2] + depth * steps[2]))
    return max(lowest(word) - max(ends), 0), min(highest(word) + 1 - min(ends), depth)


@njit(nogil=True, cache=True)
def occupied(labels, words, start, end, ignored):
    """Write which voxels have a label other than 0 and `ignored`, in slices x of a range.

    Args:
        labels: (X, Y, Z) uint8. words: (X, Y) uint64.
    """
    for x in range(start, end):
        for y in range(labels.shape[1]):
            some, word = np.uint8(0), np.uint64(0)
            for z in range(labels.shape[2]):
                some |= labels[x, y, z]
            if some:
                for z in range(labels.shape[2]):
                    if labels[x, y, z] != 0 and labels[x, y, z] != ignored:
                        word |= bit(z)
            words[x, y] = word


@njit(nogil=True, cache=True)
def set_at(words, points, size):
    """Set the bits of the voxels in which points lie, (N, 3) float64 voxels, those outside left out."""
    for i in range(len(points)):
        x, y, z = points[i]
        if 0 <= x < size[0] and 0 <= y < size[1] and 0 <= z < size[2]:  # False for NaN
            words[int(x), int(y)] |= bit(int(z))
