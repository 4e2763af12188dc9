"""Reads ROS parameters files as the node itself would, for whoever must know its topics before it runs."""

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from ...core.errors import one_line
from .parameters import NodeParameters, ParameterError

SECTION = "ros__parameters"


def read_parameters_file(path: Path, node: str) -> NodeParameters:
    """The parameters that a file sets for a node; those that it does not set have their defaults.

    Args:
        path: the file.
        node: full name of the node.

    Raises:
        ParameterError: it is not a parameters file, sets nothing for this node, or a value cannot be used.
    """
    sections = list(_sections(path, _load(path)))
    mine = [values for pattern, values in sections if _means(pattern, node)]
    if not mine:
        raise ParameterError(
            f"{path} sets nothing for the node {node}, only for "
            f"{', '.join(pattern for pattern, _ in sections) or 'nobody'}; /** stands for every node"
        )
    known = {field.name for field in fields(NodeParameters)}
    values = {name: value for section in mine for name, value in section.items() if name in known}
    try:
        return NodeParameters(**values)
    except (ParameterError, TypeError, AttributeError) as error:  # a value of another type fails in many ways
        raise ParameterError(f"{path}: {one_line(error)}") from error


def _load(path: Path) -> dict:
    import yaml

    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParameterError(f"cannot read the parameters file {path}: {one_line(error)}") from error
    return tree if tree is not None else {}


def _sections(path: Path, tree: object, above: str = "") -> Iterator[tuple[str, dict]]:
    """Name or pattern of each node that the file is about, and its parameters."""
    if not isinstance(tree, dict):
        raise ParameterError(
            f"{path}: expected a ROS parameters file (node: {SECTION}: values), got {tree!r:.80}"
            f"{f' for {above}' if above else ''}"
        )
    for key, value in tree.items():
        if key == SECTION:
            yield above or "/", dict(_named(path, value or {}))
        else:
            yield from _sections(path, value, f"{above}/{str(key).strip('/')}")


def _named(path: Path, values: object) -> dict:
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: expected names and values under {SECTION}, got {values!r:.80}")
    return values


def _means(pattern: str, node: str) -> bool:
    """Whether a node's name fits: * stands for one part of it, ** for any number."""
    parts = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    expression = "".join(parts.get(part, f"/{re.escape(part)}") for part in pattern.strip("/").split("/"))
    return re.fullmatch(expression, node) is not None
