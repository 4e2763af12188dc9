"""Teachers: 2-D segmentation networks of anybody, and a table that says what their classes are called here.

A teacher is an ONNX file with one image in and class maps out, as logits or as class indices, and beside it a YAML file
of the same name (`ClassTable`). Its images are scaled and cropped, never squeezed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.errors import ContractError
from occfusion_ros.core.frames import CameraImage
from occfusion_ros.core.labels import NUM_LABELS, OPENOCCUPANCY_CLASSES
from occfusion_ros.presample.projection import fit_pixels, fit_projection, seen_pixels

LATER = 0.9  # weight of each further name of a class, relative to the one before
KEYS = ("size", "mean", "std", "horizon", "classes")
_LABELS = {c.name: c.label for c in OPENOCCUPANCY_CLASSES}


@dataclass(frozen=True)
class ClassTable:
    """How a teacher wants its images and what its classes mean.

    Attributes:
        size: (height, width) of its input, pixels.
        mean, std: of R, G and B in 0..1; not used for a network that takes bytes.
        horizon: fraction of the height at which the principal row should lie where rows are cropped.
        classes: names of our classes by index of the teacher's; of several the first is preferred and the model's own
            answer may decide for another. What is not listed does not vote.
    """

    size: tuple[int, int]
    classes: dict[int, tuple[str, ...]]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    horizon: float = 0.5

    def __post_init__(self) -> None:
        if len(self.size) != 2 or any(type(edge) is not int or edge < 8 for edge in self.size):
            raise ValueError(f"size: expected [height, width] of at least 8 pixels, got {self.size!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or any(type(value) not in (int, float) for value in values):
                raise ValueError(f"{name}: expected three numbers, got {values!r}")
        if min(self.std) <= 0:
            raise ValueError(f"std: expected numbers greater than 0, got {self.std!r}")
        if not 0 <= self.horizon <= 1:
            raise ValueError(f"horizon: expected a number in 0..1, got {self.horizon!r}")
        for index, names in self.classes.items():
            if type(index) is not int or not 0 <= index < 256:
                raise ValueError(f"classes: expected indices of the teacher's classes, 0..255, got {index!r}")
            if not names or (unknown := set(names) - set(_LABELS)):
                raise ValueError(
                    f"classes: {index}: expected one or some of {', '.join(_LABELS)}, got "
                    f"{', '.join(sorted(map(str, unknown))) if names else 'nothing'}"
                )
        if not self.classes:
            raise ValueError("classes: expected at least one, got none")

    @property
    def votes(self) -> np.ndarray:
        """(256, 17) float32: what a pixel of each of the teacher's classes votes for."""
        votes = np.zeros((256, NUM_LABELS), np.float32)
        for index, names in self.classes.items():
            votes[index, [_LABELS[name] for name in names]] = LATER ** np.arange(len(names))
        return votes


def load_table(path: Path) -> ClassTable:
    """Read a YAML file of `ClassTable` fields.

    Raises:
        ContractError: it is missing or not such a table; the message says what was expected.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
        if not isinstance(values, dict) or not isinstance(values.get("classes"), dict):
            raise ValueError(f"expected the keys {', '.join(KEYS)}, classes with an index and a name a line")
        if unknown := set(values) - set(KEYS):
            raise ValueError(f"unknown {', '.join(sorted(map(str, unknown)))}; expected some of {', '.join(KEYS)}")
        if "size" not in values:
            raise ValueError("size: expected [height, width], got none")
        named = {i: tuple(n) if isinstance(n, list) else (n,) for i, n in values.pop("classes").items()}
        others = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return ClassTable(classes=named, **others)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: {error}") from error


@dataclass(frozen=True)
class View:
    """What a teacher says of an image.

    Attributes:
        classes: (h, w) uint8 index of the teacher's class. sure: (h, w) float32, 0..1, probability of it.
        image_from_grid: (4, 4) float64 projection to pixels of the teacher's input. size: (height, width) of that.
    """

    classes: np.ndarray
    sure: np.ndarray
    image_from_grid: np.ndarray
    size: tuple[int, int]


class Teacher:
    """A segmentation network that is run on the CPU, or a GPU where ONNX Runtime has one.

    Args:
        path: an ONNX file; `path` with the suffix ``.yaml`` is its `ClassTable`.

    Raises:
        ContractError: the file or its table cannot be used.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.path, self.table = path, load_table(path.with_suffix(".yaml"))
        self.votes = self.table.votes
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
        except Exception as error:  # ONNX Runtime raises several kinds of its own
            raise ContractError(f"{path}: expected a network that ONNX Runtime can load, got {error!s:.300}") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise ContractError(
                f"{path}: expected one input, an image (1, 3, h, w) or (1, h, w, 3), got "
                f"{[(i.name, i.shape) for i in inputs]}"
            )
        self._name, self._channels_last = inputs[0].name, shape[1] != 3
        self._bytes = inputs[0].type == "tensor(uint8)"
        fixed = shape[1:3] if self._channels_last else shape[2:]
        if any(type(own) is int and own != wanted for own, wanted in zip(fixed, self.table.size)):
            raise ContractError(f"{path}: takes images of (height, width) {fixed}, its table says {self.table.size}")

    @property
    def digest(self) -> str:
        """What tells it from others: hashes of its file and of its table."""
        files = self.path, self.path.with_suffix(".yaml")
        return "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)

    def look(self, camera: CameraImage) -> View:
        """Segment an image."""
        size, horizon = self.table.size, self.table.horizon
        classes, sure = self.read(self._run(fit_pixels(camera, size, horizon).numpy()))
        seen = seen_pixels(camera, size, horizon)
        if seen is not None and seen.shape == sure.shape:
            sure = sure * seen.numpy()
        return View(classes, sure, fit_projection(camera, size, horizon), size)

    def _run(self, image: np.ndarray) -> np.ndarray:
        """The network's first output for (3, h, w) uint8."""
        if not self._bytes:
            mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.table.mean, self.table.std))
            image = (image.astype(np.float32) / 255 - mean) / std
        image = np.ascontiguousarray(image.transpose(1, 2, 0) if self._channels_last else image)
        return self._session.run(None, {self._name: image[None]})[0]

    def read(self, output: Any) -> tuple[np.ndarray, np.ndarray]:
        """Class and probability, (h, w) each, from logits (1, C, h, w) or (1, h, w, C), or from indices (1, h, w)."""
        output = np.asarray(output)
        if (
            output.dtype.kind in "iu"
            and output.ndim in (3, 4)
            and output.size == max(output.shape[-2:]) * min(output.shape[-2:])
        ):
            classes = output.reshape(output.shape[-2:])
            return np.clip(classes, 0, 255).astype(np.uint8), np.ones(classes.shape, np.float32)
        listed = max(self.table.classes) + 1
        if output.dtype.kind != "f" or output.ndim != 4 or len(output) != 1 or max(output.shape) < listed:
            raise ContractError(
                f"{self.path}: expected logits (1, classes, h, w) or class indices (1, h, w), got "
                f"{output.dtype} {output.shape}"
            )
        logits = (
            output[0] if output.shape[1] <= 256 and output.shape[1] < output.shape[3] else output[0].transpose(2, 0, 1)
        )
        if not listed <= len(logits) <= 256:
            raise ContractError(
                f"{self.path}: its table names class {listed - 1}, but it has {len(logits)}; expected at most 256"
            )
        odds = np.exp(logits - logits.max(0))
        return logits.argmax(0).astype(np.uint8), 1 / odds.sum(0)
