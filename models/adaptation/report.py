"""One report of an adaptation: figures before and after as Markdown and JSON, and a picture of a frame held back."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.atomic import replacing, write_json, write_text
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.labels import OPENOCCUPANCY_CLASSES
from occfusion_ros.viz.birdseye import birds_eye_view

BEFORE, AFTER = "before", "after"
ROWS = {
    "returns": "returns in or next to an occupied voxel",
    "passed": "voxels that rays passed answered occupied (less is better)",
    "teachers.right": "returns with the teachers' group of seven",
    "points.right": "returns with their true group of seven (truth)",
    "points.miou": "mean IoU of the groups (truth)",
    "iou": "occupancy IoU (truth)",
    "miou": "occupancy mIoU (truth)",
}
NOTE = (
    "Rows marked (truth) compare with labels that lie in the root and that neither labeling nor training has read; "
    "occupancy counts observed voxels only. Synthetic validation drives are those that the thresholds are fitted on."
)

Sets = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by data, then before and after


def write(out: Path, sets: Sets, about: Mapping[str, Any], pictures: Mapping[str, OccupancyGrid]) -> Path:
    """Write ``report.md``, ``report.json`` and ``report.png``; returns the first.

    Args:
        sets: figures as `measure.Figures.as_json` gives them. about: what was done with what.
        pictures: an answer by its title.
    """
    write_json(out / "report.json", {"about": dict(about), "sets": sets})
    save_picture(out / "report.png", pictures)
    write_text(out / "report.md", "\n".join([*lines(sets, about), ""]))
    return out / "report.md"


def lines(sets: Sets, about: Mapping[str, Any]) -> Iterator[str]:
    """The page, a line each."""
    yield "# Adaptation"
    yield ""
    yield from (f"- {name}: {value}" for name, value in about.items())
    yield ""
    yield "| data | figure | before | after | change |"
    yield "|---|---|---|---|---|"
    for data, figures in sets.items():
        for key, title in ROWS.items():
            before, after = (find(figures[when], key) for when in (BEFORE, AFTER))
            if before is not None and after is not None:
                yield f"| {data} | {title} | {before:.3f} | {after:.3f} | {after - before:+.3f} |"
    for data, figures in sets.items():
        if find(figures[BEFORE], "points.iou"):
            yield from ("", *_groups(data, figures))
    yield from ("", NOTE, "", "![The last frame held back, before and after, from above](report.png)")


def _groups(data: str, figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """IoU of returns by group."""
    ious = [find(figures[when], "points.iou") for when in (BEFORE, AFTER)]
    yield f"| {data}, IoU of returns (truth) | before | after |"
    yield "|---|---|---|"
    for group, before in ious[0].items():
        if before is not None:
            yield f"| {group.replace('_', '-')} | {before:.3f} | {ious[1][group]:.3f} |"


def find(figures: Mapping[str, Any], key: str) -> Any:
    """A figure by its dotted key; None where there is none."""
    value: Any = figures
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if isinstance(value, float) and math.isnan(value) else value


def save_picture(path: Path, answers: Mapping[str, OccupancyGrid]) -> None:
    """Draw answers side by side from above, forward up, with the classes' colors below."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(7 * len(answers), 8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(answers)))
    for place, (title, answer) in zip(axes, answers.items()):
        low, high = answer.spec.low, answer.spec.high
        place.imshow(birds_eye_view(answer, OPENOCCUPANCY_CLASSES), extent=(low[0], high[0], low[1], high[1]))
        place.set(title=title, xlabel="x right, m", ylabel="y forward, m")
    colors = [Patch(color=np.divide(c.rgb, 255), label=c.name.replace("_", " ")) for c in OPENOCCUPANCY_CLASSES]
    figure.legend(handles=colors, loc="outside lower center", ncols=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=90)
