"""The section of the page on labels that says how fast they are made."""

from typing import Any

from ..markdown import table

BEGIN = "<!-- measured by: python -m benchmarks.labeling measure -->"
END = "<!-- end of what was measured -->"


def section(figures: dict[str, Any]) -> str:
    """Markdown."""
    made, runs = figures["made"], figures["runs"]
    last, one = runs[-1], runs[0]["sweeps_per_second"]
    rows = [
        [
            str(run["workers"]),
            str(run["threads"]),
            f"{run['sweeps']:,}",
            f"{run['seconds']:.0f}",
            f"{run['sweeps_per_second']:.2f}",
            f"{run['sweeps_per_second'] / one:.2f}",
        ]
        for run in runs
    ]
    head = ["workers", "threads of each", "sweeps", "seconds, all in all", "sweeps a second", "times the first"]
    size = last["megabytes_per_sweep"]
    return "\n".join(
        [
            f"Model `{figures['model']}` on {figures['machine']}, ONNX Runtime {figures['versions']['onnxruntime']},",
            "`--formats npz`, no memory; sweeps a second once every worker has begun:",
            "",
            *table(head, rows),
            "",
            f"The last run labeled {last['sweeps']:,} sweeps with {last['dropped']} dropped, {size:.2f} MB each. The",
            f"sweeps are not as many frames: {made['drives']} synthetic drives of {made['frames']} frames at "
            f"{made['hz']:.0f} Hz were rendered,",
            f"with six cameras at {made['image_scale']:g} times their own size, and bags of them labeled under "
            f"{made['sweeps'] // made['frames']} names.",
            "Each is read, decoded, computed and written on its own, as if it were another; but the bags come from the",
            "system's cache, not from a disk. Made by `python -m benchmarks.labeling measure FOLDER` after",
            "`python -m benchmarks.labeling make FOLDER`; figures in [labelling.json](labelling.json).",
        ]
    )
