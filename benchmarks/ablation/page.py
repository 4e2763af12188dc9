"""The page of the study: tables, findings and plots from its results; nothing on it is written by hand."""

from pathlib import Path
from typing import Any

from occfusion_ros.core.atomic import write_text

from ..markdown import table
from ..plots import save
from .reasons_page import reasons_section
from .results import Results
from .variants import ALL, ANYWHERE, NONE, REFERENCE, SHARES, SHIPPED, STANDARD, VARIANTS

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results.md"
KEPT_GOAL, COST_GOAL = 0.98, 0.5  # of refining all: the mIoU that active refinement must keep, and its cost

FUSION = (REFERENCE, "lift_splat", "lidar", "camera")
SAMPLING = ("sampling_none", "sampling_fps", "sampling_synthetic", REFERENCE)
THETA = {2: "theta2", 4: REFERENCE, 8: "theta8"}
ACTIVE = {
    0.0: "active_off",
    0.2: "active20",
    0.5: "active50",
    0.6: "active60",
    0.7: REFERENCE,
    0.8: "active80",
    0.9: "active90",
    1.0: "active100",
}
MODES = {
    NONE: "none",
    "active10": "active, 10 %",
    "active25": "active, 25 %",
    "active50": "active, 50 %",
    "anywhere10": "anywhere, 10 %",
    "anywhere25": "anywhere, 25 %",
    "anywhere50": "anywhere, 50 %",
    ALL: "all occupied (M-CONet)",
}

ACCURACY = ("IoU %", "mIoU %", "mIoU % without refinement")


def fusion_section(results: Results) -> list[str]:
    """OccFusion against the baselines."""
    rows, costs = [], results.data["costs"]
    there = [name for name in FUSION if name in results.variants]
    for name in there:
        price = costs[name]
        gmacs, memory, seconds = price["gmacs"], price["memory"], price["seconds"]
        rows.append(
            [
                results.variants[name]["title"],
                *results.cells(name),
                *(f"{gmacs[part]:.2f}" for part in ("image branch", "fusion", "decoder", "refiner", "total")),
                f"{gmacs['parameters']:.2f}",
                f"{memory['fusion']:.0f}",
                f"{memory['total']:.0f}",
                f"{1e3 * seconds['fuser']:.0f}",
                f"{1e3 * seconds['total']:.0f}",
                f"{seconds['relative']:.2f}",
            ]
        )
    head = [
        "fusion",
        *ACCURACY,
        "image branch, GMACs",
        "fusion",
        "decoder",
        "refiner",
        "total",
        "parameters, M",
        "peak memory of fusion, MiB",
        "of everything",
        "time of the fuser, ms",
        "of everything",
        "relative",
    ]
    found = [
        f"- OccFusion against {results.variants[name]['title']}: {results.compare(REFERENCE, name)}; "
        f"{results.compare(REFERENCE, name, 'iou')}."
        for name in there[1:]
    ]
    if "lift_splat" in costs:
        ours, theirs = costs[REFERENCE], costs["lift_splat"]
        found.append(
            f"- Fusion without depth takes {ours['gmacs']['fusion']:.2f} GMACs against "
            f"{theirs['gmacs']['fusion']:.2f} of lift-splat, and {ours['memory']['fusion']:.0f} MiB "
            f"against {theirs['memory']['fusion']:.0f} MiB; the whole frame takes lift-splat "
            f"{theirs['seconds']['relative']:.2f} times as long."
        )
    return ["## Fusion", "", *table(head, rows), "", *found, ""]


def sampling_section(results: Results) -> list[str]:
    """Pre-sampling and theta."""
    there = [name for name in SAMPLING if name in results.variants]
    titles = {REFERENCE: "both"}
    rows = [[titles.get(name, results.variants[name]["title"]), *results.cells(name)] for name in there]
    found = [
        f"- Both against {results.variants[name]['title']}: {results.compare(REFERENCE, name)}."
        for name in there
        if name != REFERENCE
    ]
    thetas = {theta: name for theta, name in THETA.items() if name in results.variants}
    costs = results.data["costs"]
    numbers = [
        [
            str(theta),
            *results.cells(name),
            f"{costs[name]['gmacs']['fusion']:.3f}",
            f"{1e3 * costs[name]['seconds']['fuser']:.0f}",
        ]
        for theta, name in thetas.items()
    ]
    found_theta = [
        f"- Theta 4 against {theta}: {results.compare(REFERENCE, name)}."
        for theta, name in thetas.items()
        if name != REFERENCE
    ]
    return [
        "## Pre-sampling",
        "",
        "Farthest point sampling only: voxels with fewer than theta returns have fewer points, those without a",
        "return none. Synthetic points only: theta synthetic points in every fused voxel, whatever the returns.",
        "Neither: the first theta returns in sorted order, and nothing where there are fewer.",
        "",
        *table(["points", *ACCURACY], rows),
        "",
        *found,
        "",
        *table(["theta", *ACCURACY, "fusion, GMACs", "time of the fuser, ms"], numbers),
        "",
        *found_theta,
        "",
    ]


def refinement_section(results: Results) -> list[str]:
    """Refinement modes of every network that was measured with all of them."""
    lines = [
        "## Refinement",
        "",
        "Thresholds are fitted for each refinement. *All* refines every coarse voxel of which a part is predicted",
        "occupied. The percentages are of the number of voxels that *all* refines: *active* takes those of them",
        "that have the highest entropy, as the robot does; *anywhere* takes as many of the highest entropy",
        "wherever they lie.",
        f"In training, {results.data['train']['refined']} occupied voxels of each frame are refined: half are the",
        "most uncertain ones, half are random, as M-CONet draws them."
        + (" The shipped network was trained many times as long." if SHIPPED in results.variants else ""),
        "",
        "![Accuracy against the cost of refinement](images/results_refinement.png)",
        "",
    ]
    return lines + [line for variant in refined_variants(results) for line in refinement_table(results, variant)]


def refined_variants(results: Results) -> list[str]:
    """Variants that were measured with every refinement, in the order of the page."""
    order = (SHIPPED, REFERENCE)
    return [variant for variant in order if variant in results.data["refinement"]]


def refinement_table(results: Results, variant: str) -> list[str]:
    """Accuracy and cost of the refinements of one network."""
    prices = results.data["refinement"][variant]
    full, active = prices[ALL], prices[STANDARD]
    rows = [
        [
            title,
            str(prices[mode]["refined"]),
            results.cell(variant, "iou", mode),
            results.cell(variant, "miou", mode),
            f"{kept(results, variant, mode):.1f}",
            f"{prices[mode]['gmacs']:.2f}",
            f"{percent(prices[mode]['gmacs'], full['gmacs']):.0f}",
            f"{1e3 * prices[mode]['seconds']:.0f}",
        ]
        for mode, title in MODES.items()
    ]
    head = [
        "refinement",
        "voxels refined, mean",
        "IoU %",
        "mIoU %",
        "of the mIoU of all, %",
        "refiner, GMACs",
        "of the GMACs of all, %",
        "time of the refiner, ms",
    ]
    met = kept(results, variant, STANDARD) >= 100 * KEPT_GOAL and active["gmacs"] < COST_GOAL * full["gmacs"]
    gain = results.mean(variant, "miou", ALL) - results.mean(variant, "miou", NONE)
    own = results.mean(variant, "miou", STANDARD) - results.mean(variant, "miou", NONE)
    return [
        f"### {results.variants[variant]['title']}",
        "",
        *table(head, rows),
        "",
        f"- Active at 25 % has {kept(results, variant, STANDARD):.1f} % of the mIoU of refining all, at "
        f"{percent(active['gmacs'], full['gmacs']):.0f} % of the refiner's multiply-adds and "
        f"{percent(active['seconds'], full['seconds']):.0f} % of its time: the goal is "
        f"{'met' if met else 'missed'}. Taken anywhere, 25 % have {kept(results, variant, 'anywhere25'):.1f} %.",
        f"- Against no refinement, refining all changes mIoU by {gain:+.1f} points, active at 25 % by {own:+.1f}."
        + (" Refining all lowers accuracy here, so keeping up with it proves little." if gain < 0 else ""),
        "",
    ]


def kept(results: Results, variant: str, mode: str) -> float:
    """Percent of the mIoU of refining all that a refinement of the same network has."""
    return percent(results.mean(variant, "miou", mode), results.mean(variant, "miou", ALL))


def percent(part: float, whole: float) -> float:
    """NaN of nothing."""
    return 100 * part / whole if whole else float("nan")


def active_section(results: Results) -> list[str]:
    """Shares of active training."""
    there = {share: name for share, name in ACTIVE.items() if name in results.variants}
    rows = [[f"{share:.1f}" if share else "off", *results.cells(name)] for share, name in there.items()]
    best = max(there, key=lambda share: results.mean(there[share], "miou"))
    found = [
        f"- Share 0.7 against {share or 'off'}: {results.compare(REFERENCE, name)}."
        for share, name in there.items()
        if name != REFERENCE
    ]
    if len(there) > 1:
        found.append(
            f"- The best mean mIoU is that of {f'share {best}' if best else 'no active training'}; the paper "
            "reports its peak at 0.7."
        )
    return [
        "## Active training",
        "",
        "Share of each epoch's samples, hardest first, that is trained a second time. Optimizer steps are equal,",
        "so a larger share means fewer epochs.",
        "",
        *table(["share", *ACCURACY], rows),
        "",
        "![Accuracy by share of active training](images/results_active.png)",
        "",
        *found,
        "",
    ]


def method_section(results: Results) -> list[str]:
    """How the figures came about."""
    data = results.data
    budget, train, drives = data["budget"], data["train"], data["drives"]
    runs = sorted({len(variant["seeds"]) for name, variant in results.variants.items() if name != SHIPPED})
    left_out = [name for name in VARIANTS if name not in results.variants]
    number = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    frames = {use: budget[use] * data["frames_per_drive"] for use in drives}
    seeds = {use: f"{first} to {last}" for use, (first, last) in drives.items()}
    return [
        "## How this was measured",
        "",
        f"Made by `python -m benchmarks.ablation --seeds {number}{' --shipped' * (SHIPPED in results.variants)}`;",
        "`python -m benchmarks.ablation --render` writes this page again from [results.json](results.json)."
        + f" Not run: {', '.join(left_out)}." * bool(left_out),
        "",
        f"- Every variant is trained from scratch, {number} times with seeds 0, 1, ... of weights, order and "
        "augmentation; cells give the mean and, in brackets, the range.",
        f"- The same for every variant: {budget['steps']} optimizer steps of {train['batch']} frames (AdamW, one-cycle "
        f"schedule, peak {train['learning_rate']:g}), on {frames['train']} frames of synthetic drives "
        f"{seeds['train']}, alone and with earlier sweeps. The image backbone is that of the shipped `swift`, frozen.",
        "- This is a small budget: `swift` without its screen, on 51.2 m x 51.2 m around the vehicle (256 x 256 x 40 "
        "voxels of 0.2 m). Absolute figures are far below those of a full training; only differences between rows mean "
        "something, and only where they hold in every seed.",
        f"- Accuracy: OpenOccupancy's IoU and mIoU (over the classes present) on {frames['test']} frames of "
        f"held-out drives {seeds['test']}, over the voxels that their sweeps observe, with thresholds fitted for "
        f"each variant on {frames['fit']} frames of other held-out drives {seeds['fit']}. Where nothing else is said, "
        "active refinement of 25 %.",
        "- Cameras only: no return enters anywhere; every coarse voxel is a query, with one point.",
        "- GMACs: multiply-adds (half of the FLOPs that `torch.utils.flop_counter` counts) of convolutions and "
        "matrix products for one frame with six cameras; bilinear sampling, softmax and scatter are not counted.",
        "- Peak memory: rise of resident memory during fusion, and during a whole first forward pass, in a fresh "
        "process, weights aside.",
        f"- Time: median of {budget['repeats']} forward passes in float32 on {data['threads']} threads; *relative* "
        "is the median ratio to the reference, the two taking turns.",
        f"- Machine: {data['machine']}, no GPU, load average {data['load']} before the times were taken. "
        + ", ".join(f"{name} {number}" for name, number in data["versions"].items())
        + ".",
        "",
    ]


def plot_refinement(results: Results, path: Path) -> None:
    """mIoU against the refiner's multiply-adds, one panel a network."""
    from matplotlib.figure import Figure

    there = refined_variants(results)
    figure = Figure(figsize=(9, 3.2 * -(-len(there) // 2)), layout="constrained")
    lines = {"active": [NONE, *SHARES, ALL], "anywhere": [NONE, *ANYWHERE]}
    for axes, variant in zip(figure.subplots(-(-len(there) // 2), 2, squeeze=False).flat, there):
        prices = results.data["refinement"][variant]
        for label, modes in lines.items():
            draw_range(
                axes, results, [prices[mode]["gmacs"] for mode in modes], [(variant, mode) for mode in modes], label
            )
        axes.axhline(
            KEPT_GOAL * results.mean(variant, "miou", ALL),
            color="gray",
            linestyle=":",
            label=f"{100 * KEPT_GOAL:.0f} % of refining all",
        )
        title = results.variants[variant]["title"].split(":")[0]
        axes.set(title=title, xlabel="refiner, GMACs a frame (0: none, last: all)", ylabel="mIoU, %")
    figure.axes[0].legend()
    for axes in figure.axes[len(there) :]:
        axes.remove()
    save(figure, path)


def plot_active(results: Results, path: Path) -> None:
    """mIoU by share of active training."""
    from matplotlib.figure import Figure

    there = {share: name for share, name in ACTIVE.items() if name in results.variants}
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    draw_range(axes, results, list(range(len(there))), [(name, STANDARD) for name in there.values()], "mean and range")
    axes.set_xticks(range(len(there)), [f"{share:.1f}" if share else "off" for share in there])
    axes.set(xlabel="share that is trained again", ylabel="mIoU, %")
    axes.legend()
    save(figure, path)


def draw_range(axes: Any, results: Results, x: list[float], points: list[tuple[str, str]], label: str) -> None:
    """A line through the means of (variant, mode) points with bars from the least to the greatest seed."""
    means = [results.mean(variant, "miou", mode) for variant, mode in points]
    values = [results.values(variant, "miou", mode) for variant, mode in points]
    bars = [[m - min(v) for m, v in zip(means, values)], [max(v) - m for m, v in zip(means, values)]]
    axes.errorbar(x, means, bars, marker="o", capsize=3, label=label)


def write_page(data: dict[str, Any], path: Path) -> None:
    """Write the page at `path` and its plots in images/ beside it."""
    results = Results(data)
    images = path.parent / "images"
    plot_refinement(results, images / "results_refinement.png")
    plot_active(results, images / "results_active.png")
    sections = (fusion_section, sampling_section, refinement_section, active_section)
    lines = [
        "# Results",
        "",
        "What the parts of the method bring, measured on synthetic drives with one small budget",
        "for every variant. See the end of the page for how.",
        "",
    ]
    lines += [line for section in sections for line in section(results)]
    lines += [*reasons_section(data["reasons"]), *method_section(results)]
    write_text(path, "\n".join(lines).rstrip() + "\n")
