"""Runs the node: `ros2 run occfusion_ros occfusion_node`, or `python -m occfusion_ros.ros.node.main`."""

import sys
from collections.abc import Callable
from functools import partial

from ..startup.interrupts import run_until_interrupted


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted, which is its normal end; 1 if the node could not start."""
    return run_until_interrupted(partial(_load, argv), "occfusion_node", exit_code=0)


def _load(argv: list[str] | None) -> Callable[[], int]:
    from ..startup.allocator import keep_memory_together
    from ..startup.rclpy_start import StartError, check_middleware_installed, messages_needed

    try:
        check_middleware_installed()
        keep_memory_together()
        with messages_needed():
            from .process import run  # numpy, which it imports, starts threads
    except StartError as error:
        sys.exit(str(error))
    return partial(run, argv)


if __name__ == "__main__":
    sys.exit(main())
