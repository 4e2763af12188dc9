"""The node's parameters as ROS has them: declared from the dataclass, and read back into it."""

from dataclasses import Field, fields
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterUninitializedException

from .parameters import NEVER, NodeParameters, meaning


def declare_parameters(node) -> None:
    """Declare all parameters on an rclpy node."""
    for parameter in fields(NodeParameters):
        node.declare_parameter(parameter.name, _ros_default(parameter), _descriptor(parameter))


def _ros_default(parameter: Field) -> Any:
    """ROS does not know of which type an empty list is."""
    if parameter.type == tuple[str, ...]:
        return list(parameter.default) or [""]
    return None if parameter.default == () else parameter.default


def read_parameters(node) -> NodeParameters:
    """The values of a node's declared parameters.

    Raises:
        ParameterError: values that cannot be used, or not together.
    """
    return NodeParameters(**{p.name: _value(node, p.name) for p in fields(NodeParameters)})


def _value(node, name: str) -> Any:
    """None for an empty list from the command line or a file, which has no type."""
    try:
        return node.get_parameter(name).value
    except ParameterUninitializedException:
        return None


def unknown_parameters(node) -> list[str]:
    """Names that arguments or files set and that the node does not have, each with the one that may be meant.

    ROS passes them over in silence.
    """
    names = [field.name for field in fields(NodeParameters)]
    unknown = [
        name
        for name in node._parameter_overrides  # there is no public way to them
        if not node.has_parameter(name) and not name.startswith("qos_overrides.")
    ]
    likely = {name: get_close_matches(name, names, 1) for name in unknown}
    return [f"{name} ({likely[name][0]}?)" if likely[name] else name for name in unknown]


def _descriptor(parameter: Field) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=meaning(parameter),
        read_only=parameter.metadata["changes"] == NEVER,
        dynamic_typing="true" in parameter.metadata["choices"],
    )
    descriptor.dynamic_typing |= parameter.type == tuple[float, ...]  # whole numbers too, or none at all
    if limits := parameter.metadata["limits"]:
        if isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1])]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
    return descriptor
