"""Print the page of the node's parameters: `python -m occfusion_ros.ros.node.parameters_page`."""

from collections.abc import Iterator
from dataclasses import Field, fields
from typing import Any

from ...core.command import parser_of
from .parameters import NodeParameters, meaning, text_of

GROUPS = {
    "model": "Model and backend",
    "on_backend_failure": "When things go wrong or slow",
    "lidar_topic": "LiDAR",
    "cameras": "Cameras",
    "lidar_reliability": "Quality of service",
    "grid_frame": "Frames and pairing",
    "memory": "Memory and unknown space",
    "classes_file": "Outputs",
    "obstacle_band_m": "For planners",
}
"""Titles of the groups, by the first parameter of each."""
HEAD = ["| parameter | default | meaning | may change |", "|---|---|---|---|"]


def tables() -> str:
    """Write a Markdown table for each group of parameters, in the order in which they are declared."""
    return "\n".join(line for parameter in fields(NodeParameters) for line in _lines(parameter)).strip()


def _lines(parameter: Field) -> Iterator[str]:
    if title := GROUPS.get(parameter.name):
        yield from ("", f"## {title}", "", *HEAD)
    default, changes = _default_text(parameter.default), parameter.metadata["changes"]
    yield f"| `{parameter.name}` | {default} | {meaning(parameter)} | {changes} |"


def _default_text(default: Any) -> str:
    entries = default if isinstance(default, tuple) else (default,)
    return ", ".join(f"`{text_of(entry)}`" if entry != "" else "empty" for entry in entries) or "empty"


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser_of("python -m occfusion_ros.ros.node.parameters_page", __doc__).parse_args(argv)
    print(tables())


if __name__ == "__main__":
    main()
