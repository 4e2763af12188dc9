"""The vehicle itself as a box."""

from dataclasses import dataclass, field

import numpy as np

from .errors import InvalidFrameError


@dataclass(frozen=True, eq=False)
class EgoBox:
    """A box whose inside the vehicle fills, with all that sticks out of it.

    Attributes:
        low, high: metres, its corners along x, y and z of the frame it is given in.
        box_from_grid: (4, 4) float64 rigid transform into that frame.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    box_from_grid: np.ndarray = field(default_factory=lambda: np.eye(4))

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high)):  # so that NaN is refused
            raise InvalidFrameError(
                f"ego box: expected each minimum below its maximum, got {list(self.low)} and {list(self.high)}"
            )

    @classmethod
    def of_extents(cls, extents: tuple[float, ...], box_from_grid: np.ndarray | None = None) -> "EgoBox":
        """From x min, x max, y min, y max, z min and z max.

        Raises:
            InvalidFrameError: not six of them, or a minimum that is no minimum.
        """
        if len(extents) != 6:
            raise InvalidFrameError(
                f"ego box: expected x min, x max, y min, y max, z min and z max in metres, got {list(extents)}"
            )
        x_min, x_max, y_min, y_max, z_min, z_max = extents
        return cls((x_min, y_min, z_min), (x_max, y_max, z_max), np.eye(4) if box_from_grid is None else box_from_grid)

    def contains(self, xyz: np.ndarray) -> np.ndarray:
        """Which of (N, 3) float points in the grid frame lie inside: (N,) bool, False for NaN."""
        moved = xyz @ self.box_from_grid[:3, :3].T + self.box_from_grid[:3, 3]
        return np.logical_and.reduce(
            [(low <= axis) & (axis <= high) for low, axis, high in zip(self.low, moved.T, self.high)]
        )
