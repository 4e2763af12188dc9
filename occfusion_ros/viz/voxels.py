"""From a label grid to the surface that can be seen: exposed voxel faces as triangles."""

from dataclasses import dataclass

import numpy as np

from ..core.frames import OccupancyGrid
from ..core.labels import EMPTY, IGNORE, SemanticClass

UNKNOWN_CLASS_RGB = (128, 128, 128)  # a label without a class
_UNIT_FACE = {  # the two in-plane axes of a face, ordered so that the corners run counter-clockwise seen from outside
    0: (1, 2),
    1: (2, 0),
    2: (0, 1),
}


@dataclass(frozen=True)
class Faces:
    """Voxel faces with free space (or the grid's border) on their other side; those in a row with one label are one.

    Attributes:
        corners: (N, 4, 3) float32 metres, grid frame.
        normals: (N, 3) float32 unit vectors pointing out of the voxel.
        labels: (N,) uint8.
    """

    corners: np.ndarray
    normals: np.ndarray
    labels: np.ndarray


def exposed_faces(grid: OccupancyGrid) -> Faces:
    """The faces of occupied voxels that border a voxel which is not occupied."""
    padded = np.zeros(np.add(grid.spec.size, 2), bool)
    occupied = padded[1:-1, 1:-1, 1:-1]
    occupied[...] = (grid.labels != EMPTY) & (grid.labels != IGNORE)
    parts = [_faces_towards(grid, padded, occupied, axis, step) for axis in range(3) for step in (-1, 1)]
    return Faces(*(np.concatenate(arrays) for arrays in zip(*parts)))


def _faces_towards(grid: OccupancyGrid, padded: np.ndarray, occupied: np.ndarray, axis: int, step: int) -> tuple:
    """Corners, normals and labels of the exposed faces whose normal is `step` along `axis`."""
    window = [slice(1, -1)] * 3
    window[axis] = slice(1 + step, padded.shape[axis] - 1 + step)
    along = max(_UNIT_FACE[axis], key=lambda other: grid.spec.size[other])  # which rows of faces lie
    index, length = _rows(occupied & ~padded[tuple(window)], grid.labels, along)
    normal = np.zeros(3, np.float32)
    normal[axis] = step
    size = np.ones((len(index), 1, 3))
    size[:, 0, along] = length
    centers = grid.spec.centers(index)[:, None] + (size - 1) / 2 * grid.spec.voxel_size
    corners = centers + _face_corners(axis, step) * size * grid.spec.voxel_size
    return corners.astype(np.float32), np.broadcast_to(normal, (len(index), 3)), grid.labels[tuple(index.T)]


def _rows(exposed: np.ndarray, labels: np.ndarray, along: int) -> tuple[np.ndarray, np.ndarray]:
    """First voxels (N, 3) and lengths (N,) of all that is exposed in rows of one label."""
    exposed, labels = (np.ascontiguousarray(np.moveaxis(array, along, 2)) for array in (exposed, labels))
    flat = np.flatnonzero(exposed)
    label = labels.ravel()[flat]
    first = np.ones(len(flat), bool)
    first[1:] = (np.diff(flat) > 1) | (np.diff(label) != 0) | (flat[1:] % exposed.shape[2] == 0)
    starts = np.flatnonzero(first)
    index = np.stack(np.unravel_index(flat[starts], exposed.shape), 1)
    return np.insert(index[:, :2], along, index[:, 2], axis=1), np.diff(starts, append=len(flat))


def _face_corners(axis: int, step: int) -> np.ndarray:
    """(4, 3) corners of the unit cube's face, relative to the cube's center."""
    first, second = _UNIT_FACE[axis]
    corners = np.zeros((4, 3))
    corners[:, axis] = step / 2
    corners[:, first] = (-0.5, 0.5, 0.5, -0.5)
    corners[:, second] = (-0.5, -0.5, 0.5, 0.5)
    return corners if step > 0 else corners[::-1]


def box_faces(low: tuple, high: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Corners (6, 4, 3) float32 and normals (6, 3) float32 of an axis-aligned box, metres."""
    sides = [(axis, step) for axis in range(3) for step in (-1, 1)]
    size, center = np.subtract(high, low), np.add(low, high) / 2
    corners = np.stack([_face_corners(axis, step) for axis, step in sides]) * size + center
    normals = np.array([np.eye(3)[axis] * step for axis, step in sides])
    return corners.astype(np.float32), normals.astype(np.float32)


def triangles(corners: np.ndarray) -> np.ndarray:
    """(N, 4, 3) quadrilaterals to (2 N, 3, 3) triangles; triangle i belongs to quadrilateral i // 2."""
    return corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 3)


def color_table(classes: tuple[SemanticClass, ...]) -> np.ndarray:
    """(256, 3) uint8 RGB by label."""
    table = np.full((256, 3), UNKNOWN_CLASS_RGB, np.uint8)
    for semantic_class in classes:
        table[semantic_class.label] = semantic_class.rgb
    return table
