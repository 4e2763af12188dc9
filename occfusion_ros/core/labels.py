"""Class names, indices and colors of OpenOccupancy (nuScenes-lidarseg's 16 classes plus empty)."""

from dataclasses import dataclass

from .errors import ContractError

EMPTY = 0
IGNORE = 255  # unknown or not observed


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


OPENOCCUPANCY_CLASSES = tuple(
    SemanticClass(label, name, rgb)
    for label, (name, rgb) in enumerate(
        [
            ("barrier", (255, 120, 50)),
            ("bicycle", (255, 192, 203)),
            ("bus", (255, 220, 0)),
            ("car", (0, 150, 245)),
            ("construction_vehicle", (0, 220, 220)),
            ("motorcycle", (200, 180, 0)),
            ("pedestrian", (255, 0, 0)),
            ("traffic_cone", (255, 240, 150)),
            ("trailer", (135, 60, 0)),
            ("truck", (160, 32, 240)),
            ("driveable_surface", (170, 110, 170)),
            ("other_flat", (139, 137, 137)),
            ("sidewalk", (75, 0, 75)),
            ("terrain", (150, 200, 80)),
            ("manmade", (220, 210, 190)),
            ("vegetation", (0, 160, 40)),
        ],
        start=1,
    )
)
NUM_LABELS = len(OPENOCCUPANCY_CLASSES) + 1  # with empty
