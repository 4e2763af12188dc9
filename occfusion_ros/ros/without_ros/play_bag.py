"""Play a rosbag2 (MCAP or sqlite3) through rclpy, for machines without `ros2 bag play`.

Messages are published as they lie in the bag, at the pace of their recording, with /clock for nodes that use
simulated time. Publishers are reliable, which suits every subscriber; latched topics are latched again. Topics whose
type is not installed are skipped with a warning. With --loop time jumps back at the start of each round, as it does
with `ros2 bag play --loop`.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...core.command import failed, number, parser_of
from ...core.errors import DatasetError
from ..startup.interrupts import run_until_interrupted
from ..startup.rclpy_start import StartError, check_middleware_installed, running_node

# Of a loop. RViz clears its view when time jumps back: the answer to a bag of one sweep must come before, and be seen.
LEAST_ROUND_S = 5.0
POSITIVE = number(float, 0, above=True)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("play_bag", __doc__)
    parser.add_argument("bag", type=Path, help="the bag's folder, or one .mcap or .db3 file")
    parser.add_argument("--rate", type=POSITIVE, default=1.0, help="bag seconds per second (default: 1)")
    parser.add_argument("--clock", type=POSITIVE, default=100.0, metavar="HZ", help="rate of /clock (default: 100)")
    parser.add_argument("--no-clock", action="store_true", help="do not publish /clock")
    parser.add_argument("--loop", action="store_true", help="start again at the end; time jumps back")
    parser.add_argument(
        "--stay",
        action="store_true",
        help="at the end go on offering what is latched, such as /tf_static, until interrupted",
    )
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play only these (default: all)")
    parser.add_argument(
        "--wait-for",
        nargs="+",
        default=[],
        metavar="TOPIC",
        help="start when these have subscribers, whether the bag or somebody else publishes them",
    )
    parser.add_argument(
        "--wait-for-node",
        nargs="+",
        default=[],
        metavar="NODE",
        help="start when these nodes, such as /occfusion, have subscribed to what is played",
    )
    parser.add_argument(
        "--wait-timeout",
        type=POSITIVE,
        default=60.0,
        metavar="S",
        help="give up waiting after this many seconds (default: 60)",
    )
    return parser


def _play(options: argparse.Namespace, node) -> None:
    from .bag_player import BagPlayer
    from .bag_reader import open_bag

    with open_bag(options.bag) as bag:
        player = BagPlayer(node, bag, options.topics, 0 if options.no_clock else options.clock, options.rate)
        player.audience.wait(options.wait_for_node, options.wait_for, options.wait_timeout)
        while (count := player.play(LEAST_ROUND_S if options.loop else 0.0)) and options.loop:
            pass
        player.wait_for_acknowledgement()
        print(f"played {count} messages, {bag.duration / 1e9:.1f} s of {options.bag}", flush=True)
    if options.stay:
        player.stay()


def main(argv: list[str] | None = None) -> int:
    """Command line entry point; to be interrupted is a normal end."""
    return run_until_interrupted(partial(_load, sys.argv[1:] if argv is None else argv), "play_bag", exit_code=0)


def _load(argv: list[str]) -> Callable[[], int]:
    try:
        check_middleware_installed()
    except StartError as error:
        return partial(failed, error)
    import rclpy  # noqa: F401 - takes long, as rosbags does
    import rosbags.rosbag2  # noqa: F401
    from rclpy.utilities import remove_ros_args

    options = _parser().parse_args(remove_ros_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return partial(_run, options, argv)


def _run(options: argparse.Namespace, argv: list[str]) -> int:
    try:
        with running_node("play_bag", argv, enable_rosout=False, start_parameter_services=False) as node:
            _play(options, node)
    except (StartError, DatasetError, ImportError) as error:
        return failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
