"""Measure cost and speed and write docs/performance.md: `python -m benchmarks.performance`.

Runs `cost`, `latency`, `lenses`, `scaling` and `outputs` of this package, keeps their figures beside the page and draws
its plots; with --only some of them, whose figures take the place of those kept. --render only writes the page again.
"""

import json
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_json, write_text
from occfusion_ros.core.command import parser_of
from occfusion_ros.core.errors import OccFusionError
from occfusion_ros.runtime.artifact import find_artifact

from ..gpu.page import section_beside
from ..load.messages import messages_of
from ..machine import processor, versions
from ..markdown import table
from ..plots import save, stacked_bars
from . import against, cost, latency, lenses, outputs, scaling

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
PACKAGES = ("torch", "onnxruntime", "openvino", "numpy", "tensorrt", "tensorrt-rtx-cu13")
CPU_GOALS = {"onnxruntime": 300.0, "openvino": 150.0}  # milliseconds of a frame, two threads
AXES = ("points", "cameras", "refined voxels", "grid columns")


def measure(parts: Collection[str], artifact: Path, data: Path | None, threads: int, repeats: int) -> dict[str, Any]:
    """What the page shows of some of `PARTS`."""
    frame = latency.example_frame(data)
    found: dict[str, Any] = {}
    if "latency" in parts:
        messages, backends = messages_of(frame), ["openvino", "onnxruntime", "torch", "tensorrt"]
        found = {
            "machine": processor(),
            "load": round(os.getloadavg()[0], 1),
            "versions": versions(*PACKAGES),
            "threads": threads,
            "repeats": repeats,
            "points": len(frame.points),
            "source": "a real nuScenes frame" if data else "a synthetic frame",
            "latency": latency.measure(artifact, messages, threads, repeats, backends),
        }
    if "lenses" in parts:
        found["lenses"] = lenses.measure(artifact, repeats)
    if "scaling" in parts:
        found["scaling"] = scaling.measure(artifact, frame, threads)
    if "outputs" in parts:
        found["outputs"] = outputs.measure(artifact, frame, threads, repeats)
    if "cost" in parts:
        found["cost"] = cost.network_costs()
    return found


def cost_section(data: dict[str, Any]) -> list[str]:
    """Networks at their real size."""
    rows = data["cost"]
    body = [[r["model"], r["part"], f"{r['gmacs']:.2f}", f"{r['params_m']:.2f}", f"{r['peak_mib']:.0f}"] for r in rows]
    total = {r["model"]: r for r in rows if r["part"] == "total"}
    base, theirs = total["base"], total["mconet"]
    shares = {key: base[key] / theirs[key] for key in ("gmacs", "peak_mib")}
    met = all(share <= 0.5 for share in shares.values())
    return [
        "## Cost",
        "",
        "One frame with six cameras. The shipped `nano` sees 256 x 704 pixels, the shipped `swift` 192 x 512, `base`",
        "and the network like M-CONet 896 x 1600. Heads are counted for all voxels, though the screen of `swift`",
        "spares most of them. Peak memory: rise of resident memory during a forward pass in float32 on the CPU,",
        "weights aside; by part over what was there before it.",
        "",
        *table(["model", "part", "GMACs", "parameters, M", "peak memory, MiB"], body),
        "",
        f"- `base` takes {shares['gmacs']:.2f} of the GMACs and {shares['peak_mib']:.2f} of the memory of the "
        f"network like M-CONet: the goal of at most half is {'met' if met else 'missed'}. Whether it is as "
        "accurate is **not known**: `base` was never trained.",
        "- The network like M-CONet is OpenOccupancy's published configuration, built for this count. Published "
        "for M-CONet itself (Table 7 of REO): 3066 G and 125.3 M parameters.",
        "",
    ]


def latency_section(data: dict[str, Any]) -> list[str]:
    """Stages of a frame."""
    rows, backends = data["latency"], list(dict.fromkeys(map(full_name, data["latency"])))
    stages = list(dict.fromkeys(r["stage"] for r in rows))
    cells = {(full_name(r), r["stage"]): f"{r['p50_ms']:.1f} / {r['p90_ms']:.1f} / {r['p99_ms']:.1f}" for r in rows}
    body = [[stage, *(cells.get((backend, stage), "-") for backend in backends)] for stage in stages]
    return [
        "## Latency on the CPU",
        "",
        f"`nano`, six JPEG cameras of 1600 x 900 and a sweep of {data['points']:,} points ({data['source']}),",
        "grid of 512 x 512 x 40, 1024 voxels refined: messages in, serialized `~/occupancy` out. Milliseconds,",
        f"p50 / p90 / p99 of {data['repeats']} frames after a warm-up, {data['threads']} threads; decoding runs on",
        "all cores.",
        "",
        *table(["stage", *backends], body),
        "",
        *(f"- {line}" for line in verdicts(rows)),
        "",
        "![Stages of a frame by backend](images/performance_latency.png)",
        "",
    ]


def full_name(row: dict[str, Any]) -> str:
    """Backend and precision of a row of latencies."""
    return f"{row['backend']} {row['precision']}"


def verdicts(rows: list[dict[str, Any]]) -> Iterable[str]:
    """How the backends do against their goals."""
    frames = {full_name(r): r["p50_ms"] for r in rows if r["stage"] == "frame"}
    alone = {full_name(r): r["p50_ms"] for r in rows if r["stage"] == "backbone alone"}
    for name, goal in CPU_GOALS.items():
        times = {backend: ms for backend, ms in frames.items() if backend.split()[0] == name}
        if times:
            best = min(times, key=times.get)
            yield (
                f"{best}: {times[best]:.0f} ms a frame; the goal of {goal:.0f} ms is "
                f"{'met' if times[best] <= goal else 'missed'}."
            )
    for backend, ms in alone.items():
        rest = (frames[backend] - ms) / ms
        yield (
            f"{backend}: everything but the image backbone takes {rest:.1f} times as long as the backbone alone; "
            f"the goal of at most 2 is {'met' if rest <= 2 else 'missed'}."
        )


def lens_section(data: dict[str, Any]) -> list[str]:
    """What distorted images cost and change."""
    data = data["lenses"]
    cost = [
        [
            r["lens"],
            f"{r['rectified']:.1f}",
            f"{r['undistorted']:.1f}",
            f"{r['undistorted'] / r['rectified']:.2f}",
            f"{r['map']:.0f}",
        ]
        for r in data["cost"]
    ]
    same = [[r["images"], f"{r['all']:.4f}", f"{r['occupied']:.3f}"] for r in data["equal_labels"]]
    height, width = data["size"]
    return [
        "## Distorted images",
        "",
        f"Bringing one image of {width} x {height} to the network's size on one thread, rectified and undistorted",
        f"in turns: median processor time of {data['repeats']} runs. The map is made once for a calibration. The",
        "machine was shared with other work, so the ratio counts, not the milliseconds.",
        "",
        *table(["lens", "rectified, ms", "undistorted, ms", "ratio", "map, ms"], cost),
        "",
        "One moment of a synthetic drive, rendered by rectified cameras and through lenses, each with sensor noise",
        "of its own; share of equal labels with the answer to the rectified images (`nano`, "
        f"{data['backend']}), of all voxels and of those that either answer calls occupied:",
        "",
        *table(["images", "all", "occupied"], same),
        "",
    ]


def scaling_section(data: dict[str, Any]) -> list[str]:
    """Show how time grows."""
    rows = data["scaling"]
    lines = [
        "## Scaling",
        "",
        "One thing changes at a time (ONNX Runtime, float32, the same frame). The exponent tells by which power",
        "the time of a frame grows over the last step: 1 is linear.",
        "",
    ]
    body = []
    for axis in AXES:
        points = sorted((r["value"], r["p50_ms"]) for r in rows if (r["axis"], r["stage"]) == (axis, "total"))
        body.append(
            [axis, ", ".join(f"{value:,}: {ms:.0f}" for value, ms in points), f"{scaling.exponent(rows, axis):.2f}"]
        )
    return [
        *lines,
        *table(["what", "milliseconds of a frame", "exponent"], body),
        "",
        "![How the time of a frame grows](images/performance_scaling.png)",
        "",
    ]


def outputs_section(data: dict[str, Any]) -> list[str]:
    """Show what each output costs."""
    found = data["outputs"]
    body = [
        [f"`{r['topic']}`", f"{r['ms']:.1f}", f"{r['bytes'] / 1e6:.2f}" if r["bytes"] else "-"] for r in found["rows"]
    ]
    return [
        "## Outputs",
        "",
        f"What it takes to build the messages of one answer with {found['occupied']:,} occupied voxels, each output by",
        "itself with all that it needs, and all of them together, side by side on all cores and sharing a part.",
        "Median; milliseconds. Nothing of it is computed for topics without a subscriber.",
        "",
        *table(["output", "ms", "MB"], body),
        "",
        f"- The frame itself takes {found['frame_ms']:.0f} ms (ONNX Runtime, float32; {found['machine']}).",
        "  Against the frame with the markers alone, one with outputs takes",
        *(
            f"  {ratio:.2f} times as long with {name}; the goal of at most {outputs.MOST:.1f} is "
            f"{'met' if ratio <= outputs.MOST else 'missed'}{end}"
            for (name, ratio), end in zip(found["ratios"].items(), (",", "."))
        ),
        "",
    ]


def method_section(data: dict[str, Any]) -> list[str]:
    """What it was measured on."""
    lacking = [name for name in ("tensorrt",) if not any(r["backend"] == name for r in data["latency"])]
    return [
        "## How this was measured",
        "",
        "Made by `python -m benchmarks.performance --data ROOT`; `--render` writes this page again from",
        f"[performance.json](performance.json). Not run here: {', '.join(lacking) or 'nothing'}.",
        "",
        f"- Machine: {data['machine']}, load average {data['load']} at the start. "
        + ", ".join(f"{name} {number}" for name, number in data["versions"].items())
        + ".",
        "- GMACs: multiply-adds of convolutions and matrix products, as `torch.utils.flop_counter` counts them.",
        "- A backbone alone takes turns with the frames, in the same process and run.",
        "",
    ]


def plot_latency(data: dict[str, Any], path: Path) -> None:
    """Stacked stages of each backend."""
    bars: dict[str, dict[str, float]] = {}
    for row in data["latency"]:
        if row["stage"] not in ("frame", "backbone alone"):
            bars.setdefault(full_name(row), {})[row["stage"]] = row["p50_ms"]
    xlabel = f"median milliseconds, {data['threads']} threads"
    stacked_bars(bars, path, xlabel, "nano, six cameras: where the time goes")


def plot_scaling(data: dict[str, Any], path: Path) -> None:
    """Plot a panel for each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, axis in zip(figure.subplots(2, 2).flat, AXES):
        for stage in ("total", "presample", "fuser", "refiner"):
            points = sorted(
                (r["value"], r["p50_ms"]) for r in data["scaling"] if (r["axis"], r["stage"]) == (axis, stage)
            )
            axes.plot(*zip(*points), marker="o", label=stage)
        axes.set(xlabel=axis, ylabel="ms", ylim=(0, None))
    figure.axes[0].legend()
    save(figure, path)


PARTS = {
    "cost": (cost_section, None),
    "latency": (latency_section, plot_latency),
    "lenses": (lens_section, None),
    "scaling": (scaling_section, plot_scaling),
    "outputs": (outputs_section, None),
}
"""Section and plot of what can be measured by itself."""


def write_page(data: dict[str, Any], path: Path) -> None:
    """Write the page at `path` and its plots in images/ beside it, of the parts that were measured."""
    lines = ["# Performance", "", "What the networks cost, where the time of a frame goes, and how it grows.", ""]
    for part, (section, plot) in PARTS.items():
        if part in data:
            lines += section(data)
            if plot:
                plot(data, path.parent / f"images/performance_{part}.png")
    lines += [*against.section_beside(path), *section_beside(path)]
    if "latency" in data:
        lines += method_section(data)
    write_text(path, "\n".join(lines).rstrip() + "\n")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = parser_of("python -m benchmarks.performance", __doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure (all)")
    parser.add_argument("--artifact", default="nano", help="folder of a model, or name of a shipped one (%(default)s)")
    parser.add_argument("--data", type=Path, help="nuScenes data root to take a frame from (default: a synthetic one)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of the engines (%(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="frames that are timed (%(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write (%(default)s), with its .json beside it")
    parser.add_argument("--render", action="store_true", help="only write the page again from its .json")
    options = parser.parse_args(argv)
    figures = options.page.with_suffix(".json")
    try:
        kept = json.loads(figures.read_text()) if figures.exists() else {}
        if not options.render:
            parts = options.only or list(PARTS)
            kept |= measure(parts, find_artifact(options.artifact), options.data, options.threads, options.repeats)
            write_json(figures, kept)
        write_page(kept, options.page)
    except (OccFusionError, OSError, json.JSONDecodeError) as error:
        parser.exit(2, f"performance: {error}\n")
    print(f"page: {options.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
