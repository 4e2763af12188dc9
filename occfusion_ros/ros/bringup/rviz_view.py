"""The view that RViz opens: the one that ships, with the topics, cameras and frames of this robot."""

import atexit
import re
import shutil
import tempfile
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from ...core.shipped import shipped
from ..node.parameters import NodeParameters
from ..startup.names import full_name

TEMPLATE = "rviz/occfusion.rviz"
TEMPLATE_NODE = "/occfusion"


def write_view(settings: NodeParameters, node: str, base_frame: str) -> Path:
    """Write the view to a file that lives as long as this process, and return its path.

    Args:
        settings: the node's parameters.
        node: its full name.
        base_frame: frame that the view is fixed to.
    """
    import yaml

    view = make_view(yaml.safe_load(shipped(TEMPLATE).read_text()), settings, node, base_frame)
    path = _folder() / "occfusion.rviz"
    path.write_text(yaml.safe_dump(view, sort_keys=False))
    return path


def make_view(template: dict[str, Any], settings: NodeParameters, node: str, base_frame: str) -> dict[str, Any]:
    """The template's displays and windows for a node with these parameters; arguments as for `write_view`."""
    view = deepcopy(template)
    manager = view["Visualization Manager"]
    manager["Global Options"]["Fixed Frame"] = base_frame
    displays = []
    for display in manager["Displays"]:
        if "Displays" in display:
            slots = display["Displays"]
            display["Displays"] = _panels(slots, settings, node)
            view["Window Geometry"] = _window(view["Window Geometry"], slots, display["Displays"])
        elif "Topic" in display:
            _set_topic(display, settings, node)
        if display.get("Displays") != []:
            displays.append(display)
    manager["Displays"] = displays
    return view


def camera_remappings(settings: NodeParameters, node: str) -> tuple[tuple[str, str], ...]:
    """(from, to) topics for RViz.

    It reads compressed images (compressed_image_transport) only where the topic's name ends in "/compressed", and looks
    for how an image was taken in the "camera_info" beside it; where several images lie there, it finds none.
    """
    images = [(_shown(topic, settings), topic) for _, topic in _images(settings, node)]
    beside = [f"{shown.removesuffix('/compressed').rpartition('/')[0]}/camera_info" for shown, _ in images]
    infos = [full_name(info, node) for _, info in settings.camera_topics().values()]
    alone = [(wanted, info) for wanted, info in zip(beside, infos) if beside.count(wanted) == 1]
    return tuple((shown, topic) for shown, topic in [*images, *alone] if shown != topic)


def _images(settings: NodeParameters, node: str) -> list[tuple[str, str]]:
    """Name and image topic of each camera."""
    return [(camera, full_name(image, node)) for camera, (image, _) in settings.camera_topics().items()]


def _shown(topic: str, settings: NodeParameters) -> str:
    """The name by which RViz is to ask for an image topic."""
    return f"{topic}/compressed" if settings.is_compressed(topic) and not topic.endswith("/compressed") else topic


def _set_topic(display: dict[str, Any], settings: NodeParameters, node: str) -> None:
    """Give a display that is not of a camera its topic: one of the node's outputs, or the sweeps."""
    topic = display["Topic"]
    if topic["Value"].startswith(f"{TEMPLATE_NODE}/"):
        topic["Value"] = node + topic["Value"].removeprefix(TEMPLATE_NODE)
    else:
        topic.update(_sensor(full_name(settings.clouds[0], node), settings.lidar_reliability))


def _sensor(topic: str, reliability: str) -> dict[str, str]:
    """What a display of a sensor subscribes to, and how: as the node does."""
    return {"Value": topic, "Reliability Policy": "Best Effort" if reliability == "best_effort" else "Reliable"}


def _panels(slots: list[dict[str, Any]], settings: NodeParameters, node: str) -> list[dict[str, Any]]:
    """A display for each camera; those for which the window has no place are there, switched off."""
    panels = []
    for index, (camera, topic) in enumerate(_images(settings, node)):
        slot = slots[min(index, len(slots) - 1)]
        enabled = slot["Enabled"] and index < len(slots)
        name = f"{slot['Name'].rpartition(' ')[0]} {camera}".lstrip()  # what is before the camera's name stays
        panels.append({**deepcopy(slot), "Name": name, "Enabled": enabled, "Value": enabled})
        panels[-1]["Topic"].update(_sensor(_shown(topic, settings), settings.camera_reliability))
    return panels


def _window(geometry: dict[str, Any], slots: list[dict[str, Any]], panels: list[dict[str, Any]]) -> dict[str, Any]:
    """The window with each slot's dock, in Qt's saved state and beside it, under the name of the panel in it."""
    old, new = ([display["Name"] for display in displays] for displays in (slots, panels))
    renamed = dict(zip(old, new))
    docks = {_qt_string(slot): _qt_string(name) for slot, name in renamed.items()}
    state = geometry["QMainWindow State"]
    if docks:
        state = re.sub("|".join(docks), lambda found: docks[found[0]], state)
    kept = {key: value for key, value in geometry.items() if key not in old}
    shown = {display["Name"]: {"collapsed": False} for display in panels if display["Enabled"]}
    return {**kept, "QMainWindow State": state, **shown}


def _qt_string(text: str) -> str:
    """As Qt streams a string, in hexadecimal: its length in bytes, then UTF-16."""
    data = text.encode("utf-16-be")
    return (len(data).to_bytes(4, "big") + data).hex()


@cache
def _folder() -> Path:
    """A private folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix="occfusion_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
