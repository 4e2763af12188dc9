"""What made the frames of a folder, kept beside them: frames of another making are never taken for them."""

import json
from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_json
from occfusion_ros.core.errors import DatasetError
from occfusion_ros.presample.presampler import PresampleConfig

from .augment import AugmentConfig
from .image_weights import feature_backbone

MANIFEST = "prepared.json"
FRAMES = "*.npz"
PAST_VERSION = 2  # of which earlier sweeps frames are prepared with, and what of them enters the truth


def making(
    config: PresampleConfig,
    augmentation: AugmentConfig | None,
    keep_images: bool,
    weights: Path | None = None,
    **source: Any,
) -> dict[str, Any]:
    """Everything that prepared frames depend on, besides the seed or sample in their names.

    Args:
        config, augmentation, keep_images, weights: as of `prepare.Preparer`. source: where sensor frames come from.
    """
    kept = augmentation is None or keep_images  # what is changed then is changed when a frame is drawn
    changes = None if kept else {name: getattr(augmentation, name) for name in ("images", "zoom", "mirror")}
    return {
        **source,
        "image_size": list(config.image_size),
        "horizon": config.horizon,
        "preprocessing_version": config.preprocessing.version,
        "past_sweeps": {"version": PAST_VERSION, "ego_radius": config.preprocessing.ego_radius}
        if config.preprocessing.lags
        else None,
        "holds": "images" if keep_images else "features",
        "backbone": None if keep_images else feature_backbone(weights)[1],
        "for_training": augmentation is not None,
        "augment": changes,
    }


def claim(folder: Path, made_by: dict[str, Any], fresh: bool = False) -> None:
    """Make sure that a folder holds no frames but those of `made_by` (JSON values), and say so in it.

    Args:
        fresh: remove frames of another making instead of refusing them.

    Raises:
        DatasetError: it holds others; the message names what differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    different = _different(folder, made_by)
    if different and not fresh:
        raise DatasetError(
            f"{folder}: these frames were prepared otherwise ({different}): name another folder, or "
            "remove them (models.train --fresh does) to have them made again"
        )
    if different:
        for path in folder.glob(FRAMES):
            path.unlink()
    write_json(folder / MANIFEST, made_by)


def made_by(folder: Path) -> dict[str, Any] | None:
    """What made the frames of a folder; None where it does not say."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _different(folder: Path, wanted: dict[str, Any]) -> str:
    """What of a folder's frames is not as it is wanted; empty where nothing is, or where there are none."""
    found = made_by(folder)
    if found is None:
        return "nothing says how" if any(folder.glob(FRAMES)) else ""
    wanted = json.loads(json.dumps(wanted))
    names = [name for name in {**wanted, **found} if wanted.get(name) != found.get(name)]
    return ", ".join(f"{name}: {found.get(name)!r}, wanted {wanted.get(name)!r}" for name in names)
