"""The numbers that weights are trained with besides their own: the contract keeps them, and the robot uses the same."""

from dataclasses import dataclass

from .errors import ContractError

VERSION = 1
"""Of the arithmetic in `presample/`: which features there are, in which order, how points are chosen and synthesised,
how images are cut. `test/presample/test_fixed_inputs.py` fails where it changes under the same version."""
LOCAL_BITS = 15  # position inside a coarse voxel: 0.8 m / 2**15 = 0.02 mm
INTENSITY_STEPS = 65535


@dataclass(frozen=True)
class Preprocessing:
    """How frames become inputs of the networks.

    Attributes:
        version, position_steps, intensity_steps: of the arithmetic; this software has one of each.
        ego_radius: metres; returns nearer than this in x and y are the vehicle that carries the sensor.
        near: metres; nothing closer than this to a lens is a useful measurement.
        range_scale: metres that a voxel's range is divided by.
        lags: voxels are described by the returns of earlier sweeps too, and by how old they are.

    Raises:
        ContractError: this software has another arithmetic, a length is none, or lags is neither true nor false.
    """

    version: int = VERSION
    position_steps: int = 1 << LOCAL_BITS
    intensity_steps: int = INTENSITY_STEPS
    ego_radius: float = 1.5
    near: float = 0.5
    range_scale: float = 50.0
    lags: bool = False

    def __post_init__(self) -> None:
        for name, here in (
            ("version", VERSION),
            ("position_steps", 1 << LOCAL_BITS),
            ("intensity_steps", INTENSITY_STEPS),
        ):
            if getattr(self, name) != here:
                raise ContractError(
                    f"preprocessing: the model was trained with {name} {getattr(self, name)!r}, this "
                    f"software has {here}: take the software that exported it, or train anew"
                )
        for name, least in (("ego_radius", 0.0), ("near", 1e-3), ("range_scale", 1e-3)):
            value = getattr(self, name)
            if type(value) not in (int, float) or not least <= value <= 1e4:
                raise ContractError(f"preprocessing: {name} must lie between {least} and 10000 metres, got {value!r}")
        if type(self.lags) is not bool:
            raise ContractError(f"preprocessing: lags must be true or false, got {self.lags!r}")


UNRECORDED = Preprocessing(
    version=1, position_steps=32768, intensity_steps=65535, ego_radius=1.5, near=0.5, range_scale=50.0, lags=False
)
"""What everything was trained with that does not say."""
