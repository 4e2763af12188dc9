"""How sure the networks are, in one byte each, and what that byte means.

A byte of occupancy counts the log-odds of being occupied, from the threshold of the voxel's class, in steps of 1 / 16
about the middle: a voxel is occupied from 128 on. Log-odds rather than the probability itself, which is so near to 1
for most occupied voxels that 256ths would not tell them apart. A byte of a class counts 256ths of its probability
among the classes that are not empty. What share of the voxels that have a byte is right is a matter of measurement:
`Confidence` holds it.
"""

from dataclasses import dataclass, field

import numpy as np

from .errors import ContractError

OCCUPIED = 128
SHARING = 3  # classes among which, in effect, what the best one leaves is divided; see `class_entropy`
STEPS = 16  # of a unit of log-odds; a power of two, so that scaling rounds nothing
BYTES = np.arange(256)


def from_log_odds() -> tuple[float, ...]:
    """Probability of being occupied for each byte, where the network's own log-odds are believed."""
    return tuple((1 / (1 + np.exp(-(BYTES + 0.5 - OCCUPIED) / STEPS))).tolist())


def from_shares() -> tuple[float, ...]:
    """Probability of the class for each byte, where the network's own one is believed."""
    return tuple(((BYTES + 0.5) / 256).tolist())


@dataclass(frozen=True)
class Calibration:
    """Probabilities by byte, of one network.

    Attributes:
        occupancy, classes: 256 values each, in 0..1, that never fall.
    """

    occupancy: tuple[float, ...] = field(default_factory=from_log_odds)
    classes: tuple[float, ...] = field(default_factory=from_shares)

    def __post_init__(self) -> None:
        for name in ("occupancy", "classes"):
            values = getattr(self, name)
            numbers = isinstance(values, (list, tuple)) and all(type(value) in (int, float) for value in values)
            if not numbers or len(values) != 256:
                raise ContractError(f"confidence: expected 256 numbers of {name}, got {values!r:.100}")
            if not (0 <= values[0] and values[-1] <= 1 and all(a <= b for a, b in zip(values, values[1:]))):
                raise ContractError(f"confidence: expected {name} in 0..1 that never falls, got {values!r:.100}")
            object.__setattr__(self, name, tuple(map(float, values)))


@dataclass(frozen=True)
class Confidence:
    """What the bytes of the two networks mean; what the networks themselves believe, where nothing was measured."""

    fuser: Calibration = Calibration()
    refiner: Calibration = Calibration()


def first_byte(probabilities: tuple[float, ...], least: float) -> int:
    """Give the lowest byte with a probability of at least `least`; 256 where there is none."""
    return int(np.searchsorted(probabilities, least))


def class_entropy(class_confidence: np.ndarray) -> np.ndarray:
    """Estimate the entropy of the classes of voxels, float32 nats, from the probability of the best one.

    The networks give no other probabilities away; that of the best one fixes the entropy but for how the rest is
    divided, and theirs is, on average, as if three classes shared it evenly: docs/confidence.md has the error. 0 where
    there is no class.

    Args:
        class_confidence: uint8 of any shape, 0..255 for 0..1, as `core.frames.OccupancyGrid` has it.
    """
    best = np.maximum(BYTES, 1) / 255
    rest = 1 - best
    table = -best * np.log(best) - rest * np.log(np.maximum(rest, 1e-9) / SHARING)
    table[0] = 0
    return table.astype(np.float32)[class_confidence]


def as_bytes(probabilities: tuple[float, ...]) -> np.ndarray:
    """(256,) uint8: probabilities with 0..255 standing for 0..1."""
    return np.rint(255 * np.asarray(probabilities)).astype(np.uint8)
