"""Where files that ship beside the code are found: the installed share directory, else the checkout."""

import os
from pathlib import Path

PACKAGE = "occfusion_ros"
CHECKOUT = Path(__file__).resolve().parents[2]


def shipped(installed: str, in_checkout: str | None = None) -> Path:
    """Path of a shipped file or folder.

    Args:
        installed: path under ``share/occfusion_ros``, for example ``config/occfusion.yaml``.
        in_checkout: path under the repository's root where it differs from `installed`.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    tried = shipped_places(installed, in_checkout)
    for path in tried:
        if path.exists():
            return path
    raise FileNotFoundError(f"{installed} ships with {PACKAGE}, but it is not at {' or '.join(map(str, tried))}")


def shipped_places(installed: str, in_checkout: str | None = None) -> list[Path]:
    """Where a shipped file or folder may lie, the best place first; arguments as of `shipped`."""
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    places = [prefix / "share" / PACKAGE / installed for prefix in prefixes if (prefix / "share" / PACKAGE).is_dir()]
    return [*places, CHECKOUT / (in_checkout or installed)]
