"""How commands end when something is wrong that their user can mend."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager

from occfusion_ros.core.errors import OccFusionError


@contextmanager
def one_sentence(parser: ArgumentParser, name: str) -> Iterator[None]:
    """Within it, our errors and those of files end the command `name` with one sentence and exit status 2."""
    try:
        yield
    except (OccFusionError, OSError) as error:
        parser.exit(2, f"{name}: {error}\n")
