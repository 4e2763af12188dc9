"""The page of what earlier frames are worth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..markdown import table

FIGURES, PAGE = Path("docs/memory.json"), Path("docs/memory.md")
FAULTS = {
    "yaw": "yaw wrong by 1 degree (standard deviation)",
    "position": "position wrong by 10 cm along each axis (standard deviation)",
    "missing": "every second pose missing",
    "late": "poses of 50 ms later",
}


def page(figures: dict[str, Any]) -> str:
    """Write the page, Markdown."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield from (
        "# What earlier frames are worth",
        "",
        f"Model `{figures['model']}`, on {figures['backend']}; `memory: short`. Percent, over all key frames of",
        "a drive, the first included, which has nothing before it. What is counted where is said at the end.",
    )
    for name, drive in figures["drives"].items():
        yield from ("", f"## {name}, {drive['frames']} key frames", "")
        yield from _by_past(drive["by_past"])
        yield from ("", *_summary(drive["by_past"]), "", "With poses that are wrong, and all frames remembered:", "")
        yield from _faults(drive)
        yield from ("", *_known(drive))
    yield from _costs(figures)
    yield from _how(figures)


def _percent(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _by_past(by_past: dict[str, Any]) -> list[str]:
    bands = list(by_past["0"]["bands"])
    names = {"0": "the frame alone", "all": "all before it"}
    rows = [
        [
            names.get(past, f"{past} before it"),
            *(_percent(figures[key]) for key in ("iou", "miou", "ray_iou")),
            *(_percent(figures["bands"][band]) for band in bands),
            _percent(figures["flicker"]),
            _percent(figures["appeared"]),
            f"{figures['ghosts']:,}",
        ]
        for past, figures in by_past.items()
    ]
    head = [
        "frames",
        "IoU",
        "mIoU",
        "RayIoU",
        *(f"IoU {band}" for band in bands),
        "flicker",
        "of it newly seen",
        "ghosts",
    ]
    return table(head, rows)


def _summary(by_past: dict[str, Any]) -> list[str]:
    alone, all_ = by_past["0"], by_past["all"]
    ghosts = f"{all_['ghosts'] / alone['ghosts']:.2f} times" if alone["ghosts"] else "no"
    return [
        f"- IoU {100 * (all_['iou'] - alone['iou']):+.1f}, mIoU {100 * (all_['miou'] - alone['miou']):+.1f}; "
        f"{all_['flicker'] / alone['flicker']:.2f} times the flicker "
        f"({_lost(all_) / _lost(alone):.2f} times without what is newly seen), {ghosts} the ghosts.",
    ]


def _lost(figures: dict[str, Any]) -> float:
    """Flicker other than voxels that appear: those that vanish, or change their class."""
    return figures["flicker"] - figures["appeared"]


def _faults(drive: dict[str, Any]) -> list[str]:
    exact = drive["by_past"]["all"]
    rows = [["exact", _percent(exact["iou"]), _percent(exact["miou"]), _percent(exact["flicker"])]]
    rows += [
        [FAULTS[kind], *(_percent(figures[key]) for key in ("iou", "miou", "flicker"))]
        for kind, figures in drive["faults"].items()
    ]
    return table(["poses", "IoU", "mIoU", "flicker"], rows)


def _known(drive: dict[str, Any]) -> Iterator[str]:
    head = ["`unknown`", "frames", "known", "occupied of what is free", "occupied of what is unknown"]
    names = {"alone": "the frame alone", "memory": "all before it"}
    rows = [
        [
            f"`{form}`",
            names[frames],
            _percent(known["known"]),
            *(_percent(known[key], 2) for key in ("free_that_is_occupied", "unknown_that_is_occupied")),
        ]
        for form, figures in drive["known"].items()
        for frames, known in figures.items()
    ]
    yield from ("What is known of all voxels, and how much of the rest is occupied where the truth knows it:", "")
    yield from table(head, rows)


def _costs(figures: dict[str, Any]) -> Iterator[str]:
    yield from ("", "## Cost", "")
    rows = [
        [name, f"{cost['points']:,}", *(f"{cost['ms'][key]:.0f}" for key in ("none", "occluded")), str(cost["threads"])]
        for name, cost in figures["cost"].items()
    ]
    yield from table(["drive", "points a sweep", "ms a frame", "ms with `unknown: occluded`", "threads"], rows)
    size = max(cost["bytes"] for cost in figures["cost"].values()) / 1e6
    yield from ("", f"Median of the second half of each drive, played three times. The memory takes {size:.0f} MB.")
    rays = figures["rays"]
    yield from (
        "",
        f"Rays alone, of a made sweep of {rays['points']:,} points that see a plane and walls, through the grid, of",
        f"which they pass {rays['passed']:,} voxels: {rays['ms']:.0f} ms by the clock on {rays['threads']} threads, "
        f"{rays['cpu_ms']:.0f} ms of all cores together.",
        "Returns on top of each other cost as much as one of them, so walls are cheap, and ground is not.",
    )


def _how(figures: dict[str, Any]) -> Iterator[str]:
    made = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    yield from (
        "",
        "## How this was measured",
        "",
        "Made by `python -m benchmarks.memory` with `--data ROOT` for each root;",
        "`python -m benchmarks.memory --render` writes this page again from [memory.json](memory.json). Rows with N",
        "frames before it begin with an empty memory for every frame.",
        "",
        "- IoU, mIoU (over the classes present), RayIoU and ranges as `python -m models.evaluate` counts them.",
        "- Flicker: of the voxels that are static and occupied by the truth of a frame, the share whose answer, empty",
        "  or a class, is another one than that at the same place of the fixed frame the frame before (nearest voxel).",
        "  Newly seen: empty before, and occupied now.",
        "- `unknown: confidence` with the default of `free_below`; with memory a voxel that a ray has reached is known",
        "  besides.",
        "- Ghosts: voxels answered to hold something movable that are free by the truth.",
        "- How much evidence a frame gives (`Gains`) was chosen on nus-lidar-drive and pandaset-002: they are no",
        "  blind test.",
        "- Real truth is made of all sweeps of a drive: voxels with a return are occupied, those that rays passed",
        "  free. The memory judges in the same manner, and gains by it. Synthetic truth is complete: what no ray ever",
        "  reaches counts too, and voxels that are filled in part are occupied although rays pass them.",
        f"- Machine: {figures['machine']}; {made}.",
    )
