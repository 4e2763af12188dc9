"""The page of confidence, and its picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..markdown import table
from ..plots import save

FIGURES, PAGE = Path("docs/confidence.json"), Path("docs/confidence.md")
PICTURE = Path("docs/images/confidence.png")
KINDS = {"occupancy": "occupied", "class": "class"}


def page(figures: dict[str, Any]) -> str:
    """Write the page, Markdown."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield from (
        "# Is confidence true?",
        "",
        f"Model `{figures['model']}`, on {figures['backend']}. Expected calibration error in percent: how far a",
        "probability lies from the share of the voxels with it for which it holds, on average over voxels, in 15 bins.",
        "*Believed* is what the networks themselves say, *measured* what the contract holds instead.",
        "",
    )
    rows = [
        [
            name,
            str(data["frames"]),
            *(f"{100 * data[when][kind]['error']:.1f}" for kind in KINDS for when in ("before", "after")),
        ]
        for name, data in figures["data"].items()
    ]
    head = ["data", "frames", *(f"{what}, {how}" for what in KINDS.values() for how in ("believed", "measured"))]
    yield from table(head, rows)
    yield from (
        "",
        f"![Reliability diagrams](images/{PICTURE.name})",
        "",
        "*Over the probability that is said, the share for which it holds; on the dotted line both are equal.*",
        "",
        "## How this was measured",
        "",
        "Made by `python -m benchmarks.confidence` with `--data ROOT` for each root;",
        "`python -m benchmarks.confidence --render` writes this page again from [confidence.json](confidence.json).",
        "",
        "- Occupied: over voxels that are answered to be occupied and whose truth is known, how many are.",
        "  Class: of those that are, how many have the class that is answered.",
        "- The curves in the contract are of synthetic drives alone, by `python -m export.confidence`; the drives here",
        "  are others. No real recording was fitted on.",
        f"- Machine: {figures['machine']}.",
    )


def save_picture(figures: dict[str, Any], path: Path = PICTURE) -> None:
    """Draw a reliability diagram for each kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots(1, len(KINDS))
    for axis, (kind, what) in zip(axes, KINDS.items()):
        axis.plot([0, 1], [0, 1], ":", color="gray")
        for number, (name, data) in enumerate(figures["data"].items()):
            for when, style in (("before", "--"), ("after", "-")):
                said, so, _ = zip(*data[when][kind]["bins"])
                label = f"{name}, {'believed' if when == 'before' else 'measured'}"
                axis.plot(said, so, style, marker=".", color=f"C{number}", label=label)
        axis.set(
            title=what, xlabel="probability that is said", ylabel="share for which it holds", xlim=(0, 1), ylim=(0, 1)
        )
    axes[0].legend(fontsize=7)
    save(figure, path)
