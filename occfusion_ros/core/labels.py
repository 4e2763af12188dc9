"""Class names, indices and colors of OpenOccupancy (nuScenes-lidarseg's 16 classes plus empty)."""

from dataclasses import dataclass
from enum import IntEnum

from .errors import ContractError

EMPTY = 0
IGNORE = 255  # unknown or not observed


class Label(IntEnum):
    """The classes of OpenOccupancy by their label."""

    BARRIER = 1
    BICYCLE = 2
    BUS = 3
    CAR = 4
    CONSTRUCTION_VEHICLE = 5
    MOTORCYCLE = 6
    PEDESTRIAN = 7
    TRAFFIC_CONE = 8
    TRAILER = 9
    TRUCK = 10
    DRIVEABLE_SURFACE = 11
    OTHER_FLAT = 12
    SIDEWALK = 13
    TERRAIN = 14
    MANMADE = 15
    VEGETATION = 16


@dataclass(frozen=True)
class SemanticClass:
    """One class: its label value, standard name and display color (RGB, 0-255)."""

    label: int
    name: str
    rgb: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not 0 < self.label < IGNORE:
            raise ContractError(f"class label must be 1..254, got {self.label} for {self.name!r}")
        if len(self.rgb) != 3 or any(not 0 <= c <= 255 for c in self.rgb):
            raise ContractError(f"class color must be three values 0..255, got {self.rgb} for {self.name!r}")
        object.__setattr__(self, "rgb", tuple(self.rgb))


THINGS = tuple(label for label in Label if label <= Label.TRUCK)  # what can be counted; the others are background
MOVABLE = tuple(label for label in THINGS if label not in (Label.BARRIER, Label.TRAFFIC_CONE))  # these stand still
FLAT_GROUND = (Label.DRIVEABLE_SURFACE, Label.OTHER_FLAT, Label.SIDEWALK, Label.TERRAIN)

_COLORS = {
    Label.BARRIER: (255, 120, 50),
    Label.BICYCLE: (255, 192, 203),
    Label.BUS: (255, 220, 0),
    Label.CAR: (0, 150, 245),
    Label.CONSTRUCTION_VEHICLE: (0, 220, 220),
    Label.MOTORCYCLE: (200, 180, 0),
    Label.PEDESTRIAN: (255, 0, 0),
    Label.TRAFFIC_CONE: (255, 240, 150),
    Label.TRAILER: (135, 60, 0),
    Label.TRUCK: (160, 32, 240),
    Label.DRIVEABLE_SURFACE: (170, 110, 170),
    Label.OTHER_FLAT: (139, 137, 137),
    Label.SIDEWALK: (75, 0, 75),
    Label.TERRAIN: (150, 200, 80),
    Label.MANMADE: (220, 210, 190),
    Label.VEGETATION: (0, 160, 40),
}
OPENOCCUPANCY_CLASSES = tuple(SemanticClass(int(label), label.name.lower(), rgb) for label, rgb in _COLORS.items())
NUM_LABELS = len(OPENOCCUPANCY_CLASSES) + 1  # with empty
