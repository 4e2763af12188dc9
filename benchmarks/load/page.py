"""The page docs/reliability.md: tables and plots from the kept figures; nothing on it is written by hand."""

import json
from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_text

from ..markdown import table
from ..plots import save, stacked_bars
from .run_figures import WHOLE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
FUZZ = PAGE.with_name("fuzz.json")  # what `python -m benchmarks.fuzz --out docs/fuzz.json` wrote
SOAKS = {
    "soak null": "with a model that costs nothing",
    "soak nano": "with the shipped model",
    "soak nano with memory": "with the shipped model and memory: short",
}
GROWTH = {
    "anonymous_mib": "memory of its own, MiB",
    "resident_mib": "resident memory with shared pages, MiB",
    "threads": "threads",
    "files": "open files",
}
STAGES = (
    WHOLE,
    "pairing and transport",
    "convert",
    "presample",
    "images",
    "upload",
    "fuser",
    "select",
    "refiner",
    "grid",
    "publish",
    "total",
)
NOT_RUN = ["**Not run**; `make soak` measures it.", ""]


def soak_section(data: dict[str, Any]) -> list[str]:
    """All soaks."""
    lines = [
        "## Soak",
        "",
        "Six JPEG cameras (1600 x 900) at 12 Hz each and a LiDAR at 20 Hz, in real time. Parts were run on different",
        "days and machines, which each part names: compare growth between them, not rates and latencies.",
        "",
    ]
    for name, title in SOAKS.items():
        lines += [f"### {title[0].upper()}{title[1:]}", ""]
        lines += soak_figures(name, data[name]) if name in data else NOT_RUN
    return lines


def soak_figures(name: str, part: dict[str, Any]) -> list[str]:
    """One soak."""
    rows = [
        [GROWTH[key], f"{row['first']:g}", f"{row['last']:g}", f"{row['largest']:g}", f"{row['per_hour']:+.1f}"]
        for key, row in part["growth"].items()
    ]
    whole, rate, lost = part["latency_ms"][WHOLE], part["rate"], part["lost"]
    stretches = (
        f"; the worst ten seconds had {rate['least_hz']:.1f} Hz, the best {rate['most_hz']:.1f} Hz"
        if "least_hz" in rate
        else ""
    )
    return [
        *facts(part),
        "",
        *table(["of the node's process", "after a tenth of the time", "at the end", "largest", "growth an hour"], rows),
        "",
        f"- In the second half of the time, memory of its own grew by {second_half(part['curves']):.1f} MiB.",
        f"- {part['minutes']:g} minutes; {lost['sweeps']} sweeps, {lost['sweeps'] - lost['unanswered']} answered, "
        f"{lost['without a camera']} of these without a camera.",
        f"- Answers: {rate['mean_hz']:.2f} Hz{stretches}. The longest gap: {rate.get('longest_gap_ms', 0):.0f} ms.",
        f"- From the newest input's stamp to the published message: {times(whole)} ms (median / 99th percentile / "
        "largest).",
        f"- CPU time: {part['cpu_percent']:.0f} % of a core. The diagnostics, one a second, were off by "
        f"{times(part['diagnostics_jitter_ms'])} ms.",
        f"- What they said (good / warning / error): {verdicts(part['verdicts'])}.",
        "",
        f"![Memory and output rate](images/reliability_{name.replace(' ', '_')}.png)",
        "",
    ]


def second_half(curves: dict[str, Any]) -> float:
    """MiB by which memory of the process' own grew then."""
    memory = curves["anonymous_mib"]
    return memory[-1] - memory[len(memory) // 2]


def release_section(data: dict[str, Any]) -> list[str]:
    """What a sweep waits with each way to release it."""
    lines = [
        "## Release",
        "",
        "From a sweep's own stamp to its answer, by a model that costs nothing: `release: certain` waits until no",
        "nearer image can come, `rhythm` until none is due by its camera's rhythm. In turns; six cameras at 12 Hz,",
        "sweeps at 10 Hz.",
        "",
    ]
    if "release" not in data:
        return lines + NOT_RUN
    part = data["release"]
    rows = [
        [
            row["release"],
            times(row["since_sweep_ms"]),
            f"{row['rate']['mean_hz']:.2f}",
            str(row["lost"]["sweeps"]),
            str(row["lost"]["unanswered"]),
            str(row["lost"]["without a camera"]),
        ]
        for row in part["rows"]
    ]
    head = ["release", "sweep to answer, ms", "answers, Hz", "sweeps", "unanswered", "without a camera"]
    return [*lines, *facts(part), "", *table(head, rows), "", "Median / 99th percentile / largest.", ""]


def load_section(data: dict[str, Any]) -> list[str]:
    """Highest rates, and the latency at them."""
    lines = [
        "## Load",
        "",
        "The highest sensor rate at which nothing is lost: every sweep is answered, with all cameras. The model",
        "costs nothing; each camera has 0.6 of the LiDAR's rate.",
        "",
    ]
    if "load" not in data:
        return lines + NOT_RUN
    part = data["load"]
    rows = [
        [
            str(r["cameras"]),
            r["transport"] if r["cameras"] else "-",
            hertz(r["lidar_hz"]),
            hertz(r["camera_hz"]),
            times(r.get("latency_ms", {}).get(WHOLE, {})),
            f"{r.get('cpu_percent', 0):.0f}",
            times(r.get("diagnostics_jitter_ms", {})),
            f"{r.get('late_p99_ms', 0):.0f}",
        ]
        for r in part["rows"]
    ]
    head = [
        "cameras",
        "transport",
        "LiDAR, Hz",
        "each camera, Hz",
        "newest input to answer, ms",
        "CPU, % of a core",
        "diagnostics off by, ms",
        "sensors late, p99 ms",
    ]
    return [
        *lines,
        *facts(part),
        "",
        *table(head, rows),
        "",
        *(["- *none*: something was lost at every rate."] if not all(r["lidar_hz"] for r in part["rows"]) else []),
        f"- Times: median / 99th percentile / largest, at the highest rate. Each rate was played for "
        f"{part['seconds']:g} s; rates are found to within a factor of {part['resolution']:.2f}.",
        "",
        *stage_table(part["rows"]),
        "",
        "![Where the time goes](images/reliability_load.png)",
        "",
    ]


def stage_table(rows: list[dict[str, Any]]) -> list[str]:
    """Median milliseconds of every stage at the highest rate."""
    there = [row for row in rows if "latency_ms" in row]
    body = [
        [stage, *(f"{row['latency_ms'][stage]['p50']:.1f}" if row["latency_ms"].get(stage) else "-" for row in there)]
        for stage in STAGES
    ]
    return table(["stage, median ms", *map(case_name, there)], body)


def case_name(row: dict[str, Any]) -> str:
    """Cameras and transport."""
    return f"{row['cameras']} {row['transport']}" if row["cameras"] else "LiDAR alone"


def fuzz_section(data: dict[str, Any]) -> list[str]:
    """Tell what became of malformed messages."""
    conversions, node = data["conversions"], data["node"]
    rows = [
        [
            kind,
            f"{found['messages']:,}",
            f"{found['messages'] - found['causes'].get('taken', 0):,}",
            f"{len(found['causes'].keys() - {'taken'})}",
            f"{found['slowest_ms']:.0f}",
            str(len(found["failures"])),
        ]
        for kind, found in conversions.items()
    ]
    sent, refused = (sum(int(row[column].replace(",", "")) for row in rows) for column in (1, 2))
    numbers = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    return [
        "## Fuzzing",
        "",
        f"`python -m benchmarks.fuzz --out docs/fuzz.json` on {data['machine']}, seed {data['seed']}. {numbers}.",
        "Messages with no, one or several defects, through everything that reads messages:",
        "",
        *table(["message", "sent", "refused", "causes", "slowest, ms", "crashes, hangs, wrong answers"], rows),
        "",
        f"- {sent:,} messages, {refused:,} of them refused by cause; the others are usable in spite of what they "
        "are, and were taken.",
        f"- Through the running node: {node['sent']:,} messages, {node['malformed']:,} of them malformed; of "
        f"{node['sweeps_received']} sweeps {node['published']} were answered and every other one counted by cause. "
        f"Failures: {len(node['failures'])}.",
        "",
        "[security.md](security.md) lists the limits; [fuzz.json](fuzz.json) has every cause.",
        "",
    ]


def facts(part: dict[str, Any]) -> list[str]:
    """Command, machine and versions of a part."""
    numbers = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
    return [f"`{part['command']}` on {part['machine']}, load average {part['load']} at the start. {numbers}."]


def verdicts(numbers: dict[str, list[int]]) -> str:
    """Of every state that is diagnosed."""
    return ", ".join(f"{name} {' / '.join(map(str, levels))}" for name, levels in numbers.items()) or "nothing"


def times(spread: dict[str, float]) -> str:
    """Median, 99th percentile, largest."""
    return " / ".join(f"{spread[key]:.0f}" for key in ("p50", "p99", "max")) if spread else "-"


def hertz(rate: float) -> str:
    """0: even the slowest rate that was tried lost something."""
    return f"{rate:.1f}" if rate else "none"


def plot_soak(part: dict[str, Any], path: Path) -> None:
    """Memory and output rate over time."""
    from matplotlib.figure import Figure

    curves = part["curves"]
    figure = Figure(figsize=(9, 5), layout="constrained")
    memory, rate = figure.subplots(2, 1, sharex=True)
    memory.plot(curves["minutes"], curves["resident_mib"], label="resident, with shared pages")
    memory.plot(curves["minutes"], curves["anonymous_mib"], label="the process' own")
    memory.set(ylabel="memory, MiB", ylim=(0, None))
    memory.legend()
    rate.plot(curves["rate_minutes"], curves["rate_hz"])
    rate.set(xlabel="minutes", ylabel="answers, Hz", ylim=(0, None))
    save(figure, path)


def plot_load(part: dict[str, Any], path: Path) -> None:
    """Stacked stages at the highest rates."""
    bars = {
        f"{case_name(row)}, {row['lidar_hz']:.0f} Hz": {
            stage: row["latency_ms"][stage]["p50"]
            for stage in STAGES
            if stage not in (WHOLE, "total") and row["latency_ms"].get(stage)
        }
        for row in part["rows"]
        if "latency_ms" in row
    }
    stacked_bars(bars, path, "median milliseconds from the newest input")


def write_page(data: dict[str, Any], path: Path) -> None:
    """Write the page at `path` and its plots in images/ beside it."""
    images = path.parent / "images"
    for name in SOAKS:
        if name in data:
            plot_soak(data[name], images / f"reliability_{name.replace(' ', '_')}.png")
    if "load" in data:
        plot_load(data["load"], images / "reliability_load.png")
    lines = [
        "# Reliability",
        "",
        "The real node process under the load of a sensor process, watched from outside and through what it",
        "publishes. `python -m benchmarks.load --render` writes this page again from reliability.json.",
        "",
        *soak_section(data),
        *load_section(data),
        *release_section(data),
        *fuzz_section(json.loads(FUZZ.read_text())),
        "What happens when something fails, and the tests of it: [faults.md](faults.md).",
    ]
    write_text(path, "\n".join(lines).rstrip() + "\n")
