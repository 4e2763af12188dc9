"""Where files that ship beside the code are found: the installed share directory, else the checkout."""

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
    tried = [share / installed for share in _share_directories()] + [CHECKOUT / (in_checkout or installed)]
    for path in tried:
        if path.exists():
            return path
    raise FileNotFoundError(f"{installed} ships with {PACKAGE}, but it is not at {' or '.join(map(str, tried))}")


def _share_directories() -> list[Path]:
    from ament_index_python.packages import get_package_share_directory
    try:
        return [Path(get_package_share_directory(PACKAGE))]
    except (LookupError, OSError):  # not installed, or AMENT_PREFIX_PATH is not set
        return []
