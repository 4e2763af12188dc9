"""The windows in which Foxglove shows what `foxglove_web` gives it, as a file that it imports."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...core.labels import SemanticClass
from .command import needed

if TYPE_CHECKING:
    from .scene import Scene

ACROSS = 3  # cameras beside each other
SWEEP_COLOR = "#aaaaaa"
POINT_PIXELS = 2.0
EYE_M, EYE_TILT_DEG, EYE_TURN_DEG = 60.0, 60.0, 0.0  # from the vehicle; from straight above; behind it
PLOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # names of fields that Foxglove's expressions take as they are


def layout_of(scene: "Scene") -> str:
    """Give a layout for the cameras, classes and stages of a scene, as JSON.

    Voxels and sweep are in the middle, images with the voxels on them beside, counts, times and diagnostics below.

    Raises:
        ViewerError: Foxglove's package is not installed.
    """
    fl = needed("foxglove.layouts", "foxglove-sdk")
    space = _in_space(fl, scene.grid.frame_id)
    images = [_image(fl, name, hasattr(view.image, "format")) for name, view in sorted(scene.cameras.items())]
    rows = [_split(fl, "row", images[i : i + ACROSS]) for i in range(0, len(images), ACROSS)]
    above = _split(fl, "row", [space, _split(fl, "column", rows)], (3, 2)) if rows else space
    counts = _plot(fl, "voxels by class", "/counts", _colors(scene.classes))
    times = _plot(fl, "stages, ms", "/times_ms", dict.fromkeys(scene.stage_ms))
    log = fl.LogPanel(title="diagnostics", config=fl.LogConfig(topic_to_render="/diagnostics"))
    classes = fl.RawMessagesPanel(title="classes", config=fl.RawMessagesConfig(topic_path="/classes"))
    below = _split(fl, "row", [counts, times, log, classes])
    return fl.Layout(content=_split(fl, "column", [above, below], (3, 1))).to_json()


def _split(fl: Any, direction: str, contents: list, shares: Iterable[float] = ()) -> Any:
    shares = tuple(shares) or (1,) * len(contents)
    items = [fl.SplitItem(proportion=share, content=content) for share, content in zip(shares, contents)]
    return fl.SplitContainer(direction=direction, items=items)


def _in_space(fl: Any, frame: str) -> Any:
    """Voxels in their own colors, and the sweep in gray, which no class has."""
    eye = fl.ThreeDeeCameraState(
        perspective=True, distance=EYE_M, phi=EYE_TILT_DEG, theta_offset=EYE_TURN_DEG, target_offset=(0.0, 0.0, 0.0)
    )
    topics = {
        "/voxels": fl.BaseRendererVoxelGridTopicSettings(visible=True, color_mode="rgba-fields"),
        "/sweep": fl.BaseRendererPointCloudTopicSettings(
            visible=True, color_mode="flat", flat_color=SWEEP_COLOR, point_size=POINT_PIXELS
        ),
    }
    config = fl.ThreeDeeConfig(camera_state=eye, follow_tf=frame, follow_mode="follow-pose", topics=topics)
    return fl.ThreeDeePanel(title="occupancy", config=config)


def _image(fl: Any, name: str, compressed: bool) -> Any:
    """An image with the voxels that its camera sees."""
    mode = fl.ImageModeConfig(
        image_topic=f"/{name}/image" if compressed else f"/{name}/image_raw",
        calibration_topic=f"/{name}/calibration",
        annotations={f"/{name}/voxels": fl.ImageAnnotationSettings(visible=True)},
    )
    return fl.ImagePanel(title=name, config=fl.ImageConfig(image_mode=mode))


def _plot(fl: Any, title: str, topic: str, colors: dict[str, str | None]) -> Any:
    """A line for each name."""
    paths = [
        fl.PlotSeries(value=f"{topic}.{name}", label=name, color=color, enabled=True, timestamp_method="publishTime")
        for name, color in colors.items()
        if PLOTTED.fullmatch(name)
    ]
    return fl.PlotPanel(title=title, config=fl.PlotConfig(paths=paths))


def _colors(classes: tuple[SemanticClass, ...]) -> dict[str, str]:
    return {one.name: "#{:02x}{:02x}{:02x}".format(*one.rgb) for one in classes}
