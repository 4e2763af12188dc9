"""A frame's answer from its own prediction and the volume: compiled loops over the voxels that can differ."""

import numpy as np
from numba import njit

from .bits import at_bit, wrapped
from .volume import EVIDENCE, LABEL


@njit(nogil=True, cache=True)
def correct(out, own, labels, at, voxels, offset, returned, movable, thing, flat):
    """Answer voxels that the frame predicts to be occupied: free where that was seen, else by the vote.

    A voxel with a return of the frame's own sweep stays occupied, flat ground does so too (rays graze it), and what is
    a thing keeps the frame's label.

    Args:
        out: (X, Y, Z) uint8 labels, changed in place.
        own, labels: (N, 3) int32 and (N,) uint8, voxels of the grid that are predicted occupied.
        at: (N, 3) int32, where their centers lie in the volume, from its low corner; -1: outside.
        voxels, offset: of the volume.
        returned: (X, Y, W) uint64, bits of the grid.
        movable, thing, flat: (256,) bool by label.
    """
    size = voxels.shape
    for i in range(len(own)):
        if at[i, 0] < 0:
            continue
        x = wrapped(at[i, 0] + offset[0], size[0])
        y, z = wrapped(at[i, 1] + offset[1], size[1]), wrapped(at[i, 2] + offset[2], size[2])
        evidence, remembered, label = voxels[x, y, z, EVIDENCE], np.uint8(voxels[x, y, z, LABEL]), labels[i]
        if evidence < 0 and not flat[label] and not at_bit(returned, own[i, 0], own[i, 1], own[i, 2]):
            out[own[i, 0], own[i, 1], own[i, 2]] = 0
        elif evidence > 0 and not thing[label] and not movable[remembered]:
            out[own[i, 0], own[i, 1], own[i, 2]] = remembered


@njit(nogil=True, cache=True)
def fill(out, targets, rows, remembered, voxels, offset, movable, show_movable):
    """Fill empty voxels of the grid with what is remembered there; returns them, (M,) int64 flat, z fastest.

    Args:
        out: (X, Y, Z) uint8 labels, changed in place.
        targets, rows: voxels of the grid, (K, 3) int32, and the rows of `remembered`, (N, 3) int32 voxels of the volume
            from its low corner, in which their centers lie.
        voxels, offset: of the volume. movable: (256,) bool by label. show_movable: whether it may be filled in.
    """
    size, shape = voxels.shape, out.shape
    filled, count = np.empty(len(targets), np.int64), 0
    for i in range(len(targets)):
        gx, gy, gz = targets[i]
        if out[gx, gy, gz]:
            continue
        vx, vy, vz = remembered[rows[i]]
        x, y, z = wrapped(vx + offset[0], size[0]), wrapped(vy + offset[1], size[1]), wrapped(vz + offset[2], size[2])
        label = np.uint8(voxels[x, y, z, LABEL])
        if movable[label] and not show_movable:
            continue
        out[gx, gy, gz] = label
        filled[count] = (np.int64(gx) * shape[1] + gy) * shape[2] + gz
        count += 1
    return filled[:count]


@njit(nogil=True, cache=True)
def mark_unknown(out, start, end, volume_from_grid, known, offset, passed, depth, label):
    """Give a label to empty voxels of the grid, in slices x of a range, of which nothing is known.

    Args:
        out: (X, Y, Z) uint8 labels, changed in place.
        volume_from_grid: (4, 4) float64, both in voxels from their low corners.
        known: (X, Y, W) uint64 bits, a ring whose low corner lies at `offset`. passed: (X, Y, W), a ring along z alone.
        depth: voxels of the volume along z. label: of what is not known.
    """
    turn, shift = volume_from_grid[:3, :3], volume_from_grid[:3, 3]
    step_x, step_y, step_z = turn[0, 2], turn[1, 2], turn[2, 2]
    for gx in range(start, end):
        for gy in range(out.shape[1]):
            x = turn[0, 0] * (gx + 0.5) + turn[0, 1] * (gy + 0.5) + 0.5 * step_x + shift[0]
            y = turn[1, 0] * (gx + 0.5) + turn[1, 1] * (gy + 0.5) + 0.5 * step_y + shift[1]
            z = turn[2, 0] * (gx + 0.5) + turn[2, 1] * (gy + 0.5) + 0.5 * step_z + shift[2]
            for gz in range(out.shape[2]):
                if out[gx, gy, gz] == 0:
                    vx, vy, vz = (
                        int(np.floor(x + gz * step_x)),
                        int(np.floor(y + gz * step_y)),
                        int(np.floor(z + gz * step_z)),
                    )
                    if not (0 <= vx < known.shape[0] and 0 <= vy < known.shape[1] and 0 <= vz < depth):
                        out[gx, gy, gz] = label
                        continue
                    rx, ry = wrapped(vx + offset[0], known.shape[0]), wrapped(vy + offset[1], known.shape[1])
                    rz = wrapped(vz + offset[2], depth)
                    if not at_bit(passed, vx, vy, rz) and not at_bit(known, rx, ry, rz):
                        out[gx, gy, gz] = label
