"""Plots of the pages that benchmarks write."""

from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import replacing


def save(figure: Any, path: Path) -> None:  # matplotlib.figure.Figure
    """Write a figure as a PNG file."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def stacked_bars(bars: dict[str, dict[str, float]], path: Path, xlabel: str, title: str = "") -> None:
    """Draw a bar for each name, of lengths that are stacked in their order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.5 + 0.4 * len(bars)), layout="constrained")
    axes, left = figure.add_subplot(), dict.fromkeys(bars, 0.0)
    for part in dict.fromkeys(part for lengths in bars.values() for part in lengths):
        lengths = [bar.get(part, 0.0) for bar in bars.values()]
        axes.barh(list(bars), lengths, left=list(left.values()), label=part)
        left = {name: start + length for (name, start), length in zip(left.items(), lengths)}
    axes.invert_yaxis()
    axes.set(xlabel=xlabel, title=title)
    axes.legend(fontsize="small", ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    save(figure, path)
