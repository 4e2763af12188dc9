"""What commands have in common: how they describe themselves, and how they end when their user can mend something."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager

from occfusion_ros.core.errors import OccFusionError


def parser_of(command: str, description: str | None) -> ArgumentParser:
    """Make the parser of a command whose description keeps its lines, as of a module's docstring."""
    return ArgumentParser(command, description=description, formatter_class=RawDescriptionHelpFormatter)


@contextmanager
def one_sentence(parser: ArgumentParser, name: str) -> Iterator[None]:
    """Within it, our errors and those of files end the command `name` with one sentence and exit status 2."""
    try:
        yield
    except (OccFusionError, OSError) as error:
        parser.exit(2, f"{name}: {error}\n")


def failed(error: Exception) -> int:
    """Say why a command failed; returns its exit status."""
    print(f"error: {error}", file=sys.stderr)
    return getattr(error, "exit_code", 1)
