"""The part of the page that says why: what pre-sampling and active training could change at most."""

from typing import Any

from ..markdown import table
from .reasons import BANDS

WAYS = {
    "both": "as trained: both",
    "fps": "farthest point sampling only",
    "synthetic": "synthetic points only",
    "none": "neither",
    "center": "all points in the middle of their voxel",
    "blind": "no camera sees anything",
}


def reasons_section(found: dict[str, Any]) -> list[str]:
    """From what `reasons.reasons` returns."""
    return [
        "## Why pre-sampling and active training matter as much as they do",
        "",
        "Counted and tried out without training, by `benchmarks.ablation.reasons`.",
        "",
        *points_lines(found["points"]),
        *without_lines(found["without"]),
        *hardness_lines(found["hardness"]),
    ]


def points_lines(points: dict[str, Any]) -> list[str]:
    """How many voxels have something to sample, and how far sampling moves a point in the image."""
    rows = [
        [
            f"`{name}`",
            f"{low:g} to {high:g}",
            f"{row['voxels']:,.0f}",
            *(f"{100 * row[key]:.0f}" for key in ("none", "filled", "sampled")),
            f"{row['spread']:.1f}",
            f"{100 * row['one_cell']:.0f}",
        ]
        for name, bands in points.items()
        for low, high, row in zip(BANDS, BANDS[1:], bands)
    ]
    head = [
        "images of",
        "range, m",
        "fused voxels of a frame",
        "without a return, %",
        "with up to theta, %",
        "with more, %",
        "spread of points, cells (median)",
        "within one cell, %",
    ]
    near = points["swift"][0]
    return [
        "**Is there something to sample?** Farthest point sampling chooses only where a voxel has more than theta",
        "returns, synthetic points stand alone where it has none. *Spread*: how far the points of a voxel lie apart in",
        "one camera's finest features, along the longer axis; within one cell it makes little difference which are",
        "taken. Present sweeps alone.",
        "",
        *table(head, rows),
        "",
        f"- Farthest point sampling chooses in {100 * near['sampled']:.0f} % of the voxels within "
        f"{BANDS[1]:g} m and in {100 * points['swift'][-1]['sampled']:.0f} % of those beyond {BANDS[-2]:g} m; "
        f"of those that one camera sees there, {100 * points['swift'][-1]['one_cell']:.0f} % have their points within "
        "one cell of `swift`'s images, "
        f"and of {100 * points['base'][-1]['one_cell']:.0f} % with the images of `base`.",
        "",
    ]


def without_lines(ways: dict[str, Any]) -> list[str]:
    """What the shipped network loses where its points are chosen otherwise."""
    rows = [
        [title, *(f"{100 * ways[way][figure]:.1f}" for figure in ("iou", "miou"))]
        + [f"{100 * (ways[way]['miou'] - ways['both']['miou']):+.1f}"]
        for way, title in WAYS.items()
    ]
    lost = {way: 100 * (ways["both"]["miou"] - ways[way]["miou"]) for way in WAYS}
    kinds = max(lost[way] for way in ("fps", "synthetic", "none"))
    return [
        "**Does the network look where the points are?** The shipped `swift` without its screen, with its own",
        "thresholds, on the held-out frames, whole grid; only the points change.",
        "",
        *table(["points", "IoU %", "mIoU %", "change of mIoU"], rows),
        "",
        f"- Points of mIoU that are lost: {lost['blind']:.1f} without cameras, {lost['center']:.1f} with all points in "
        f"the middle of their voxel, {kinds:.1f} at most with another choice of points.",
        "",
    ]


def hardness_lines(hard: dict[str, Any]) -> list[str]:
    """What makes samples hard."""
    others = "not measured" if hard["networks"] is None else f"{hard['networks']:.2f}"
    rows = [[f"{100 * h['share']:.0f} %", f"{h['loss']:.2f}", f"{h['things']:.1f}"] for h in hard["hardest"]]
    return [
        "**Are the hardest samples others than the rest?** Losses of the study's training frames under two networks of",
        "the reference variant, whose seeds differ, two draws of the augmentation, and the shipped network.",
        "",
        *table(["hardest", "their loss, over the mean", "voxels of objects, over the mean"], rows),
        "",
        f"- The losses have a standard deviation of {100 * hard['spread']:.0f} % of their mean.",
        f"- Rank correlation of the losses: {hard['draws']:.2f} between two draws of the augmentation for one network, "
        f"{others} between two networks for one draw, {hard['learned']:.2f} with the shipped network, trained many "
        f"times as long; {hard['classes']:.2f} with the number of classes in the frame, {hard['occupied']:.2f} with "
        "the number of occupied voxels.",
        "",
    ]
