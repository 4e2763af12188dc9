"""The page of confidence, and its picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..markdown import table
from ..plots import save

FIGURES, PAGE = Path("docs/confidence.json"), Path("docs/confidence.md")
PICTURE = Path("docs/images/confidence.png")
ERRORS = {"bias": "+.2f", "error": ".2f", "most": ".2f"}
KINDS = {"occupancy": "occupied", "class": "class"}


def page(figures: dict[str, Any]) -> str:
    """Write the page, Markdown."""
    return "\n".join(_lines(figures)) + "\n"


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    yield from (
        "# Is confidence true?",
        "",
        f"On {figures['backend']}. Expected calibration error in percent: how far a probability lies from the share of",
        "the voxels with it for which it holds, on average over voxels, in 15 bins. *Believed* is what the networks",
        "themselves say, *measured* what the contract holds instead. Sweeps alone, without earlier ones.",
        "",
    )
    rows = [
        [
            f"`{model}`",
            name,
            str(data["frames"]),
            *(f"{100 * data[when][kind]['error']:.1f}" for kind in KINDS for when in ("before", "after")),
        ]
        for model, found in figures["models"].items()
        for name, data in found["data"].items()
    ]
    head = [
        "model",
        "data",
        "frames",
        *(f"{what}, {how}" for what in KINDS.values() for how in ("believed", "measured")),
    ]
    yield from table(head, rows)
    yield from (
        "",
        f"![Reliability diagrams](images/{PICTURE.name})",
        "",
        "*Over the probability that is said, the share for which it holds; on the dotted line both are equal.*",
        "",
        "## Entropy of classes",
        "",
        "The networks give the probability of the best class away, and no others. What `class_entropy` makes of it, as",
        "if three classes shared the rest, against the entropy of all classes inside the networks, in nats, over the",
        "voxels of the synthetic frames that they say are occupied:",
        "",
        *_entropy({model: found["entropy"] for model, found in figures["models"].items()}),
        "",
        "*Believed* is from the network's own probability, so that the error is the estimate's alone; *measured* from",
        "the calibrated one, as the node publishes it: the entropy then moves with the confidence.",
        "",
        "## How this was measured",
        "",
        "Made by `python -m benchmarks.confidence` with `--data ROOT` for each root;",
        "`python -m benchmarks.confidence --render` writes this page again from [confidence.json](confidence.json).",
        "",
        "- Occupied: over voxels that are answered to be occupied and whose truth is known, how many are.",
        "  Class: of those that are, how many have the class that is answered.",
        "- The curves in the contract are of synthetic drives alone, by `python -m export.confidence`; the drives here",
        "  are others, and their truth is that of the sweeps around each frame alone, though curves of models with",
        "  lags are fitted on truth that knows earlier sweeps. No real recording was fitted on; some models were",
        "  trained on one, which their cards say.",
        f"- Machine: {figures['machine']}.",
    )


def _entropy(figures: dict[str, Any]) -> list[str]:
    rows = [
        [f"`{model}`, {network}", f"{found['voxels']:,}", f"{found['own']:.2f}"]
        + [f"{found[what][which]:{form}}" for which in (0, 1) for what, form in ERRORS.items()]
        for model, networks in figures.items()
        for network, found in networks.items()
    ]
    kinds = (f"{what}, {how}" for how in ("believed", "measured") for what in ("bias", "mean error", "95 % below"))
    return table(["network", "voxels", "its own, mean", *kinds], rows)


def save_picture(figures: dict[str, Any], path: Path = PICTURE) -> None:
    """Draw a row for each model with a reliability diagram for each kind."""
    from matplotlib.figure import Figure

    models = figures["models"]
    figure = Figure(figsize=(9, 4.2 * len(models)), layout="constrained")
    rows = figure.subplots(len(models), len(KINDS), squeeze=False)
    for axes, (model, found) in zip(rows, models.items()):
        for axis, (kind, what) in zip(axes, KINDS.items()):
            _diagram(axis, found["data"], kind)
            axis.set_title(f"{model}: {what}")
    rows[0, 0].legend(fontsize=7)
    save(figure, path)


def _diagram(axis: Any, measured: dict[str, Any], kind: str) -> None:
    """Lines of all data into an axis of matplotlib."""
    axis.plot([0, 1], [0, 1], ":", color="gray")
    for number, (name, data) in enumerate(measured.items()):
        for when, style in (("before", "--"), ("after", "-")):
            said, so, _ = zip(*data[when][kind]["bins"])
            label = f"{name}, {'believed' if when == 'before' else 'measured'}"
            axis.plot(said, so, style, marker=".", color=f"C{number}", label=label)
    axis.set(xlabel="probability that is said", ylabel="share for which it holds", xlim=(0, 1), ylim=(0, 1))
