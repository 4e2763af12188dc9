"""Measure cost and speed and write docs/performance.md: `python -m benchmarks.performance`.

Runs `cost`, `latency` and `scaling` of this package, keeps their figures beside the page and draws its plots. With
--render only the page is written again.
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from occfusion_ros.core.atomic import replacing, write_json, write_text
from occfusion_ros.core.errors import OccFusionError

from ..ablation.variants import NETWORKS
from ..gpu.device import PUBLISHED
from ..gpu.floor import network_floor
from ..gpu.page import figures_beside, section_of
from ..machine import processor, versions
from ..markdown import table
from . import cost, latency, lenses, scaling
from .options import parser_with

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
PACKAGES = ("torch", "onnxruntime", "openvino", "numpy", "tensorrt", "tensorrt-rtx-cu13")
CPU_GOALS = {"onnxruntime": 300.0, "openvino": 150.0}  # milliseconds of a frame, two threads
AXES = ("points", "cameras", "refined voxels", "grid columns")


def measure(artifact: Path, data: Path | None, threads: int, repeats: int) -> dict[str, Any]:
    """Everything that the page shows."""
    frame = latency.example_frame(data)
    return {
        "machine": processor(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions(*PACKAGES),
        "threads": threads,
        "repeats": repeats,
        "points": len(frame.points),
        "source": "a real nuScenes frame" if data else "a synthetic frame",
        "cuda": torch.cuda.is_available(),
        "latency": latency.measure(
            artifact, latency.messages_of(frame), threads, repeats, ["openvino", "onnxruntime", "torch", "tensorrt"]
        ),
        "lenses": lenses.measure(artifact, repeats),
        "scaling": scaling.measure(artifact, frame, threads),
        "floor": network_floor(NETWORKS["base"], PUBLISHED["ceilings"]),
        "cost": cost.network_costs(),
    }


def cost_section(rows: list[dict[str, Any]]) -> list[str]:
    """Networks at their real size."""
    body = [[r["model"], r["part"], f"{r['gmacs']:.2f}", f"{r['params_m']:.2f}", f"{r['peak_mib']:.0f}"] for r in rows]
    total = {r["model"]: r for r in rows if r["part"] == "total"}
    base, theirs = total["base"], total["mconet"]
    shares = {key: base[key] / theirs[key] for key in ("gmacs", "peak_mib")}
    met = all(share <= 0.5 for share in shares.values())
    return [
        "## Cost",
        "",
        "One frame with six cameras. `nano` is the shipped model (256 x 704 pixels); `base` and the network like",
        "M-CONet see 896 x 1600 pixels. Peak memory: rise of resident memory during a forward pass in float32 on",
        "the CPU, weights aside; by part over what was there before it.",
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


def lens_section(data: dict[str, Any] | None) -> list[str]:
    """What distorted images cost and change; nothing where that was not measured."""
    if not data:
        return []
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


def scaling_section(rows: list[dict[str, Any]]) -> list[str]:
    """Show how time grows."""
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
    from matplotlib.figure import Figure

    rows, leave_out = data["latency"], ("frame", "backbone alone")
    backends = list(dict.fromkeys(map(full_name, rows)))
    figure = Figure(figsize=(9, 1 + 0.5 * len(backends)), layout="constrained")
    axes, left = figure.add_subplot(), dict.fromkeys(backends, 0.0)
    for stage in dict.fromkeys(r["stage"] for r in rows if r["stage"] not in leave_out):
        widths = {full_name(r): r["p50_ms"] for r in rows if r["stage"] == stage}
        axes.barh(backends, [widths.get(b, 0) for b in backends], left=[left[b] for b in backends], label=stage)
        left = {b: left[b] + widths.get(b, 0) for b in backends}
    axes.invert_yaxis()
    axes.set(xlabel=f"median milliseconds, {data['threads']} threads", title="nano, six cameras: where the time goes")
    axes.legend(fontsize="small", ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def plot_scaling(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot a panel for each axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    for axes, axis in zip(figure.subplots(2, 2).flat, AXES):
        for stage in ("total", "presample", "fuser", "refiner"):
            points = sorted((r["value"], r["p50_ms"]) for r in rows if (r["axis"], r["stage"]) == (axis, stage))
            axes.plot(*zip(*points), marker="o", label=stage)
        axes.set(xlabel=axis, ylabel="ms", ylim=(0, None))
    figure.axes[0].legend()
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=100)


def write_page(data: dict[str, Any], path: Path) -> None:
    """Write the page at `path` and its plots in images/ beside it."""
    images = path.parent / "images"
    plot_latency(data, images / "performance_latency.png")
    plot_scaling(data["scaling"], images / "performance_scaling.png")
    lines = [
        "# Performance",
        "",
        "What the networks cost, where the time of a frame goes, and how it grows.",
        "",
        *cost_section(data["cost"]),
        *latency_section(data),
        *lens_section(data.get("lenses")),
        *scaling_section(data["scaling"]),
        *section_of(figures_beside(path), data["floor"]),
        *method_section(data),
    ]
    write_text(path, "\n".join(lines).rstrip() + "\n")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    from occfusion_ros.runtime.artifact import find_artifact

    parser = parser_with("benchmarks.performance", __doc__, "--artifact", "--data", "--threads", "--repeats")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write (%(default)s), with its .json beside it")
    parser.add_argument("--render", action="store_true", help="only write the page again from its .json")
    parser.add_argument("--lenses", action="store_true", help="measure only distorted images, and keep the rest")
    options = parser.parse_args(argv)
    figures = options.page.with_suffix(".json")
    try:
        if options.lenses:
            kept = json.loads(figures.read_text())
            kept["lenses"] = lenses.measure(find_artifact(options.artifact), options.repeats)
            write_json(figures, kept)
        elif not options.render:
            found = measure(find_artifact(options.artifact), options.data, options.threads, options.repeats)
            write_json(figures, found)
        write_page(json.loads(figures.read_text()), options.page)
    except (OccFusionError, OSError, json.JSONDecodeError) as error:
        parser.exit(2, f"performance: {error}\n")
    print(f"page: {options.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
