"""A node goes on being served while one of its own callbacks waits for something that takes minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

STEP_S = 0.05


@contextmanager
def served(node: Node) -> Iterator[Callable[[], None]]:
    """Within the block a function is given that serves one callback of the node, or waits `STEP_S` for one.

    The executor that the node belongs to, if any, waits in the callback that uses this, so the node is lent to another
    one on the same thread: nothing runs at the same time as anything else. Callbacks in the mutually exclusive group
    of the one that waits have to wait too. The function raises what rclpy raises once it was shut down.
    """
    outer, inner = node.executor, SingleThreadedExecutor(context=node.context)
    inner.add_node(node)
    try:
        yield lambda: inner.spin_once(timeout_sec=STEP_S)
    finally:
        node.executor = outer
        inner.shutdown()
