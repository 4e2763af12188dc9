"""Options that several of the commands have."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from occfusion_ros.core.command import parser_of

SHARED: dict[str, dict[str, Any]] = {
    "--artifact": {"default": "nano", "help": "folder of a model, or name of a shipped one (%(default)s)"},
    "--data": {"type": Path, "help": "nuScenes data root to take a frame from (default: a synthetic one)"},
    "--threads": {"type": int, "default": 2, "help": "CPU threads of the engines (%(default)s)"},
    "--repeats": {"type": int, "default": 100, "help": "frames that are timed (%(default)s)"},
    "--json": {"type": Path, "help": "write the figures to this file"},
}


def parser_with(command: str, description: str | None, *shared: str) -> ArgumentParser:
    """Make the parser of `python -m COMMAND` with some of the `SHARED` options."""
    parser = parser_of(f"python -m {command}", description)
    for option in shared:
        parser.add_argument(option, **SHARED[option])
    return parser
