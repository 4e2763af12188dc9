"""Write what the node publishes as PNG pictures: voxels in three dimensions beside the camera images, and from above.

Runs without a screen and without a GPU. The images are those that the node itself subscribes to.
"""

import argparse
import queue
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.atomic import WriteError, replacing
from ...core.command import failed, parser_of
from ...core.errors import OccFusionError
from ..startup.interrupts import run_until_interrupted
from ..startup.rclpy_start import StartError, check_middleware_installed, messages_needed, spinning_node

if TYPE_CHECKING:
    from ...core.labels import SemanticClass
    from .output_collector import Answer

BACKLOG = 20  # answers that may wait to be drawn; the oldest is dropped first


def write_picture(answer: "Answer", classes: "tuple[SemanticClass, ...]", out: Path) -> Path:
    """Draw an answer into the folder `out`, made if missing; the file is named after the sweep's stamp."""
    from PIL import Image

    from ...core.labels import OPENOCCUPANCY_CLASSES
    from ...viz.picture import frame_picture

    grid, images = answer.decoded()
    path = out / f"occupancy_{grid.stamp_ns // 10**9}_{grid.stamp_ns % 10**9:09d}.png"
    picture = Image.fromarray(frame_picture(grid, classes or OPENOCCUPANCY_CLASSES, images))
    with replacing(path) as partial_file:
        picture.save(partial_file, "PNG")
    return path


def take_pictures(node, options: argparse.Namespace) -> int:
    """Draw answers until `options.count` are written, or could not be; the exit code.

    Raises:
        SilenceError: no answer came.
    """
    from .output_collector import OutputCollector, wait_for_answers

    waiting = queue.Queue()
    collector = OutputCollector(node, options.node, waiting.put)
    taken, unwritten = 0, 0
    for answer in wait_for_answers(collector, waiting, options.timeout, BACKLOG):
        try:
            print(write_picture(answer, collector.classes, options.out), flush=True)
            taken += 1
        except WriteError as error:  # there may be room for the next
            print(f"left out: {error}", file=sys.stderr)
            taken, unwritten = taken + 1, unwritten + 1
        except OccFusionError as error:
            print(f"left out: {error}", file=sys.stderr)
        if taken == options.count:
            break
    return int(unwritten > 0)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("snapshot", __doc__)
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for the pictures (default: this one)")
    parser.add_argument("--count", type=int, default=1, help="how many to take; 0: until stopped (default: 1)")
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="give up after so many seconds without a message; 0: never (default: 60)",
    )
    parser.add_argument("--node", default="occfusion", help="name of the node (default: occfusion)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line entry point."""
    return run_until_interrupted(partial(_load, sys.argv[1:] if argv is None else argv), "snapshot")


def _load(argv: list[str]) -> Callable[[], int]:
    try:
        check_middleware_installed()
        from rclpy.utilities import remove_ros_args

        from ...viz import picture  # noqa: F401 - takes long, as what follows

        with messages_needed():
            from . import output_collector  # noqa: F401
    except StartError as error:
        return partial(failed, error)
    return partial(_run, _parser().parse_args(remove_ros_args(argv)), argv)


def _run(options: argparse.Namespace, argv: list[str]) -> int:
    try:
        with spinning_node("snapshot", argv) as node:
            return take_pictures(node, options)
    except OccFusionError as error:
        return failed(error)
    except KeyboardInterrupt:
        if options.count:
            raise
        print("snapshot: interrupted", file=sys.stderr)
        return 0  # without a count this is the normal end


if __name__ == "__main__":
    sys.exit(main())
