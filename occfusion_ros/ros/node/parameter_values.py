"""Checks of single values of parameters, and what values that are written as text mean."""

import math
import re
from dataclasses import Field
from typing import Any

from ...core.ego_box import EgoBox
from ...core.errors import InvalidFrameError, OccFusionError


class ParameterError(OccFusionError):
    """A parameter whose value cannot be used."""


def check_value(parameter: Field, value: Any) -> None:
    """Check a value against its limits and choices.

    Raises:
        ParameterError: it is none of them.
    """
    limits, choices = parameter.metadata["limits"], parameter.metadata["choices"]
    if limits and not limits[0] <= value <= limits[1]:
        raise ParameterError(f"{parameter.name}: expected {limits[0]} to {limits[1]}, got {value}")
    if choices and text_of(value) not in choices:
        raise ParameterError(f"{parameter.name}: expected one of {', '.join(choices)}, got {value!r}")


def text_of(value: Any) -> str:
    """Write a value as files and command lines write it: they know true and false as no strings."""
    return str(value).lower() if isinstance(value, bool) else value


def extents_of(given: Any) -> tuple[float, ...]:
    """An ego box as it is given, or none.

    Raises:
        ParameterError: it is none.
    """
    try:
        extents = tuple(map(float, given or ()))
        if extents:
            EgoBox.of_extents(extents)
        return extents
    except (TypeError, ValueError, InvalidFrameError) as error:
        raise ParameterError(f"ego_box: {error}") from error


def band_of(name: str, given: Any) -> tuple[float, float]:
    """Two heights in metres, the first below the second.

    Raises:
        ParameterError: they are none.
    """
    try:
        low, high = map(float, given)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ParameterError(f"{name}: expected two heights in metres, the first below the second, got {given}")
    return low, high


def costs_of(entries: tuple[str, ...]) -> dict[str, int]:
    """Costs, 0 to 100, by the names of classes.

    Raises:
        ParameterError: an entry is not name:cost.
    """
    costs = {}
    for entry in entries:
        name, _, cost = entry.partition(":")
        if not name or not cost.isdecimal() or int(cost) > 100:
            raise ParameterError(f"class_costs: expected name:cost with a cost from 0 to 100, got {entry!r}")
        costs[name] = int(cost)
    return costs


def bands_of(entries: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Height bands of further costmaps by name, metres above the road.

    Raises:
        ParameterError: an entry is not name:from:to, or two have one name.
    """
    bands = {}
    for entry in entries:
        name, *limits = entry.split(":")
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or name in bands:
            raise ParameterError(f"costmap_bands: expected different names of letters and digits, got {entry!r}")
        bands[name] = band_of("costmap_bands", limits)
    return bands
