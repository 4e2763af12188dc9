"""Services that save, load and reset what the node remembers."""

import os
from collections.abc import Callable
from pathlib import Path

from rclpy.node import Node
from std_srvs.srv import Trigger

from ...core.errors import OccFusionError
from .frame_memory import FrameMemory
from .parameters import NodeParameters


class MemoryServices:
    """Services ``~/save_memory``, ``~/load_memory`` and ``~/reset_memory``; sweeps wait while one is at work."""

    def __init__(self, node: Node, memory: FrameMemory, parameters: Callable[[], NodeParameters]) -> None:
        """`parameters` gives the present ones, `memory_file` among them."""
        self._node, self._memory, self._parameters = node, memory, parameters
        work = {"save_memory": self._save, "load_memory": self._load, "reset_memory": self._reset}
        self._services = [
            node.create_service(Trigger, f"~/{name}", lambda _, response, do=do: self._answer(do, response))
            for name, do in work.items()
        ]

    def close(self) -> None:
        """Take the services away."""
        for service in self._services:
            self._node.destroy_service(service)

    def _answer(self, do: Callable[[], str], response: Trigger.Response) -> Trigger.Response:
        try:
            response.success, response.message = True, do()
            self._node.get_logger().info(response.message)
        except OccFusionError as error:
            response.success, response.message = False, str(error)
            self._node.get_logger().warning(response.message)
        return response

    def _save(self) -> str:
        self._memory.save(path := self._path(), self._parameters())
        return f"memory saved to {path}, {path.stat().st_size / 1e6:.1f} MB"

    def _load(self) -> str:
        self._memory.load(path := self._path(), self._parameters())
        return f"memory loaded from {path}"

    def _reset(self) -> str:
        self._memory.reset("asked for")
        return "memory reset"

    def _path(self) -> Path:
        if not (name := self._parameters().memory_file):
            raise OccFusionError("memory: memory_file names no file")
        return Path(os.path.abspath(os.path.expanduser(name)))
