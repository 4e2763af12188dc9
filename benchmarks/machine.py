"""What a measurement was made on."""

import platform
from importlib.metadata import PackageNotFoundError, version

from occfusion_ros.core.processor import this_processor, usable_cores


def processor() -> str:
    """Name of the processor, the number of cores to use, and what numbers and times hang on."""
    found = this_processor()
    return ", ".join([found.name, f"{usable_cores()} cores", *found.notable])


def versions(*packages: str) -> dict[str, str]:
    """Of Python and of those packages that are installed."""
    found = {"Python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
