"""What the commands have in common that show a node's answers in a program of others."""

import argparse
import importlib
import queue
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from ...core.command import failed, parser_of
from ...core.errors import OccFusionError
from ..startup.interrupts import run_until_interrupted
from ..startup.rclpy_start import StartError, check_middleware_installed, messages_needed, spinning_node

if TYPE_CHECKING:
    from .scene import Scene

Write = Callable[["Scene"], None]
BACKLOG = 20  # answers that may wait to be written to a file; of those that are shown live, only the newest


class ViewerError(OccFusionError):
    """A viewer, or a file for it, that is not to be had."""


def needed(module: str, package: str) -> Any:
    """Import a package that is not installed with this one.

    Raises:
        ViewerError: it is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ViewerError(f"{package} is needed ({error}): pip install {package}") from error


def common_parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser of the options that all viewers have."""
    parser = parser_of(name, description)
    parser.add_argument("--node", default="occfusion", help="name of the node (default: occfusion)")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after N answers (default: 0, never)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=0.0,
        metavar="S",
        help="give up after S seconds without one (default: 0, never)",
    )
    parser.add_argument(
        "--color-by", default="class", choices=("class", "confidence", "faded"), help="of the voxels (default: class)"
    )
    parser.add_argument(
        "--fixed-frame",
        default="",
        metavar="FRAME",
        help="that the node was given, so that cameras are placed as there",
    )
    return parser


def run_viewer(
    parser: argparse.ArgumentParser, open_writer: Callable[..., AbstractContextManager[Write]], argv: list[str] | None
) -> int:
    """Show a node's answers until told to end; the exit code.

    Args:
        open_writer: given the parsed options, what takes the scenes and whether it takes all there are; may raise
            `ViewerError`.
    """
    load = partial(_load, parser, open_writer, sys.argv[1:] if argv is None else argv)
    return run_until_interrupted(load, parser.prog)


def _load(parser: argparse.ArgumentParser, open_writer: Callable, argv: list[str]) -> Callable[[], int]:
    try:
        check_middleware_installed()
        from rclpy.utilities import remove_ros_args

        with messages_needed():
            from . import scene  # noqa: F401 - takes long
    except StartError as error:
        return partial(failed, error)
    return partial(_run, parser.prog, open_writer, parser.parse_args(remove_ros_args(argv)), argv)


def _run(name: str, open_writer: Callable, options: argparse.Namespace, argv: list[str]) -> int:
    try:
        with open_writer(options) as write, spinning_node(name, argv) as node:
            _follow(node, options, write)
        return 0
    except OccFusionError as error:
        return failed(error)
    except KeyboardInterrupt:
        if options.count:
            raise
        print(f"{name}: interrupted", file=sys.stderr)
        return 0  # without a count this is the normal end


def _follow(node: Any, options: argparse.Namespace, write: Write) -> None:
    """Write answers until there are enough."""
    from ..tools.output_collector import ALL_INPUTS, OutputCollector, wait_for_answers
    from .scene import SceneReader

    waiting = queue.Queue()
    collector = OutputCollector(node, options.node, waiting.put, ALL_INPUTS)
    reader = SceneReader(node, collector, options.color_by, options.fixed_frame)
    backlog = BACKLOG if options.file else 1
    for number, answer in enumerate(wait_for_answers(collector, waiting, options.timeout, backlog), start=1):
        try:
            write(reader.read(answer))
        except OccFusionError as error:
            print(f"left out: {error}", file=sys.stderr)
        if number == options.count:
            return
