"""The model contract: what training fixed and nothing at run time may change.

`export/` writes it as `contract.yaml` beside the network files; `runtime/` reads it. This module only turns plain
dictionaries into validated types and back.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from .confidence import Calibration, Confidence
from .errors import ContractError
from .grid import GridSpec
from .labels import SemanticClass
from .preprocessing import UNRECORDED, Preprocessing

FORMAT = 8
FORMATS = (2, 3, 4, 5, 6, 7, FORMAT)  # that are read, see `_in_todays_format`
VARIANTS = ("fp32", "fp16", "int8", "int8_onnxruntime", "weights")
"""Files of a network: ONNX in float32; ONNX in float16 inside; ONNX quantized for TensorRT and OpenVINO (symmetric)
and for ONNX Runtime (asymmetric activations); and the weights of the whole model (safetensors), the same file for both
networks."""


@dataclass(frozen=True)
class TensorSpec:
    """Name, dtype and shape of one network input or output; a string in the shape is a dynamic axis."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))


@dataclass(frozen=True)
class NetworkFile:
    """One file of a network: its name inside the artifact folder and the hash of its content."""

    name: str
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or set("/\\") & set(self.name) or self.name[0] == ".":
            raise ContractError(f"network file must be a plain file name inside the artifact, got {self.name!r}")
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ContractError(f"{self.name}: sha256 must be 64 lower-case hexadecimal digits, got {self.sha256!r}")


@dataclass(frozen=True)
class NetworkSpec:
    """One network of the artifact: the same function in several files, with the same tensors at its doors.

    Attributes:
        files: by variant, see `VARIANTS`; fp32 is always there.
        inputs, outputs: tensors, in the order of the files.
    """

    files: dict[str, NetworkFile]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.files, dict) or "fp32" not in self.files or set(self.files) - set(VARIANTS):
            got = sorted(map(str, self.files)) if isinstance(self.files, dict) else self.files
            raise ContractError(f"network files must be fp32 and any others of {', '.join(VARIANTS)}, got {got}")
        files = {
            variant: file if isinstance(file, NetworkFile) else _build(NetworkFile, file, variant)
            for variant, file in self.files.items()
        }
        object.__setattr__(self, "files", files)
        for side in ("inputs", "outputs"):
            specs = tuple(s if isinstance(s, TensorSpec) else _build(TensorSpec, s, side) for s in getattr(self, side))
            object.__setattr__(self, side, specs)


@dataclass(frozen=True)
class ModelContract:
    """Everything the robot must know of a trained model.

    Attributes:
        model_id: name of the model, for messages and logs.
        grid: the fine output grid.
        coarse_factor: fine voxels per coarse voxel along each axis.
        grid_frame: one sentence on where the grid frame sits on the vehicle.
        classes: the non-empty classes, labels 1..n in order.
        max_cameras: most camera images that the fuser takes at once.
        image_size: (height, width) pixels of the network's images.
        horizon: fraction of the network image's height at which the principal row is placed.
        points_per_voxel: theta, points that represent each fused coarse voxel.
        fusion_queries: most coarse voxels that are fused with image features.
        refine_budget: K, most coarse voxels that the active decoder refines.
        preprocessing: what else the weights were trained with.
        fuser, refiner: the two networks, see `NetworkSpec`.
        confidence: what their bytes mean; None where that was not measured.
        checkpoint_sha256: hash of the weights the networks were exported from; the artifact's own where it has any.
        trained_on: what data the weights were trained on.
        accuracy: measured figures by data set.
    """

    model_id: str
    grid: GridSpec
    coarse_factor: int
    grid_frame: str
    classes: tuple[SemanticClass, ...]
    max_cameras: int
    image_size: tuple[int, int]
    horizon: float
    points_per_voxel: int
    fusion_queries: int
    refine_budget: int
    preprocessing: Preprocessing
    fuser: NetworkSpec
    refiner: NetworkSpec
    confidence: Confidence | None
    checkpoint_sha256: str
    trained_on: str
    accuracy: dict[str, Any]

    def __post_init__(self) -> None:
        for name in ("coarse_factor", "max_cameras", "points_per_voxel", "fusion_queries", "refine_budget"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ContractError(f"{name} must be a positive integer, got {getattr(self, name)!r}")
        self.grid.coarse(self.coarse_factor)
        if [c.label for c in self.classes] != list(range(1, len(self.classes) + 1)) or not self.classes:
            raise ContractError(f"class labels must be 1..n in order, got {[c.label for c in self.classes]}")
        object.__setattr__(self, "image_size", tuple(self.image_size))
        if len(self.image_size) != 2 or any(not isinstance(n, int) or n < 32 for n in self.image_size):
            raise ContractError(f"image_size must be (height, width) of at least 32 pixels, got {self.image_size}")
        for name, kind in (("model_id", str), ("trained_on", str), ("grid_frame", str), ("accuracy", dict)):
            if not isinstance(getattr(self, name), kind):
                raise ContractError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        if not 0 < self.horizon < 1:
            raise ContractError(f"horizon must lie between 0 and 1, got {self.horizon!r}")

    @property
    def coarse_grid(self) -> GridSpec:
        """The grid on which the fuser works."""
        return self.grid.coarse(self.coarse_factor)

    @property
    def fuser_inputs(self) -> tuple[str, ...]:
        """Names of what the fuser reads beside the images."""
        return tuple(tensor.name for tensor in self.fuser.inputs if tensor.name != "images")

    @property
    def says_confidence(self) -> bool:
        """Whether the networks say how sure they are; those of formats 2 to 4 do not."""
        return any(tensor.name == "semantic_confidence" for tensor in self.fuser.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as `contract.yaml` holds them."""
        return {"format": FORMAT, **_plain(asdict(self))}

    @staticmethod
    def from_dict(data: Any) -> "ModelContract":
        """Validate a dictionary as read from `contract.yaml`.

        Raises:
            ContractError: anything missing, unknown or out of range.
        """
        got = data.get("format") if isinstance(data, dict) else type(data).__name__
        if type(got) is not int or got not in FORMATS:
            raise ContractError(
                f"contract format must be one of {', '.join(map(str, FORMATS))}, got {got!r}: export the model again"
            )
        values = {key: value for key, value in data.items() if key != "format"}
        if got < FORMAT:
            values = _in_todays_format(values, got)
        nested = {"grid": GridSpec, "preprocessing": Preprocessing, "fuser": NetworkSpec, "refiner": NetworkSpec}
        for key, kind in nested.items():
            values[key] = _build(kind, values.get(key), key)
        if "confidence" in values:
            values["confidence"] = _confidence(values["confidence"])
        if not isinstance(values.get("classes"), list):
            raise ContractError(f"contract: classes must be a list, got {values.get('classes')!r}")
        values["classes"] = tuple(_build(SemanticClass, c, "classes") for c in values["classes"])
        return _build(ModelContract, values, "contract")


def _in_todays_format(values: dict[Any, Any], before: int) -> dict[Any, Any]:
    """As this format says it: another screen in 7, which is refused, none up to 6, no lags up to 5.

    Format 2 says nothing of pre-processing, 2 to 4 of confidence; 2 and 3 may name programs of PyTorch, left out.
    """
    if before < 5:
        values = {"confidence": None, **values}
    if before == 2:
        values = values | {"preprocessing": asdict(UNRECORDED)}
    elif before < 6 and isinstance(values.get("preprocessing"), dict):
        if values["preprocessing"].get("lags"):
            raise ContractError(f"contract: expected no lags in format {before}, which knows none, got lags: true")
        values = values | {"preprocessing": {"lags": False, **values["preprocessing"]}}
    match values.get("fuser"):
        case {"outputs": list(outputs)} if any(isinstance(o, dict) and o.get("name") == "screened" for o in outputs):
            raise ContractError(
                f"contract: format {before} has another screen than is known here: export the model again"
            )
    for network in ("fuser", "refiner"):
        match values.get(network):
            case {"files": dict(files)}:
                kept = {variant: file for variant, file in files.items() if variant != "program"}
                values = values | {network: values[network] | {"files": kept}}
    return {key: value for key, value in values.items() if key != "pytorch"}


def _confidence(data: Any) -> Confidence | None:
    """From a mapping as `contract.yaml` holds it; None is kept.

    Raises:
        ContractError: anything missing, unknown or out of range.
    """
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ContractError(f"confidence: expected a mapping, got {data!r:.100}")
    return _build(
        Confidence, {key: _build(Calibration, value, "confidence") for key, value in data.items()}, "confidence"
    )


def _build(kind: type, data: Any, where: str) -> Any:
    """Construct a dataclass from a dictionary that must have exactly its fields."""
    if not isinstance(data, dict):
        raise ContractError(f"{where}: expected a mapping, got {data!r}")
    expected = {f.name for f in fields(kind)}
    if set(data) != expected:
        missing, unknown = sorted(expected - set(data)), sorted(map(str, set(data) - expected))
        raise ContractError(f"{where}: missing {missing}, unknown {unknown}")
    try:
        return kind(**data)
    except (TypeError, ValueError) as error:
        raise ContractError(f"{where}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
