"""What an evaluation says: a dictionary for machines, a table and a picture for people."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from occfusion_ros.core.atomic import replacing
from occfusion_ros.core.frames import OccupancyGrid
from occfusion_ros.core.grid import GridSpec
from occfusion_ros.core.labels import IGNORE, OPENOCCUPANCY_CLASSES
from occfusion_ros.viz.birdseye import birds_eye_view

from .metrics import ConfusionMatrix, RangeBands
from .ray_iou import RayIoU


def report(bands: RangeBands, rays: RayIoU, frames: int) -> dict[str, Any]:
    """Figures over a set; None stands for what cannot be said.

    Returns:
        `iou` geometric; `miou` over the classes that the truth contains (`classes_present` of them); `miou_all` over
        all 16 as in OpenOccupancy; `per_class` IoU (None where the truth lacks the class); `ray_iou` by threshold in
        metres, their `mean`, `per_class` means and how many rays count; `bands` by range; `frames`.
    """
    matrix = bands.total()
    present = matrix.present()
    per_class = {
        c.name: float(value) if there else None
        for c, value, there in zip(OPENOCCUPANCY_CLASSES, matrix.class_iou(), present)
    }
    return {
        "iou": _number(matrix.iou()),
        "miou": _number(matrix.miou()),
        "miou_all": matrix.miou_all(),
        "per_class": per_class,
        "classes_present": int(present.sum()),
        "frames": frames,
        "ray_iou": {key: _number(value) if isinstance(value, float) else value for key, value in rays.report().items()},
        "bands": {name: _band(matrix) for name, matrix in zip(bands.names, bands.matrices)},
    }


def _band(matrix: ConfusionMatrix) -> dict[str, Any]:
    """Figures of one band of range."""
    return {
        "iou": _number(matrix.iou()),
        "miou": _number(matrix.miou()),
        "miou_all": matrix.miou_all(),
        "classes_present": int(matrix.present().sum()),
        "voxels": int(matrix.counts.sum()),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def table(figures: dict[str, Any]) -> str:
    """The figures of `report` for people."""
    rays = figures["ray_iou"]
    lines = [f"{'class':22s}    IoU  RayIoU"]
    lines += [
        f"{name:22s} {_text(value)}  {_text(rays['per_class'][name])}" for name, value in figures["per_class"].items()
    ]
    lines += ["", f"{'range':22s}    IoU    mIoU      voxels"]
    lines += [
        f"{name:22s} {_text(band['iou'])}  {_text(band['miou'])}  {band['voxels']:10,d}"
        for name, band in figures["bands"].items()
    ]
    at = ", ".join(f"{_text(rays[key]).strip()} at {key} m" for key in ("1", "2", "4"))
    return "\n".join(
        [
            *lines,
            "",
            f"IoU {_text(figures['iou']).strip()}   mIoU {_text(figures['miou']).strip()} over "
            f"{figures['classes_present']} classes present, "
            f"{figures['miou_all']:.3f} over all {len(rays['per_class'])}",
            f"RayIoU {_text(rays['mean']).strip()} ({at}), {rays['rays']:,} of {rays['rays_cast']:,} rays count",
            f"{figures['frames']} frames, observed voxels only",
        ]
    )


def _text(value: float | None) -> str:
    return "absent" if value is None else f"{value:6.3f}"


def save_picture(path: Path, figures: dict[str, Any], prediction: np.ndarray, truth: np.ndarray) -> None:
    """Draw IoU by class, and one frame from above: its truth and the prediction where the truth is known.

    Args:
        path: PNG file to write.
        figures: what `report` returned.
        prediction, truth: (X, Y, Z) uint8 labels on the default grid.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 6.5), layout="constrained")
    bars, *maps = figure.subplots(1, 3, width_ratios=(1.1, 1, 1))
    _draw_bars(bars, figures)
    known = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
    for axes, labels, title in zip(maps, (truth, known), ("truth", "prediction where the truth is known")):
        _draw_map(axes, labels, f"{title}, first frame")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _draw_bars(axes, figures: dict[str, Any]) -> None:  # matplotlib.axes.Axes
    """IoU and RayIoU of each class."""
    rows = np.arange(len(OPENOCCUPANCY_CLASSES))
    for offset, values, alpha in ((-0.2, figures["per_class"], 1.0), (0.2, figures["ray_iou"]["per_class"], 0.4)):
        for row, c in zip(rows, OPENOCCUPANCY_CLASSES):
            axes.barh(
                row + offset,
                values[c.name] or 0,
                0.38,
                color=np.divide(c.rgb, 255),
                alpha=alpha,
                edgecolor="black",
                linewidth=0.4,
            )
    axes.set_yticks(
        rows,
        [
            c.name.replace("_", " ") + (" (absent)" if figures["per_class"][c.name] is None else "")
            for c in OPENOCCUPANCY_CLASSES
        ],
    )
    axes.invert_yaxis()
    axes.set_xlabel("IoU (solid) and RayIoU (pale)")
    axes.set_title(
        f"IoU {_text(figures['iou']).strip()}, mIoU {_text(figures['miou']).strip()}, "
        f"RayIoU {_text(figures['ray_iou']['mean']).strip()}, {figures['frames']} frames"
    )


def _draw_map(axes, labels: np.ndarray, title: str) -> None:
    """Labels from above, forward up."""
    grid = GridSpec()
    extent = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
    axes.imshow(birds_eye_view(OccupancyGrid(grid, labels, 0, "grid"), OPENOCCUPANCY_CLASSES), extent=extent)
    axes.set_title(title)
    axes.set_xlabel("x right, m")
    axes.set_ylabel("y forward, m")
