"""Runs the node: `ros2 run occfusion_ros occfusion_node`, or `python -m occfusion_ros.ros.main`."""

import sys

from .allocator import keep_memory_together


def main(argv: list[str] | None = None) -> int:
    """Run until interrupted; 1 if the node could not start."""
    keep_memory_together()
    from .process import run  # numpy, which it imports, starts threads

    return run(argv)


if __name__ == "__main__":
    sys.exit(main())
