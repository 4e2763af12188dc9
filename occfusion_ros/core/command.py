"""What commands have in common: how they describe themselves, and how they end when their user can mend something."""

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from occfusion_ros.core.errors import OccFusionError


def parser_of(command: str, description: str | None) -> ArgumentParser:
    """Make the parser of a command whose description keeps its lines, as of a module's docstring."""
    return ArgumentParser(command, description=description, formatter_class=RawDescriptionHelpFormatter)


def number(
    kind: type[int] | type[float], least: float, most: float = math.inf, above: bool = False
) -> Callable[[str], float]:
    """Make the type of an argument that is a finite number of a kind from `least` to `most`.

    Args:
        above: `least` itself is none of them.
    """
    wanted = "a whole number" if kind is int else "a number"
    wanted += f" above {least:,}" if above else f" of at least {least:,}"
    wanted += f" and at most {most:,}" if most < math.inf else ""

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and value < math.inf) or (above and value == least):
            raise ArgumentTypeError(f"expected {wanted}, got {text!r}")
        return value

    return parsed


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
