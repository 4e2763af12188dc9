"""Settings of a training run, read from a YAML file and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from occfusion_ros.core.errors import ContractError
from occfusion_ros.network.occfusion import ModelConfig
from synthetic import FLEETS

from .augment import AugmentConfig


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run.

    Attributes:
        name: of the model, which artifacts made of it carry.
        data: data root in the nuScenes format to train on; empty for synthetic drives.
        occupancy: where its occupancy labels lie; empty for `data` itself.
        scenes: names of its scenes to train on, or of the devkit's splits (train, mini_train); empty for all.
        held_back: last share of each scene of `data` that is not trained on.
        copies: how often each frame of `data` counts; where features are kept, with its images changed anew.
        mixed_drives: synthetic drives to train on besides `data`, from `first_seed` on, with `rig`.
        drives: synthetic drives to train on; each gives 4 frames.
        first_seed: seed of the first drive, see `synthetic.seeds`; drive i has seed first_seed + i.
        rig: sensors of the synthetic drives: nuscenes, van, varied (every drive has another LiDAR, of 16 to 128 beams
            and 1.0 to 2.5 m above the road) or mixed (nuscenes in four drives of eight, varied in three, van in one).
        frames: folder of prepared frames, filled where needed; empty for OUT/frames.
        init: weights of another run to start from; empty for new ones.
        images: image branch to start from, which `models.train_images` wrote; empty for ImageNet's, or that of `init`.
        frozen: parts of the network whose weights stay as they are, for example decoder.
        epochs: passes over the data, each with its second pass over the hard samples.
        steps: optimizer steps after which the run ends, even within an epoch; 0 for all of `epochs`.
        active_share: share of the samples, hardest first, that each epoch trains again; 0 turns it off.
        batch: frames a step and process.
        window: edge, in coarse voxels, of the part of the grid that a step trains on; 0 for the whole grid.
        window_spread: metres, standard deviation of the window's center from the grid's, along x and y.
        window_queries: fused voxels of a window.
        unobserved_keep: probability with which a voxel that sensors could not observe keeps its truth.
        augment: how frames are changed.
        learning_rate: peak of the one-cycle cosine schedule (AdamW).
        weight_decay: of AdamW.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are the ones that are kept.
        train_backbone: train the image backbone too, at a tenth of the rate, its batch norms as they are; for a GPU.
        refined: voxels of each frame that are refined while training; half of them the most uncertain ones.
        precision: bf16 (mixed precision, where the processor has it) or fp32.
        seed: of weights, order, windows and augmentation.
        save_every: optimizer steps between two saved states; the end of an epoch is saved besides.
        pictures: training frames that are drawn after each epoch.
        device: cpu, cuda, or auto for a GPU where there is one.
        threads: CPU threads of a process.
        workers: processes that prepare frames.
    """

    name: str = "nano"
    data: str = ""
    occupancy: str = ""
    scenes: tuple[str, ...] = ()
    held_back: float = 0.0
    copies: int = 1
    mixed_drives: int = 0
    drives: int = 120
    first_seed: int = 1_000
    rig: str = "nuscenes"
    frames: str = ""
    init: str = ""
    images: str = ""
    frozen: tuple[str, ...] = ()
    epochs: int = 6
    steps: int = 0
    active_share: float = 0.7
    batch: int = 2
    window: int = 64
    window_spread: float = 10.0
    window_queries: int = 4096
    unobserved_keep: float = 0.2
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 10.0
    ema: float = 0.995
    train_backbone: bool = False
    refined: int = 512
    precision: str = "bf16"
    seed: int = 0
    save_every: int = 200
    pictures: int = 2
    device: str = "auto"
    threads: int = 2
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("active_share", "unobserved_keep", "ema", "held_back"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        for name in (
            "drives",
            "copies",
            "epochs",
            "batch",
            "window_queries",
            "refined",
            "save_every",
            "threads",
            "workers",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in (
            "steps",
            "window",
            "window_spread",
            "weight_decay",
            "seed",
            "first_seed",
            "pictures",
            "mixed_drives",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")
        for name, allowed in (
            ("precision", ("bf16", "fp32")),
            ("device", ("auto", "cpu", "cuda")),
            ("rig", FLEETS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.init and self.images:
            raise ValueError("init and images: expected one of them, since each brings an image branch")
        if not self.data and (self.occupancy or self.scenes or self.held_back or self.copies > 1 or self.mixed_drives):
            raise ValueError("occupancy, scenes, held_back, copies and mixed_drives belong to data, but data is empty")


def load_config(path: Path, changes: Sequence[str] = ()) -> tuple[TrainConfig, ModelConfig]:
    """Read a YAML file of `TrainConfig` fields and perhaps a section `model` of `ModelConfig` fields.

    Args:
        changes: `key=value` that go before what the file says; a section's key is `augment.flip`.

    Raises:
        ContractError: the file or a change is not what `TrainConfig` takes; the message says what is.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text()) or {}
        if not isinstance(values, dict):
            raise ValueError(f"expected keys and values, got {type(values).__name__}")
        for change in changes:
            key, equals, text = change.partition("=")
            if not equals:
                raise ValueError(f"expected key=value, got {change!r}")
            _put(values, key.split("."), yaml.safe_load(text))
        model = build(ModelConfig, values.pop("model", {}))
        return build(TrainConfig, values), model
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise ContractError(f"{path}: {error}") from error


def _put(values: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a value of nested mappings."""
    for section in keys[:-1]:
        values = values.setdefault(section, {})
    values[keys[-1]] = value


def build(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from a mapping; unknown keys and values of another type are refused with a ValueError."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__}: expected keys and values, got {values!r}")
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown {', '.join(map(str, unknown))}; expected some of {', '.join(known)}")
    return kind(**{name: _converted(name, hints[name], value) for name, value in values.items()})


def _converted(name: str, kind: Any, value: Any) -> Any:
    """A YAML value as a field of type `kind`."""
    if is_dataclass(kind):
        return build(kind, value)
    if kind is float and type(value) is int:
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        return float(value)
    if kind in (int, float, str, bool) and type(value) is kind:
        return value
    if kind not in (int, float, str, bool) and isinstance(value, list):
        return tuple(value)
    raise ValueError(f"{name}: expected {getattr(kind, '__name__', kind)}, got {value!r}")
