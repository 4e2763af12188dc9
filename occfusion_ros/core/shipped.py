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
    prefixes = [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    tried = [prefix / "share" / PACKAGE / installed for prefix in prefixes if (prefix / "share" / PACKAGE).is_dir()]
    tried.append(CHECKOUT / (in_checkout or installed))
    for path in tried:
        if path.exists():
            return path
    raise FileNotFoundError(f"{installed} ships with {PACKAGE}, but it is not at {' or '.join(map(str, tried))}")
