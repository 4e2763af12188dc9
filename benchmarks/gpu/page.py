"""The section on GPUs of docs/performance.md; nothing in it is written by hand."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.markdown import table

from .engines import PERCENTILES

TITLE = "## On a GPU"
GOAL_MS = 10.0  # of `base`, for its networks


def put(page: Path, section: list[str]) -> None:
    """Write the section into a page that has one, in its place."""
    before, _, rest = page.read_text().partition(f"{TITLE}\n")
    after = re.search(r"^## ", rest, re.MULTILINE)
    page.write_text(before + "\n".join([*section, ""]) + (rest[after.start() :] if after else ""))


def section_beside(page: Path) -> list[str]:
    """Lines of the section from gpu.json beside a page; none where nothing was measured."""
    path = page.with_name("gpu.json")
    return section_of(json.loads(path.read_text())) if path.exists() else []


def section_of(figures: dict[str, Any]) -> list[str]:
    """Lines of the section, the last one empty, from what `benchmarks.gpu` measured."""
    parts = figures["parts"]
    names = list(dict.fromkeys(name.partition(":")[0] for name in parts if ":" in name))
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    lines = [
        TITLE,
        "",
        f"Measured by `python -m benchmarks.gpu`; [gpu.json](gpu.json) has all figures. One {figures['device']},",
        f"CUDA {figures['cuda']}; {figures['machine']};",
        f"{versions}.",
        "",
        f"A street of boxes with six cameras of 1600 x 900; milliseconds of {figures['repeats']} frames by the",
        "GPU's own events. Shipped models have their weights, `base` random ones, whose labels turn more easily.",
        "Labels and features are compared with PyTorch in float32 on the CPU.",
        "",
    ]
    if "flops" in parts.get("ceilings", {}):
        most = parts["ceilings"]
        lines += [
            f"- At most, measured: {most['flops'] / 1e12:.0f} TFLOP/s in a float16 matrix product, "
            f"{most['bytes'] / 1e12:.1f} TB/s in its memory, {most['upload'] / 1e9:.1f} and "
            f"{most['download'] / 1e9:.1f} GB/s from and to ordinary memory of the host."
        ]
    for name in names:
        lines += [*_presampling(name, parts), *_training(name, parts)]
    for name in names:
        lines += ["", *_stages(name, parts)]
    return [*lines, "", *_lacking(parts), ""]


def _presampling(name: str, parts: dict[str, Any]) -> Iterable[str]:
    part = parts.get(f"{name}: pre-sampling", {})
    if "different" in part:
        same = "bit for bit what the CPU gives" if not part["different"] else f"**unlike the CPU**: {part['different']}"
        yield (
            f"- `{name}`, pre-sampling on the GPU: {same} ({len(part['frames'])} frames), "
            f"{part['ms']['all cameras']:.1f} ms, {part['ms']['dense sweep']:.1f} ms for a sweep of 100,000 rays."
        )


def _training(name: str, parts: dict[str, Any]) -> Iterable[str]:
    part = parts.get(f"{name}: training", {})
    if "step_ms" in part:
        yield (
            f"- `{name}`, training with its image branch ({part['parameters']:.1f} M parameters, batch of "
            f"{part['batch']}): {part['step_ms']:.0f} ms a step with batches at hand, "
            f"{part['drawn_step_ms']:.0f} ms with batches drawn meanwhile ({part['frames_per_s']:.1f} frames a "
            f"second), {part['peak_mib']:,.0f} MiB."
        )


def _stages(name: str, parts: dict[str, Any]) -> list[str]:
    """A column for each way of running a network, beside the counted floor; rows are stages."""
    ways = {
        key.partition(": ")[2]: part
        for key, part in parts.items()
        if key.startswith(f"{name}: ") and "agreement" in part
    }
    if not ways:
        return [f"`{name}` was not measured."]
    floor = parts.get(f"{name}: floor", {}).get("stages", {})
    body = [
        [
            stage,
            *(" / ".join(f"{way['stages'][stage][f'p{p}']:.2f}" for p in PERCENTILES) for way in ways.values()),
            f"{floor[stage]:.2f}" if stage in floor else "-",
        ]
        for stage in next(iter(ways.values()))["stages"]
    ]
    body += [
        ["equal labels, occupied", *(f"{100 * way['occupied']:.2f} %" for way in ways.values()), ""],
        ["features, relative error", *(f"{way['features']:.0e}" for way in ways.values()), ""],
        ["GPU memory, MiB", *(f"{way['peak_mib']:,.0f}" for way in ways.values()), ""],
    ]
    lines = table([f"`{name}`: p50 / p99", *ways, "counted floor"], body)
    if name == "base":
        best = min(way["stages"]["fuser"]["p50"] + way["stages"]["refiner"]["p50"] for way in ways.values())
        lines += [
            "",
            f"- Its networks take {best:.1f} ms at best; the goal of {GOAL_MS:g} ms is "
            f"{'met' if best <= GOAL_MS else 'missed'}.",
        ]
    return lines


def _lacking(parts: dict[str, Any]) -> list[str]:
    """What was not measured, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, part in parts.items():
        if reason := part.get("error") or part.get("skipped"):
            reasons.setdefault(reason, []).append(name)
    return [f"- Not measured: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
