"""Classes as a user wants them: merged, dropped, renamed and recolored, from a table by the model's names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import OccFusionError
from .frames import OccupancyGrid
from .labels import IGNORE, SemanticClass

INTO, DROP, NAME, COLOR = "into", "drop", "name", "color"


class RelabelingError(OccFusionError):
    """A table of classes that cannot be used."""


@dataclass(frozen=True)
class Relabeling:
    """What becomes of each class; those that stay keep their labels.

    Attributes:
        classes: those that are left.
        label_of: (256,) uint8 new label by old one; 255, unknown, for classes that are dropped.
    """

    classes: tuple[SemanticClass, ...]
    label_of: np.ndarray

    @classmethod
    def of(cls, classes: tuple[SemanticClass, ...], table: Any) -> "Relabeling":
        """From a table that gives, by the name of a class, one of ``into: <class>`` and ``drop: true``, or a new
        ``name``, ``color`` or both; classes that are not listed stay as they are.

        Raises:
            RelabelingError: it is no such table.
        """
        known, label_of = {each.name: each for each in classes}, np.arange(256).astype(np.uint8)
        if not isinstance(table, Mapping):
            raise RelabelingError(f"expected what is to become of classes by their names, got {table!r:.80}")
        for name, change in table.items():
            _check(name, change, known, table)
            if _goes(change):
                label_of[known[name].label] = known[change[INTO]].label if INTO in change else IGNORE
        left = tuple(_changed(each, table.get(each.name, {})) for each in classes if not _goes(table.get(each.name)))
        names = [each.name for each in left]
        if not left:
            raise RelabelingError("expected at least one class to stay, got a table that drops all of them")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RelabelingError(f"expected different names, got {', '.join(twice)} twice; merge classes with into")
        return cls(left, label_of)

    def __call__(self, grid: OccupancyGrid) -> OccupancyGrid:
        """Relabel a grid; how sure it is of a class that was merged is how sure it was of the one that it had.

        Of voxels whose class is dropped nothing is known any more.
        """
        if (self.label_of == np.arange(256)).all():
            return grid
        labels = self.label_of[grid.labels]
        dropped = labels == IGNORE
        kept = {
            name: np.where(dropped, np.uint8(0), values)
            for name in ("occupancy", "class_confidence")
            if (values := getattr(grid, name)) is not None
        }
        remembered = grid.remembered[~dropped.reshape(-1)[grid.remembered]]
        return replace(grid, labels=labels, remembered=remembered, **kept)


def _goes(change: Any) -> bool:
    """Whether a class is no more."""
    return isinstance(change, Mapping) and (INTO in change or DROP in change)


def _changed(semantic_class: SemanticClass, change: Mapping) -> SemanticClass:
    rgb = tuple(change.get(COLOR, semantic_class.rgb))
    return SemanticClass(semantic_class.label, change.get(NAME, semantic_class.name), rgb)


def _check(name: Any, change: Any, known: Mapping[str, SemanticClass], table: Mapping) -> None:
    """Raise RelabelingError unless what is to become of one class can be done."""
    if name not in known:
        raise RelabelingError(f"expected one of the model's classes, {', '.join(known)}, got {name!r}")
    for complaint in _complaints(change, known, table):
        raise RelabelingError(f"{name}: expected {complaint}")


def _complaints(change: Any, known: Mapping[str, SemanticClass], table: Mapping) -> Iterator[str]:
    if not isinstance(change, Mapping) or not change or set(change) - {INTO, DROP, NAME, COLOR}:
        yield f"{INTO}, {DROP}, {NAME} or {COLOR} with a value, got {change!r:.80}"
        return
    if _goes(change) and len(change) > 1:
        yield f"{INTO} and {DROP} to stand alone, got {change!r:.80}"
    if DROP in change and change[DROP] is not True:
        yield f"{DROP}: true, got {change[DROP]!r:.80}"
    target = change.get(INTO, next(iter(known)))
    if not isinstance(target, str) or target not in known:
        yield f"{INTO}: one of {', '.join(known)}, got {target!r:.80}"
    elif INTO in change and _goes(table.get(target)):
        yield f"{INTO}: a class that stays, got {target}, which is merged or dropped itself"
    if NAME in change and not (isinstance(change[NAME], str) and re.fullmatch(r"\w+", change[NAME])):
        yield f"{NAME}: letters, digits and _, got {change[NAME]!r:.80}"
    if COLOR in change and not _is_color(change[COLOR]):
        yield f"{COLOR}: red, green and blue from 0 to 255, got {change[COLOR]!r:.80}"


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) is int and 0 <= each <= 255 for each in value)
